"""Opens the bench of a study: the steered model and the judge that params.yaml names."""

from traitsteer.experiment.answering import Bench
from traitsteer.experiment.models import batching_of, open_model, sampling_of
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.world.judge.judges import open_judge
from traitsteer.world.model.language_model import LanguageModel
from traitsteer.world.repository import in_repository


def open_bench(config: Config, trait: str, model: LanguageModel | None = None) -> Bench:
    """The steered model and the trait's judge; the judge is opened first, since that costs least.

    A model that is already open may be passed on.
    """
    judge = open_judge(config, trait)
    return Bench(
        model=model or open_model(config, config.models.instruct),
        judge=judge,
        sampling=sampling_of(config.answers),
        steered=config.answers.steered,
        seed=config.seed,
        batching=batching_of(config),
        cache=in_repository(layout.CACHE),
    )

"""Opens the judge that params.yaml names."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.records import Judge
from traitsteer.world.files import digest
from traitsteer.world.judge.identity import judge_name, prompts_of, rubric_of, scores_known_by
from traitsteer.world.judge.model_judge import ModelJudge
from traitsteer.world.judge.pacing import Patience
from traitsteer.world.judge.score_cache import ScoreCache
from traitsteer.world.judge.spending import Budget, Spending
from traitsteer.world.pocket_judge import PocketJudge
from traitsteer.world.repository import in_repository

if TYPE_CHECKING:
    from traitsteer.world.model.language_model import LanguageModel


def open_judge(config: Config, trait: str, attempt: int = 0, anew: bool = False) -> Judge:
    """Return the judge of one trait.

    Args:
        attempt: another number asks an endpoint everything again, beside the scores that are kept
            of other attempts; other judges would say the same.
        anew: whether an endpoint is asked how it answers even if that is known.

    Raises:
        TraitsteerError: it cannot be reached or read.
    """
    judge = config.judge
    name = judge_name(config)
    if judge.kind == "pocket":
        return PocketJudge.from_folder(Path(name))
    prompts = prompts_of(config)
    rubrics = {trait: rubric_of(config, trait)}
    known_as = scores_known_by(config, trait)
    cache = ScoreCache(in_repository(layout.CACHE) / "scores")
    if judge.kind == "local":
        from traitsteer.world.judge.local_judge import LocalModel

        rows, tokens = config.models.rows, config.models.tokens
        local = LocalModel(_loaded(config), cache, rows, tokens, judge.minimum_mass)
        local.require_number()
        return ModelJudge(local, prompts, rubrics, known_as)
    # Imported here, since the client takes a second that a pocket study need not wait for.
    from traitsteer.world.judge.openai_judge import Endpoint, OpenAIJudge
    from traitsteer.world.judge.sending import Limits

    endpoint = Endpoint(
        name,
        cache,
        Spending(in_repository(layout.SPENT), Budget(judge.budget.calls, judge.budget.tokens)),
        Limits(
            judge.requests_at_once,
            judge.requests_per_minute,
            Patience(judge.request_s, judge.deadline_s),
        ),
        judge.minimum_mass,
        attempt,
        anew,
    )
    return OpenAIJudge(endpoint, prompts, rubrics, digest([known_as, *endpoint.manners]))


def local_device(config: Config) -> str:
    """Where a local judge lies, by params.yaml."""
    return config.judge.device or config.models.device


def section_of_device(config: Config) -> str:
    """The section of params.yaml that says where a local judge lies."""
    return "models" if config.judge.device is None else "judge"


_kept: dict[str, "LanguageModel"] = {}
"""The local judge's model, once for all traits, by what it is loaded with."""


def _loaded(config: Config) -> "LanguageModel":
    """The local judge's model; that of another judge leaves the memory before."""
    from traitsteer.world.model import language_model

    models, judge = config.models, config.judge
    asked: dict[str, Any] = {
        "revision": judge.revision,
        "dtype": models.dtype,
        "device": local_device(config),
        "trust_remote_code": models.trust_remote_code,
        "quantisation": judge.quantisation,
        "variables": judge.template,
        "section": section_of_device(config),
    }
    name = judge_name(config)
    key = digest([name, asked])
    if key not in _kept:
        _kept.clear()
        # Some libraries tie a model's parts in circles.
        gc.collect()
        _kept[key] = language_model.load(name, chat=True, **asked)
    return _kept[key]

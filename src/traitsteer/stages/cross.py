"""cross: what each trait's vector does to everything else.

Reads the evaluations, the vectors, the steered model and the judge. Each arm sends the vector of
its best method, chosen on the selection questions. Writes

data/cross.json        every trait's score under every vector, on the report questions of the scored
                       trait: at the vector's own best setting ("own"), and, for the vectors of
                       other traits, where the scored trait's own vector is steered ("same": the
                       wrong-trait null, with its layer, coefficient and method)
                       scores are None where too many answers lack one (`missing` counts them);
                       the protocol is that of the scored trait
data/perplexity.json   perplexity of neutral text with and without each vector, at its own setting
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitsteer.experiment import answering
from traitsteer.experiment.answering import Questions, Setting
from traitsteer.experiment.bench import open_bench
from traitsteer.experiment.calls import announce
from traitsteer.experiment.models import open_model, read_vectors
from traitsteer.experiment.perplexity import side_effect, surprise
from traitsteer.experiment.protocols import frozen_protocol, refuse_other_terms
from traitsteer.experiment.results import read_results
from traitsteer.maths.permutation import sign_flip_p_value
from traitsteer.maths.statistics import cluster_means, delta_interval, mean_interval
from traitsteer.words import layout, scores
from traitsteer.words.config import Config
from traitsteer.words.records import ScoredAnswer
from traitsteer.words.results import best_of_arm
from traitsteer.words.seeds import small_seed_for
from traitsteer.world.files import write_json
from traitsteer.world.model.language_model import LanguageModel
from traitsteer.world.progress import progress
from traitsteer.world.trait_folder import read_lines, trait_of


@dataclass(frozen=True)
class Sent:
    """The vector of a trait, arm and method with the setting that it is steered at."""

    vector: str
    arm: str
    method: str
    setting: Setting

    def head(self) -> dict[str, Any]:
        """How the rows of the files name it."""
        return {"vector": self.vector, "arm": self.arm, "method": self.method}


def run(config: Config) -> None:
    """Steer with each trait's best vector, score every trait and read neutral text.

    Raises:
        TraitsteerError: the terms in data/protocols are not those of params.yaml or of the
            evaluations, a neutral text is too short or too long, too many unsteered answers lack
            a score, or a vector does not fit.
    """
    refuse_other_terms(config)
    model = open_model(config, config.models.instruct)
    own = _own(config, model)
    rivals = {scored: _rivals(config, model, own, scored) for scored in config.study.traits}
    # First, since a text that cannot be read must not be found after all answers.
    perplexities = _perplexity(config, model, own)
    count = sum(1 + len(own) + len(some) for some in rivals.values())
    rows: list[dict[str, Any]] = []
    with progress("cross", count, "setting") as advance:
        for scored, some in rivals.items():
            terms = {"protocol": frozen_protocol(config, trait_of(config, scored))}
            rows += [row | terms for row in _scored(config, model, scored, own, some)]
            advance(1 + len(own) + len(some))
    write_json(layout.CROSS, rows)
    write_json(layout.PERPLEXITY, perplexities)


def _own(config: Config, model: LanguageModel) -> list[Sent]:
    """The best vector of every trait and arm at its own setting, where anything is feasible."""
    found = []
    for trait in config.study.traits:
        for arm in config.study.arms:
            best = best_of_arm(read_results(config, trait, arm))
            if best is not None:
                vectors = read_vectors(config, model, trait, arm, best["method"])
                layer = best["layer"]
                setting = Setting(layer, vectors[layer], best["coefficient"])
                found.append(Sent(trait, arm, best["method"], setting))
    return found


def _rivals(config: Config, model: LanguageModel, own: Sequence[Sent], scored: str) -> list[Sent]:
    """The vectors of other traits, steered as the vectors of the scored trait are."""
    return [
        Sent(
            trait,
            sent.arm,
            sent.method,
            Setting(
                sent.setting.layer,
                read_vectors(config, model, trait, sent.arm, sent.method)[sent.setting.layer],
                sent.setting.coefficient,
            ),
        )
        for sent in own
        if sent.vector == scored
        for trait in config.study.traits
        if trait != scored
    ]


def _scored(
    config: Config, model: LanguageModel, scored: str, own: Sequence[Sent], rivals: Sequence[Sent]
) -> list[dict[str, Any]]:
    """What the report questions of one trait score under all vectors."""
    bench = open_bench(config, scored, model)
    report = trait_of(config, scored).report
    settings = [answering.unsteered(model)]
    settings += [sent.setting for sent in (*own, *rivals)]
    answers = len(settings) * len(report) * config.evaluate.samples
    announce(config, scored, f"cross {scored}", report, answers, config.answers.max_new_tokens)
    unsteered, *steered = bench.answers(
        Questions(scored, "report", report), settings, config.evaluate.samples
    )
    allowed = config.judge.missing_at_most
    scores.refuse_missing(unsteered, allowed, f"cross {scored}, unsteered")
    cells = [(sent, "own") for sent in own] + [(sent, "same") for sent in rivals]
    return [
        sent.head() | {"scored": scored, "at": at} | _measured(config, unsteered, answers)
        for (sent, at), answers in zip(cells, steered, strict=True)
    ]


def _measured(
    config: Config, unsteered: Sequence[ScoredAnswer], steered: Sequence[ScoredAnswer]
) -> dict[str, Any]:
    """Scores of one setting beside the unsteered; None where too many of its own are missing."""
    before, after = (scores.by_question(rows, "trait_score") for rows in (unsteered, steered))
    rises = scores.rises(steered, unsteered)
    head = {
        "baseline": round(mean_interval(before).value, 4),
        "missing": scores.missing(steered),
    }
    if not scores.enough(steered, config.judge.missing_at_most):
        return head | dict.fromkeys(("trait_score", "delta", "p_value", "coherence"))
    delta = delta_interval(rises, config.evaluate.confidence)
    seed = small_seed_for(config.seed, "cross")
    return head | {
        "trait_score": round(mean_interval(after).value, 4),
        "delta": delta.rounded(),
        "p_value": round(sign_flip_p_value(cluster_means(rises), seed), 6),
        "coherence": round(mean_interval(scores.by_question(steered, "coherence")).value, 4),
    }


def _perplexity(config: Config, model: LanguageModel, own: Sequence[Sent]) -> list[dict[str, Any]]:
    texts = [line.text for line in read_lines(Path(config.cross.neutral))]
    settings = [answering.unsteered(model), *(sent.setting for sent in own)]
    unsteered, *steered = surprise(model, texts, settings, config.models.tokens)
    return [
        sent.head() | side_effect(each, unsteered, config.evaluate.confidence)
        for sent, each in zip(own, steered, strict=True)
    ]

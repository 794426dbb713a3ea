"""Two results of one trait held against each other, question by question."""

from torch import Tensor

from traitsteer.experiment.results import Result
from traitsteer.maths.direction import cosine
from traitsteer.maths.limits import ROUNDING
from traitsteer.maths.permutation import sign_flip_p_value
from traitsteer.maths.statistics import (
    paired_difference_interval,
    paired_differences,
    paired_means,
    ratio_interval,
)
from traitsteer.words import layout
from traitsteer.words.scores import ByQuestion, minus
from traitsteer.words.seeds import small_seed_for
from traitsteer.world import tensors
from traitsteer.world.files import read_jsonl

Rises = dict[tuple[int, int], float | None]
"""By question and sample, the difference."""


def pairing(natural: Result | None, instruction: Result | None, confidence: float) -> Result:
    """The natural result against the instruction result; every field is None without both.

    `natural_percent` is the natural delta in percent of the instruction delta, `difference` the one
    minus the other in points, `p_value` that of its sign-flip permutation test; questions are the
    clusters. Where the instruction delta is not above 0 there is nothing to be a share of:
    natural_percent is then None.
    """
    names = ("natural_percent", "difference", "p_value", "cosine_best", "cosine_by_layer")
    if natural is None or instruction is None:
        return dict.fromkeys(names)
    new, old = deltas(natural), deltas(instruction)
    percent = None
    # Over the questions that both have, which may be fewer than those of the delta.
    if paired_means(new, old)[1].mean() > ROUNDING:
        percent = ratio_interval(new, old, confidence).rounded()
    first, second = vectors(natural), vectors(instruction)
    chosen = cosine(first[natural["layer"]], second[instruction["layer"]])
    seed = small_seed_for("pairing", natural["trait"], natural["method"])
    return {
        "natural_percent": percent,
        "difference": paired_difference_interval(new, old, confidence).rounded(),
        "p_value": round(sign_flip_p_value(paired_differences(new, old), seed), 4),
        "cosine_best": round(float(chosen), 6),
        "cosine_by_layer": [round(value, 6) for value in cosine(first, second).tolist()],
    }


def vectors(found: Result) -> Tensor:
    """Vectors [layers, width] of the method that a result belongs to."""
    trait, arm, method = found["trait"], found["arm"], found["method"]
    path = layout.fitted_vectors(trait, arm, method)
    return tensors.read(path, {"trait": trait, "arm": arm, "method": method}).tensors["vectors"]


def deltas(found: Result) -> ByQuestion:
    """Steered minus baseline by question; missing where either is missing."""
    return by_question(rises(found["trait"], found["arm"], found["method"]))


def by_question(risen: Rises) -> ByQuestion:
    """The same differences, those of one question together."""
    found: ByQuestion = {}
    for (question, _), rise in risen.items():
        found.setdefault(str(question), []).append(rise)
    return found


def rises(trait: str, arm: str, method: str) -> Rises:
    """Steered minus baseline of every answer; missing where either is missing."""
    rows = read_jsonl(layout.evaluation_answers(trait, arm, method))
    score = {(row["setting"], row["question"], row["sample"]): row["trait_score"] for row in rows}
    found: Rises = {}
    for (setting, question, sample), steered in score.items():
        if setting == "steered":
            found[question, sample] = minus(steered, score["baseline", question, sample])
    return found

"""What each factor of a two-level design does to a measure that every cell has for every question.

`cells` is an array `[questions, 2, 2, ...]` with one axis for each factor, level 0 before level 1.
Everything here is linear within a question: a result `[questions]` is one contrast for each
question, and its interval over questions is a paired one, since all cells share their questions.

Sources: Box, Hunter, Hunter 2005, "Statistics for Experimenters", chapter 5 (effects, and their
error by the higher interactions); Shapley 1953, "A value for n-person games".
"""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from traitsteer.maths.limits import student_quantile
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.shapes import Float

Term = tuple[int, ...]
"""Axes of the factors that act together, from 0: (0,) is a main effect, (0, 2) an interaction."""


Contrast = Callable[[Float[np.ndarray, "questions *factors"]], Float[np.ndarray, " questions"]]
"""A sum of the cells with fixed weights, for each question."""


def terms(factors: int) -> list[Term]:
    """Every main effect and every interaction of so many factors, the main effects first."""
    orders = range(1, factors + 1)
    return [term for order in orders for term in itertools.combinations(range(factors), order)]


def effect(
    cells: Float[np.ndarray, "questions *factors"], term: Term
) -> Float[np.ndarray, " questions"]:
    """The effect of one factor, or the interaction of several, for each question.

    Of one factor: the mean of all cells at its level 1 minus the mean at its level 0. Of two: half
    of what the first's effect gains when the second is switched, and so on, so that all effects
    are known equally well.
    """
    return 2.0 * _mean_over_cells(cells * _signs(cells.ndim - 1, term))


def higher_order_margin(
    cells: Float[np.ndarray, "questions *factors"], confidence: float = 0.95
) -> float | None:
    """How large an effect would be by the cells' luck alone; None with fewer than three factors.

    A cell has one search and one vector, whose luck no question shows. Interactions of three and
    more factors are taken to be such luck: Student's t times the root of their mean square. Of any
    other contrast, `margin_of` tells it.
    """
    higher = [term for term in terms(cells.ndim - 1) if len(term) > 2]
    if not higher:
        return None
    square = float(np.mean([float(effect(cells, term).mean()) ** 2 for term in higher]))
    return student_quantile(confidence, len(higher)) * math.sqrt(square)


def margin_of(contrast: Contrast, factors: int, of_effect: float) -> float:
    """How large a contrast would be by the cells' luck alone, from the margin of an effect.

    Luck is independent from cell to cell and of one variance, so that of a contrast grows with the
    root of the sum of its squared weights. An effect averages over all cells; the difference of two
    cells does not, and its margin is wider by sqrt(2 ** factors / 2).
    """
    return (
        of_effect * _length(contrast, factors) / _length(lambda cells: effect(cells, (0,)), factors)
    )


def _length(contrast: Contrast, factors: int) -> float:
    """Root of the sum of squared weights of the cells, each of them the answer to a unit cell."""
    units = np.eye(2**factors).reshape(-1, *[2] * factors)
    return float(np.linalg.norm(contrast(units)))


def shapley(
    cells: Float[np.ndarray, "questions *factors"], switched: Sequence[int]
) -> Float[np.ndarray, "questions parts"]:
    """What each switched factor adds on the way from one cell to the one with all of them switched.

    The part of a factor is what it adds when it is switched, averaged over all orders in which the
    factors may be switched; factors that are not switched stay at level 0. The parts of a question
    sum to the whole difference of the two cells.
    """
    count = len(switched)
    parts = np.zeros((len(cells), count))
    for place, factor in enumerate(switched):
        others = [other for other in switched if other != factor]
        for size in range(count):
            # So many of all orders put exactly these others before the factor.
            weight = math.factorial(size) * math.factorial(count - size - 1)
            for before in itertools.combinations(others, size):
                gain = at(cells, (*before, factor)) - at(cells, before)
                parts[:, place] += weight / math.factorial(count) * gain
    return parts


def at(
    cells: Float[np.ndarray, "questions *factors"], switched: Sequence[int]
) -> Float[np.ndarray, " questions"]:
    """The cell with these factors at level 1 and all others at level 0, for each question."""
    column = cells
    for axis in range(cells.ndim - 1):
        column = column[:, int(axis in switched)]
    return column


def variance_shares(
    cells: Float[np.ndarray, "questions *factors"],
) -> dict[Term | str, float] | None:
    """Eta squared: the share of the sum of squares that each term explains; None without variance.

    The analysis of variance of a balanced design with questions as blocks. Beside the terms stand
    `questions`, which differ in how far they can be moved, and `rest`, what no term explains.
    """
    grand = float(cells.mean())
    total = float(np.square(cells - grand).sum())
    if total == 0.0:
        return None
    squares: dict[Term | str, float] = {
        term: cells.size * (float(effect(cells, term).mean()) / 2.0) ** 2
        for term in terms(cells.ndim - 1)
    }
    each = _mean_over_cells(cells) - grand
    squares["questions"] = cells.size / len(cells) * float(np.square(each).sum())
    # Below 0 by rounding alone.
    squares["rest"] = max(total - sum(squares.values()), 0.0)
    return {name: square / total for name, square in squares.items()}


def spearman_brown(halves: float) -> float | None:
    """The likeness of two full sets of data, from that of two halves of one: 2r / (1 + r).

    Exact for the cosine of vectors that are a mean plus independent noise, whose square falls as
    the data grow. Of such vectors no halves are unlike but by chance: None where r is not above 0.

    Source: Brown 1910, "Some experimental results in the correlation of mental abilities".
    """
    return 2.0 * halves / (1.0 + halves) if halves > 0.0 else None


def cube(
    values: Sequence[Float[np.ndarray, " questions"]], places: Sequence[Term]
) -> Float[np.ndarray, "questions *factors"]:
    """Put the values of each cell at its place, levels of 0 and 1; every cell must be there once.

    Raises TraitsteerError when a place is taken twice or left empty.
    """
    factors = len(places[0])
    if len(set(places)) != len(places) or len(places) != 2**factors:
        raise TraitsteerError(
            f"factors: found {len(places)} cells at {len(set(places))} places, expected each of "
            f"the {2**factors} combinations of {factors} factors once"
        )
    in_order = sorted(range(len(places)), key=places.__getitem__)
    columns = [values[number] for number in in_order]
    return np.stack(columns, axis=1).reshape(len(columns[0]), *[2] * factors)


def _signs(factors: int, term: Term) -> Float[np.ndarray, "..."]:
    """-1 and +1 by cell: the product of the levels of the term's factors."""
    signs = np.ones([2] * factors)
    for axis in term:
        shape = [2 if other == axis else 1 for other in range(factors)]
        signs = signs * np.array([-1.0, 1.0]).reshape(shape)
    return signs


def _mean_over_cells(
    cells: Float[np.ndarray, "questions *factors"],
) -> Float[np.ndarray, " questions"]:
    return np.asarray(cells.mean(axis=tuple(range(1, cells.ndim))))

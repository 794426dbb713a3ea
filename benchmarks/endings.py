"""Token ids that end answers at many lengths, chosen once from answers that did not end."""

from benchmarks.tasks import Answers, cut


def spread_ends(answers: Answers, shortest: int, mean: float) -> list[int]:
    """Ids after which these answers end at `shortest` tokens or later, and at this mean length.

    Every id that some answer holds before `shortest` is left out. Of the others the rarest is taken
    first, so that many ids, each of which ends a few answers, spread the lengths; it stops before
    the mean would fall below the one asked for.
    """
    early = {token for answer in answers for token in answer[:shortest]}
    counts: dict[int, int] = {}
    for answer in answers:
        for token in set(answer[shortest:]) - early:
            counts[token] = counts.get(token, 0) + 1
    ends: list[int] = []
    for token in sorted(counts, key=lambda token: (counts[token], token)):
        tried = [*ends, token]
        lengths = [len(cut(answer, tried, len(answer))) for answer in answers]
        if sum(lengths) / len(lengths) < mean:
            break
        ends = tried
    return ends

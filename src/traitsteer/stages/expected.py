"""expected: whether a finished study lies where one of this kind is expected to.

Reads the files of the study and profiles/expected/: general.yaml, and the file of the profile if
there is one. Writes nothing; what the study has not measured yet is said to be so, and so is what
lies there of another model or judge: files of an earlier study stay until their stage has run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from traitsteer.experiment.results import finished_results
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.expectations import Expectation, Observed
from traitsteer.words.findings import number
from traitsteer.words.results import best_of_arm
from traitsteer.world.expectation_file import read_expectations
from traitsteer.world.files import read_json, read_jsonl

FOLDER = Path("profiles/expected")

Record = Mapping[str, Any]
OfArm = Callable[[Config, str, str], float | None]


def run(config: Config, folder: Path = FOLDER) -> list[Observed]:
    """Hold the study against every expectation of its profile.

    Raises:
        TraitsteerError: a file of expectations is malformed or names an unknown measure, or a file
            of the study is truncated.
    """
    own = folder / f"{config.profile}.yaml"
    files = [folder / "general.yaml", *([own] if own.exists() else [])]
    found: list[Observed] = []
    for path in files:
        for expectation in read_expectations(path):
            found += _outcomes(config, expectation, path)
    return found


def table(outcomes: Iterable[Observed]) -> str:
    """One line for each outcome, the reason beside the first of its kind, and how many of each."""
    rows = list(outcomes)
    told: set[Expectation] = set()
    trait = max([13, *(len(row.trait or "") for row in rows)]) + 2
    arm = max([12, *(len(row.arm or "") for row in rows)]) + 2
    lines = [
        f"{'measure':<24}{'trait':<{trait}}{'arm':<{arm}}{'value':>8}  "
        f"{'expected':<16}{'found':<14}why"
    ]
    for row in rows:
        asked = row.expectation
        name = asked.measure if asked.layer is None else f"{asked.measure} L{asked.layer}"
        span = f"{_plain(asked.lower)} to {_plain(asked.upper)}"
        lines.append(
            f"{name:<24}{row.trait or '':<{trait}}{row.arm or '':<{arm}}{number(row.value, 2):>8}  "
            f"{span:<16}{row.found:<14}{'' if asked in told else asked.why}".rstrip()
        )
        told.add(asked)
    counts = [
        f"{sum(row.found == each for row in rows)} {each}"
        for each in ("ok", "outside", "not measured")
    ]
    return "\n".join([*lines, "", ", ".join(counts)])


def _outcomes(config: Config, asked: Expectation, path: Path) -> Iterator[Observed]:
    traits = [t for t in config.study.traits if not asked.traits or t in asked.traits]
    arms = [a for a in config.study.arms if not asked.arms or a in asked.arms]
    if asked.measure == "residual norm":
        yield Observed(asked, None, None, _residual_norm(config, asked.layer))
    elif asked.measure in OF_TRAIT:
        for trait in traits:
            yield Observed(asked, trait, None, OF_TRAIT[asked.measure](config, trait))
    elif asked.measure in OF_ARM:
        for trait in traits:
            for arm in arms:
                yield Observed(asked, trait, arm, OF_ARM[asked.measure](config, trait, arm))
    else:
        known = ", ".join(sorted(["residual norm", *OF_TRAIT, *OF_ARM]))
        raise TraitsteerError(f"{path} names the measure {asked.measure!r}; it may be {known}.")


def _read(path: Path) -> Any | None:  # noqa: ANN401 - JSON holds any value
    return read_json(path) if path.exists() else None


def _ours(config: Config, judge: Record, models: Mapping[str, Record]) -> bool:
    """Whether this judge and these models, by terms on disk, are those of params.yaml."""
    asked = config.judge
    named = {which: each["name"] for which, each in models.items()}
    return (
        judge["kind"] == asked.kind
        and asked.name in (None, judge["name"])
        and named == {which: getattr(config.models, which).name for which in named}
    )


def _results(config: Config, trait: str, arm: str) -> list[dict[str, Any]]:
    """The evaluations that there are, if they are of the study of params.yaml."""
    found = _read(layout.evaluation_terms(trait, arm))
    if found is None:
        return []
    terms = found["terms"]
    ours = _ours(config, terms["judge"], {"instruct": terms["steered_model"]})
    return finished_results(config, trait, arm) if ours else []


def _best(config: Config, trait: str, arm: str) -> dict[str, Any] | None:
    return best_of_arm(_results(config, trait, arm))


def _of_best(take: Callable[[Record], float | None]) -> OfArm:
    """A measure of the result that stands for an arm."""

    def measure(config: Config, trait: str, arm: str) -> float | None:
        best = _best(config, trait, arm)
        value = None if best is None else take(best)
        return None if value is None else float(value)

    return measure


def _baseline(name: str) -> OfArm:
    """The unsteered model's score, which is there even when nothing is feasible."""

    def measure(config: Config, trait: str, arm: str) -> float | None:
        results = _results(config, trait, arm)
        return float(results[0][name]["value"]) if results else None

    return measure


def _margin(best: Record) -> float | None:
    delta, random = best["delta"], best["random"]
    if random is None:
        return None
    if delta["lower"] is None or random["upper"] is None:
        return float("-inf")
    return float(delta["lower"] - random["upper"])


def _search_of(config: Config, trait: str, arm: str) -> tuple[Record, Record] | None:
    """The best result of an arm, and the search that it came from."""
    best = _best(config, trait, arm)
    found = best and _read(layout.search_record(trait, arm, best["method"]))
    return (best, found) if best and found else None


def _depth(config: Config, trait: str, arm: str) -> float | None:
    """From 0 at the first block to 1 at the last; None of a model that has a single one."""
    both = _search_of(config, trait, arm)
    if both is None:
        return None
    best, search = both
    return float(best["layer"] / (search["layers"] - 1)) if search["layers"] > 1 else None


def _cliff(config: Config, trait: str, arm: str) -> float | None:
    """The strength at which coherence falls below the floor at the chosen layer.

    Halfway between the weakest strength below the floor and the strongest one before it; None if
    none of the layer's strengths is below, or none before.
    """
    both = _search_of(config, trait, arm)
    if both is None:
        return None
    best, search = both
    tried = [
        (trial["strength"], trial["coherence"])
        for trial in search["trials"]
        if trial["layer"] == best["layer"] and trial["coherence"] is not None
    ]
    fallen = min((s for s, coherence in tried if coherence < search["floor"]), default=None)
    if fallen is None:
        return None
    standing = max((s for s, _ in tried if s < fallen), default=None)
    return None if standing is None else float(fallen + standing) / 2


def _accuracy(config: Config, trait: str, arm: str) -> float | None:
    best = _best(config, trait, arm)
    fitted = best and _read(layout.fit_measures(trait, arm, best["method"]))
    return float(fitted["held_out_accuracy"][best["layer"]]) if best and fitted else None


def _kept_share(config: Config, trait: str, arm: str) -> float | None:
    text = config.text(arm)
    counts, verdicts = _read(layout.vet_counts(trait, text)), layout.verdicts(trait, text)
    found = _read(layout.extraction_protocol(trait))
    if counts is None or found is None or not verdicts.exists():
        return None
    terms = found["terms"]
    models = {which: terms["models"][which] for which in ("base", "instruct")}
    vetted_under = {row["protocol"] for row in read_jsonl(verdicts)}
    if not _ours(config, terms["judge"], models) or vetted_under != {found["sha256"]}:
        return None
    return float(counts["positive_kept"] / counts["positive"])


def _comparison(config: Config, trait: str) -> Record | None:
    found = _read(layout.COMPARISON)
    models = {"base": config.models.base.name, "instruct": config.models.instruct.name}
    if found is None or found["models"] != models:
        return None
    made_under = {
        result["protocol"] for arm in config.study.arms for result in _results(config, trait, arm)
    }
    if made_under != {found["protocols"].get(trait)}:
        return None
    return next((row for row in found["comparisons"] if row["trait"] == trait), None)


def _natural_percent(config: Config, trait: str) -> float | None:
    row = _comparison(config, trait)
    return float(row["natural_percent"]["value"]) if row and row["natural_percent"] else None


def _cosine(config: Config, trait: str) -> float | None:
    """Cosine of the best methods' vectors at the natural arm's layer."""
    row = _comparison(config, trait)
    best = _best(config, trait, "natural") if "natural" in config.arms else None
    if row is None or row["cosine_by_layer"] is None or best is None:
        return None
    return float(row["cosine_by_layer"][best["layer"]])


def _residual_norm(config: Config, layer: int | None) -> float | None:
    found = _read(layout.CALIBRATION)
    if found is None or found["model"] != config.models.instruct.name:
        return None
    norms = found["mean_residual_norm"]
    return float(norms[layer]) if layer is not None and layer < len(norms) else None


def _plain(value: float) -> str:
    return f"{value:g}".replace("-", "−")


OF_ARM: dict[str, OfArm] = {
    "baseline": _baseline("baseline"),
    "baseline coherence": _baseline("baseline_coherence"),
    "coherence": _of_best(lambda best: best["coherence"]["value"]),
    "delta": _of_best(lambda best: best["delta"]["value"]),
    "random delta": _of_best(lambda best: best["random"] and best["random"]["value"]),
    "margin over random": _of_best(_margin),
    "layer": _of_best(lambda best: best["layer"]),
    "strength": _of_best(lambda best: best["strength"]),
    "depth": _depth,
    "cliff": _cliff,
    "held-out accuracy": _accuracy,
    "kept share": _kept_share,
}
OF_TRAIT: dict[str, Callable[[Config, str], float | None]] = {
    "natural percent": _natural_percent,
    "cosine at the layer": _cosine,
}

"""Where every file of a study lies, relative to the top of the repository.

dvc.yaml names the same files; a test holds the two together.
"""

from pathlib import Path

CACHE = Path(".cache")
"""Finished work of interrupted stages, addressed by content; neither git nor DVC follows it."""

SPENT = CACHE / "spent.jsonl"
"""Calls and tokens that the judge has cost so far."""
KEPT_LEDGER = CACHE / "ledger.jsonl"
"""Every attempt that was recorded in this clone, whatever becomes of the ledger."""
CALIBRATION = Path("models/calibration.json")
CROSS = Path("data/cross.json")
VOICE = Path("data/voice.json")
VOICE_ANSWERS = Path("data/voice.answers.jsonl")
PERPLEXITY = Path("data/perplexity.json")
COMPARISON = Path("reports/comparison.json")
METRICS = Path("reports/metrics.json")
PLOTS = Path("reports/plots")
REPORT = Path("reports/index.html")
FIGURES = Path("reports/figures")
FACTORIAL = Path("reports/factorial.json")
FACTORIAL_FIGURES = Path("reports/factorial")
TRACKING = Path("reports/tracking.json")
AUDIT = Path("reports/judge_audit.json")
AUDIT_CARD = Path("reports/judge_audit.md")
LEDGER = Path("reports/ledger.jsonl")


def code(stage: str) -> Path:
    """The modules that a stage runs, with their digests."""
    return Path("data/code") / f"{stage}.txt"


def identity(which: str) -> Path:
    """What a model (`base`, `instruct`), the `judge` or the `factorial` study is now."""
    return Path("data/identity") / f"{which}.json"


def extraction_protocol(trait: str) -> Path:
    """The terms under which a trait's responses are elicited and vetted."""
    return Path("data/protocols") / trait / "extraction.json"


def protocol(trait: str) -> Path:
    """The terms under which a trait's vectors are scored."""
    return Path("data/protocols") / trait / "protocol.json"


def responses(trait: str, arm: str) -> Path:
    """Elicited responses, one a line."""
    return Path("data/responses") / trait / f"{arm}.jsonl"


def verdicts(trait: str, arm: str) -> Path:
    """What vetting found, one verdict a line."""
    return Path("data/vetted") / trait / f"{arm}.jsonl"


def vet_counts(trait: str, arm: str) -> Path:
    """How many responses of each polarity were kept."""
    return Path("data/vetted") / trait / f"{arm}.metrics.json"


def activations(trait: str, arm: str) -> Path:
    """Folder of the pooled activations of the kept responses, in shards."""
    return Path("data/activations") / trait / arm


def vectors(trait: str, arm: str) -> Path:
    """Folder of what was fitted, two files a method."""
    return Path("models/vectors") / trait / arm


def fitted_vectors(trait: str, arm: str, method: str) -> Path:
    """The vectors of one method, of every layer."""
    return vectors(trait, arm) / f"{method}.safetensors"


def fit_measures(trait: str, arm: str, method: str) -> Path:
    """How reliable the vectors of one method are."""
    return vectors(trait, arm) / f"{method}.json"


def search(trait: str, arm: str) -> Path:
    """Folder of the searches, two files a method."""
    return Path("data/search") / trait / arm


def search_record(trait: str, arm: str, method: str) -> Path:
    """The trials, the recounted ones and the chosen one."""
    return search(trait, arm) / f"{method}.json"


def search_scores(trait: str, arm: str, method: str) -> Path:
    """Every scored answer of a search, one a line."""
    return search(trait, arm) / f"{method}.scores.jsonl"


def evaluation(trait: str, arm: str) -> Path:
    """Folder of the evaluations, three files a method, and their terms."""
    return Path("data/evaluation") / trait / arm


def evaluation_terms(trait: str, arm: str) -> Path:
    """The terms that the evaluations beside them were made under."""
    return evaluation(trait, arm) / "protocol.json"


def evaluation_record(trait: str, arm: str, method: str) -> Path:
    """What is reported of one vector."""
    return evaluation(trait, arm) / f"{method}.json"


def evaluation_answers(trait: str, arm: str, method: str) -> Path:
    """Every scored answer of an evaluation, one a line."""
    return evaluation(trait, arm) / f"{method}.answers.jsonl"


def chosen_vector(trait: str, arm: str, method: str) -> Path:
    """The vector that an evaluation steered with; there where a setting was feasible."""
    return evaluation(trait, arm) / f"{method}.safetensors"

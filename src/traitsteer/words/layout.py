"""Where every file of a study lies, relative to the top of the repository.

dvc.yaml names the same files; a test holds the two together.
"""

from pathlib import Path

CACHE = Path(".cache")
"""Finished work of interrupted stages, addressed by content; neither git nor DVC follows it."""

SPENT = CACHE / "spent.jsonl"
"""Calls and tokens that the judge has cost so far."""
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
    """What a model (`base`, `instruct`) or the judge (`judge`) is now."""
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
    """Folder of the fitted vectors: `<method>.safetensors` and `<method>.json`."""
    return Path("models/vectors") / trait / arm


def search(trait: str, arm: str) -> Path:
    """Folder of the studies: `<method>.json` and `<method>.scores.jsonl`."""
    return Path("data/search") / trait / arm


def evaluation(trait: str, arm: str) -> Path:
    """Folder of the report scores and chosen vectors, three files a method, and `protocol.json`."""
    return Path("data/evaluation") / trait / arm

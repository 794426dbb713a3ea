"""audit-judge: how far a judge falls for known traps, agrees with itself and with another judge.

Reads the traps of each trait and the judge; writes reports/judge_audit.json and the card
reports/judge_audit.md, and logs both to the MLflow store.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traitsteer.experiment.audit import (
    Item,
    Judged,
    ask,
    ask_once,
    beside,
    by_trait,
    by_trap,
    record,
    retest,
    states,
)
from traitsteer.experiment.calls import announce
from traitsteer.maths.agreement import wilson_interval
from traitsteer.words import layout
from traitsteer.words.audit_card import card
from traitsteer.words.config import Config, load, parse
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.judge_config import OF_NO_LOCAL_JUDGE
from traitsteer.words.runs import Run, Series, Table
from traitsteer.words.traps import Trap
from traitsteer.world.files import digest, digest_of_files, write_json, write_text
from traitsteer.world.judge.finding import find_judge
from traitsteer.world.judge.identity import judge_name
from traitsteer.world.judge.judges import open_judge
from traitsteer.world.judge.model_judge import tokens_of
from traitsteer.world.progress import progress, say
from traitsteer.world.repository import store_in_repository
from traitsteer.world.tracking import TrackingStore
from traitsteer.world.trap_file import read_traps

FORMAT = 1
"""Part of the run's key: raised when the same audit would be logged differently."""

COLUMNS = ("trait", "trap", "right", "trait_score", "coherence", "state", "question", "answer")


def run(
    config: Config,
    judge: str | None = None,
    against: str | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Audit the judge of params.yaml, or another, and return what is written.

    Args:
        judge: who is audited instead: a parameter file, whose `judge` section counts, or
            `kind:name` as in `judge`.
        against: a second judge, named in the same way.
        folder: the traps, instead of those of `audit.traps`.

    Raises:
        TraitsteerError: a judge cannot be opened, a file of traps cannot be read or there is none
            for the study's traits, or the store cannot be used.
    """
    audited = judged_by(config, judge)
    second = None if against is None else judged_by(config, against)
    folder = folder or Path(config.audit.traps)
    traps = _traps(config, folder)
    # All that can be refused without loading a model, before the first judge is asked.
    store = TrackingStore(store_in_repository(config.track.mlflow), config.track.experiment)
    for who in filter(None, (audited, second)):
        for trait in traps:
            find_judge(who, trait)
    confidence, repeats = config.evaluate.confidence, config.audit.repeats
    items, digests = _ask(audited, traps, repeats)
    found: dict[str, Any] = {
        "judge": _who(audited) | {"digests": digests},
        "traps": {
            "folder": folder.as_posix(),
            "digest": digest_of_files(_file(folder, trait) for trait in traps),
        },
        "items_asked": len(items),
        "confidence": confidence,
        "by_trap": by_trap(items, confidence),
        "by_trait": by_trait(items, confidence),
        "states": states(items),
        "retest": retest(items),
        "against": None if second is None else _beside(config, second, traps, items),
        "items": [record(item) for item in items],
    }
    write_json(layout.AUDIT, found)
    write_text(layout.AUDIT_CARD, card(found))
    _log(config, store, found)
    return found


def right(found: dict[str, Any]) -> float:
    """The share of all items that the judge got right."""
    return float(found["by_trap"][-1]["right"]["value"])


def judged_by(config: Config, who: str | None) -> Config:
    """The parameters with another judge in them.

    Raises:
        TraitsteerError: `who` is no parameter file and no `kind:name`, or no possible judge.
    """
    if who is None:
        return config
    if Path(who).suffix == ".yaml":
        return config.model_copy(update={"judge": load(Path(who)).judge})
    kind, colon, name = who.partition(":")
    if not colon or not name:
        raise TraitsteerError(
            f"{who!r} names no judge; give a parameter file that ends in .yaml, or kind:name such "
            "as openai:gpt-4.1-mini."
        )
    values = config.model_dump(mode="json")
    place = config.judge.device if kind == "local" else None
    values["judge"] |= OF_NO_LOCAL_JUDGE
    values["judge"] |= {"kind": kind, "name": name, "revision": None, "device": place}
    return parse(values, f"the judge {who!r}")


def _who(config: Config) -> dict[str, str]:
    return {"kind": config.judge.kind, "name": judge_name(config)}


def _file(folder: Path, trait: str) -> Path:
    return folder / f"{trait}.yaml"


def _traps(config: Config, folder: Path) -> dict[str, tuple[Trap, ...]]:
    """The traps of every trait of the study that has some; the others are named in the log."""
    found = {
        trait: read_traps(_file(folder, trait))
        for trait in config.study.traits
        if _file(folder, trait).exists()
    }
    if not found:
        raise TraitsteerError(
            f"{folder} holds no traps for {', '.join(config.study.traits)}; write <trait>.yaml as "
            "docs/audit.md describes, or name another folder."
        )
    if without := [trait for trait in config.study.traits if trait not in found]:
        say(f"audit: there are no traps for {', '.join(without)} in {folder}")
    return found


def _announced(config: Config, traps: dict[str, tuple[Trap, ...]], times: int) -> int:
    """Say what a judge will be asked, and return how many answers it scores."""
    for trait, rows in traps.items():
        longest = max(tokens_of(trap.answer.text) for trap in rows)
        title = f"audit {judge_name(config)} {trait}"
        questions = [trap.answer.question for trap in rows]
        announce(config, trait, title, questions, times * len(rows), longest)
    return times * sum(map(len, traps.values()))


def _ask(
    config: Config, traps: dict[str, tuple[Trap, ...]], repeats: int
) -> tuple[list[Item], dict[str, str]]:
    items: list[Item] = []
    digests = {}
    total = _announced(config, traps, 2 + repeats)
    with progress(f"audit {judge_name(config)}", total, "answer") as advance:
        for trait, rows in traps.items():
            # Each attempt has scores of its own, so that asking again is no look into the cache.
            judges = [open_judge(config, trait, attempt) for attempt in range(1 + repeats)]
            digests[trait] = judges[0].digest
            items += ask(judges, trait, rows, advance)
    return items, digests


def _beside(
    config: Config,
    second: Config,
    traps: dict[str, tuple[Trap, ...]],
    items: Sequence[Item],
) -> dict[str, Any]:
    others: list[Judged] = []
    digests = {}
    total = _announced(second, traps, 1)
    with progress(f"audit {judge_name(second)}", total, "answer") as advance:
        for trait, rows in traps.items():
            judge = open_judge(second, trait)
            digests[trait] = judge.digest
            others += ask_once(judge, trait, rows, advance)
    confidence = config.evaluate.confidence
    hits = sum(item.right for item in others)
    return {
        "judge": _who(second) | {"digests": digests},
        "right": wilson_interval(hits, len(others), confidence).rounded(),
        "missing": sum(item.missing for item in others),
        "agreement": beside(items, others, config.seed, confidence),
    }


def _log(config: Config, store: TrackingStore, found: dict[str, Any]) -> None:
    """One run for each audit that found something new."""
    key = digest(["judge audit", FORMAT, found])
    if store.holds(key):
        return
    metrics: dict[str, float | Series | None] = {
        re.sub(r"[^\w./:-]", "_", f"right {row['trap']}"): row["right"]["value"]
        for row in found["by_trap"]
    }
    metrics |= {
        f"{name}_{measure}": found["retest"][name][measure]
        for name in ("trait_score", "coherence")
        for measure in ("standard_deviation", "moved_by_white_space")
    }
    described = Run(
        name=f"judge audit · {found['judge']['name']}",
        params={f"judge.{name}": found["judge"][name] for name in ("kind", "name")}
        | {"traps": found["traps"]["folder"], "profile": config.profile},
        metrics=metrics | {"missing": float(found["by_trap"][-1]["missing"])},
        tags={"kind": "judge audit", "traps.digest": found["traps"]["digest"]},
        note=card(found | {"items": []}),
        files={path.name: path for path in (layout.AUDIT, layout.AUDIT_CARD)},
        tables={
            "items.json": Table(COLUMNS, [[row[c] for c in COLUMNS] for row in found["items"]])
        },
    )
    store.log(described, key, lambda _done: None)

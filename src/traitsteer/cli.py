"""The command line: one sub-command a stage, and the tools that people call by hand."""

import argparse
import errno
import gc
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from traitsteer import exchange
from traitsteer.words.errors import TraitsteerError
from traitsteer.words.threads import wait_briefly

PER_TRAIT = ("protocol",)
PER_TEXT = ("elicit", "vet")
"""Of the arms that elicit; the others read the text of one of them."""
PER_ARM = ("cache", "fit", "search", "evaluate")
WHOLE = (
    "code", "identify", "calibrate", "cross", "voice", "compare", "report", "track", "factorial",
    "check", "simulate",
)  # fmt: skip
POCKET = ("pocket_pair", "pocket_judge")
INTERRUPTED = 130

# No stage is imported yet, and so no torch.
wait_briefly()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 after printing the sentence that says what was wrong.

    130 after an interruption, as shells tell it.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a minus sign is told of it in ASCII.
        sys.stdout.reconfigure(errors="backslashreplace")
    chosen = _parser().parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except TraitsteerError as error:
        print(f"traitsteer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "traitsteer: interrupted; run the command again: what .cache/ keeps is not computed "
            "again.",
            file=sys.stderr,
        )
        return INTERRUPTED
    except OSError as error:
        print(f"traitsteer: {_told(error)}.", file=sys.stderr)
        return 1


def _told(error: OSError) -> str:
    """What went wrong with which file, and what to do where it could not be written."""
    wrote = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    if error.errno == errno.EACCES and error.filename is not None:
        # A file that is there and can be read was denied to a writer.
        wrote = not Path(error.filename).exists() or os.access(error.filename, os.R_OK)
    return f"{error}; check that the folder can be written and has room" if wrote else str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="traitsteer", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for name in PER_TRAIT + PER_TEXT + PER_ARM:
        command = commands.add_parser(name, help=_first_line(name))
        command.add_argument("trait")
        if name in PER_TEXT:
            command.add_argument("text", help="the arm that elicits it")
        if name in PER_ARM:
            command.add_argument("arm")
        command.set_defaults(run=_stage(name))
    for name in WHOLE + POCKET:
        command = commands.add_parser(name.replace("_", "-"), help=_first_line(name))
        command.set_defaults(run=_stage(name))
    lint = commands.add_parser("lint", help="check trait folders; exits 1 on errors")
    lint.add_argument("folders", nargs="+", type=Path, metavar="folder")
    lint.set_defaults(run=_lint)
    exchange.add_commands(commands)
    traits = commands.add_parser("pocket-traits", help="write data/pocket from the grammar")
    traits.set_defaults(run=_pocket_traits)
    power = commands.add_parser("power", help=_first_line("power"))
    power.add_argument("--difference", type=float, required=True, metavar="POINTS")
    power.add_argument("--power", type=float, default=0.8, metavar="SHARE", dest="wanted")
    power.add_argument("--trait", help="one trait of the study; all if not given")
    power.add_argument("--arm", help="one arm of the study; all, and their differences, if not")
    power.set_defaults(run=_power)
    expected = commands.add_parser("expected", help=_first_line("expected"))
    expected.set_defaults(run=_expected)
    rehearse = commands.add_parser("rehearse", help=_first_line("rehearse"))
    rehearse.add_argument("profile", type=Path)
    rehearse.add_argument("--folder", type=Path, help="keep everything here; default: temporary")
    rehearse.add_argument("--smallest", action="store_true", help="as small as it goes")
    rehearse.set_defaults(run=_rehearse)
    audit = commands.add_parser("audit-judge", help=_first_line("audit_judge"))
    audit.add_argument("--judge", metavar="WHO", help="a parameter file, or kind:name")
    audit.add_argument("--against", metavar="WHO", help="a second judge to compare with")
    audit.add_argument("--traps", type=Path, metavar="FOLDER", help="instead of audit.traps")
    audit.add_argument(
        "--at-least",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="exit 1 below this share right",
    )
    audit.set_defaults(run=_audit_judge)
    show = commands.add_parser("show", help="print the comparison table and where to look further")
    show.set_defaults(run=_show)
    plan = commands.add_parser("design", help="say in what the arms differ; exits 1 unless crossed")
    plan.set_defaults(run=_design)
    return parser


def _share(text: str) -> float:
    """A number from 0 to 1; argparse says what was found and exits with 2."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share, expected 0 to 1")
    return share


def _stage(name: str) -> Callable[[argparse.Namespace], int]:
    """A function that imports the stage when it is called, since some take seconds to import."""

    def run(chosen: argparse.Namespace) -> int:
        from traitsteer.words.config import load

        config = load()
        stage = _imported(name)
        if name in PER_ARM:
            stage.run(config, chosen.trait, chosen.arm)
        elif name in PER_TEXT:
            stage.run(config, chosen.trait, chosen.text)
        elif name in PER_TRAIT:
            stage.run(config, chosen.trait)
        elif name in POCKET:
            stage.run(config.pocket)
        else:
            stage.run(config)
        return 0

    return run


def _imported(name: str) -> ModuleType:
    """A stage. What it imports are objects by the million, which stay: looking for garbage among
    them would take a quarter of the time.
    """
    gc.disable()
    try:
        return importlib.import_module(f"traitsteer.stages.{name}")
    finally:
        gc.enable()


def _first_line(name: str) -> str:
    """The stage's own summary, read without importing it."""
    source = Path(__file__).parent / "stages" / f"{name}.py"
    return source.read_text(encoding="utf-8").splitlines()[0].strip('"').partition(": ")[2]


def _lint(chosen: argparse.Namespace) -> int:
    from traitsteer.stages import lint

    findings = [finding for folder in chosen.folders for finding in lint.check(folder)]
    print(lint.report(findings))
    return int(any(finding.level == "error" for finding in findings))


def _pocket_traits(_chosen: argparse.Namespace) -> int:
    from traitsteer.pocket.trait_sets import write_trait_sets
    from traitsteer.pocket.traps import write_trap_files
    from traitsteer.words.config import load

    config = load().pocket
    write_trait_sets(Path("data/pocket"), config)
    write_trap_files(Path("data/pocket/traps"), config.seed)
    return 0


def _audit_judge(chosen: argparse.Namespace) -> int:
    from traitsteer.stages import audit_judge
    from traitsteer.words import layout
    from traitsteer.words.config import load

    found = audit_judge.run(load(), chosen.judge, chosen.against, chosen.traps)
    print(layout.AUDIT_CARD.read_text(encoding="utf-8"))
    if audit_judge.right(found) >= chosen.at_least:
        return 0
    raise TraitsteerError(
        f"The judge is right on {audit_judge.right(found):.0%} of the traps, expected at least "
        f"{chosen.at_least:.0%}; see {layout.AUDIT_CARD} for where it is not."
    )


def _expected(_chosen: argparse.Namespace) -> int:
    from traitsteer.stages import expected
    from traitsteer.words.config import load

    print(expected.table(expected.run(load())))
    return 0


def _rehearse(chosen: argparse.Namespace) -> int:
    import tempfile

    from traitsteer.rehearsal.sizes import SMALLEST, USUAL
    from traitsteer.stages import rehearse

    sizes = SMALLEST if chosen.smallest else USUAL
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="traitsteer-rehearsal-"))
    print(rehearse.run(chosen.profile, folder, sizes, main))
    return 0


def _power(chosen: argparse.Namespace) -> int:
    from traitsteer.stages import power
    from traitsteer.words.config import load

    print(power.table(load(), chosen.difference, chosen.wanted, chosen.trait, chosen.arm))
    return 0


def _show(_chosen: argparse.Namespace) -> int:
    from traitsteer.stages import show
    from traitsteer.words.config import load

    print(show.table(load()))
    return 0


def _design(_chosen: argparse.Namespace) -> int:
    from traitsteer.words.config import load
    from traitsteer.words.design import design

    print(f"design: {design(load())}")
    return 0

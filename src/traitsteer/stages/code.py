"""code: which modules each stage runs, with their digests, so that DVC reruns what they change.

Reads the source; writes data/code/<stage>.txt, one line a module. A stage of dvc.yaml depends on
its own file alone, and hence not on code that it never runs.
"""

from pathlib import Path

from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.world.files import digest_of_files, write_text
from traitsteer.world.modules import modules_of


def run(_config: Config) -> None:
    """Write the modules of every stage, and of every command beside them."""
    for file in sorted(Path(__file__).parent.glob("[!_]*.py")):
        lines = [f"{digest_of_files([path])}  {name}\n" for name, path in modules_of(file).items()]
        write_text(layout.code(file.stem), "".join(lines))

"""Python processes of their own that begin with torch imported, which takes half of their time.

What reads the environment when it is imported (transformers and huggingface_hub do) is not.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["torch._dynamo", "torch.distributed.checkpoint", "scipy.optimize", "pydantic", "ruamel.yaml"]
)


def run(command: Sequence[str], environment: Mapping[str, str], source: Path) -> tuple[int, str]:
    """As `python <command>` with `-m` or `-c`, in this folder, with `source` on its path.

    Returns how it ended, and what it printed: stdout, then stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        printed = [Path(folder) / name for name in ("stdout", "stderr")]
        process = _SERVER.Process(target=_begin, args=(command, environment, source, printed))
        process.start()
        process.join()
        assert process.exitcode is not None
        return process.exitcode, "".join(path.read_text() for path in printed)


def _begin(
    command: Sequence[str], environment: Mapping[str, str], source: Path, printed: Sequence[Path]
) -> None:
    loaded = {"transformers", "huggingface_hub", "traitsteer"} & set(sys.modules)
    assert not loaded, f"{loaded} did not read this environment"
    for number, path in enumerate(printed, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, str(source))
    kind, code, *arguments = command
    sys.argv = [kind, *arguments]
    if kind == "-m":
        runpy.run_module(code, run_name="__main__", alter_sys=True)
    else:
        exec(code, {"__name__": "__main__"})

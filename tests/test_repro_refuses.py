"""What stops the main job before any work."""

from pathlib import Path

import pytest
from study_clone import cloned, dvc, files

pytestmark = pytest.mark.slow


def test_an_unknown_parameter_stops_the_study_before_any_work(
    repository: Path, tmp_path: Path
) -> None:
    bare = cloned(repository, tmp_path / "bare")
    params = bare / "params.yaml"
    params.write_text(params.read_text().replace("search:\n", "search:\n  nope: 1\n"))
    done = dvc(bare, "repro", check=False)
    assert done.returncode != 0
    assert "search.nope is no known parameter" in done.stdout + done.stderr
    assert done.stdout.count("Running stage") == 1, "a later stage ran"
    for made in ("data/responses", "data/protocols", "models/calibration.json"):
        assert not files(bare, made) and not (bare / made).is_file()

"""track: everything into the MLflow store, one run for each trait and arm.

Reads the files of all stages and logs them to track.mlflow: the parent run holds the best setting
on the report questions, each method's delta, the vectors and every score; its children are the
trials of its studies. Writes reports/tracking.json, which says what was logged. The store is a view
of the files: a run whose files have not changed is not logged again, and older runs stay beside
newer ones.
"""

from pathlib import Path

from traitsteer.experiment.finished_arm import FinishedArm, read_arm
from traitsteer.experiment.run_description import describe, params_of
from traitsteer.words import layout
from traitsteer.words.config import Config
from traitsteer.world.dvc_lock import dvc_hashes
from traitsteer.world.files import digest, digest_of_files, write_json
from traitsteer.world.progress import progress
from traitsteer.world.repository import store_in_repository
from traitsteer.world.tracking import TrackingStore

FORMAT = 5
"""Part of every run's key: raised when the same files would be logged differently."""

PATIENCE = ("judge.request", "judge.deadline_s", "judge.budget.")
"""Beginnings of parameters that change no score: patience with the judge, and its cost."""
AT_ONCE = ("models.rows", "models.tokens", "models.capture", "judge.device")
"""And how much is computed at once, and where the judge lies."""

LOCK = Path("dvc.lock")


def run(config: Config) -> None:
    """Log what the store does not yet hold.

    Raises:
        TraitsteerError: the store cannot be used, or a file of an earlier stage is missing;
            nothing is logged then.
    """
    traits, names = config.study.traits, config.study.arms
    arms = [read_arm(config, trait, name) for trait in traits for name in names]
    keys = [_key(config, arm) for arm in arms]
    store = TrackingStore(store_in_repository(config.track.mlflow), config.track.experiment)
    new = [(arm, key) for arm, key in zip(arms, keys, strict=True) if not store.holds(key)]
    hashes = dvc_hashes(LOCK)
    runs = [(describe(config, arm, hashes), key) for arm, key in new]
    total = sum(1 + len(described.children) for described, _ in runs)
    with progress("track", total, "run") as advance:
        for described, key in runs:
            store.log(described, key, advance)
    write_json(
        layout.TRACKING,
        [
            {
                "trait": arm.trait.name,
                "arm": arm.name,
                "key": key,
                "trials": sum(len(method.search["trials"]) for method in arm.methods),
                "scores": sum(len(m.scores) + len(m.answers) for m in arm.methods),
            }
            for arm, key in zip(arms, keys, strict=True)
        ],
    )


def _key(config: Config, arm: FinishedArm) -> str:
    """SHA-256 of all that the run is made of, other than the commit and DVC's hashes."""
    trait = arm.trait.name
    files = [
        place(trait, arm.name, method.name)
        for method in arm.methods
        for place in (
            layout.fitted_vectors,
            layout.fit_measures,
            layout.search_record,
            layout.search_scores,
            layout.evaluation_record,
            layout.evaluation_answers,
        )
    ]
    return digest(
        {
            "format": FORMAT,
            "files": digest_of_files([*files, *layout.activations(trait, arm.name).iterdir()]),
            "params": {
                name: value
                for name, value in params_of(config, arm).items()
                if not name.startswith((*PATIENCE, *AT_ONCE))
            },
            "questions": [arm.trait.selection, arm.trait.report],
            "responses": arm.responses,
            "of_the_study": [
                arm.natural_percent,
                arm.perplexity_ratio,
                arm.naturalness,
                arm.equality,
            ],
            "software": arm.software,
        }
    )

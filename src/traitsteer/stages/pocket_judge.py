"""pocket-judge: train the embedded judge, test it on frames nobody has seen, write the table."""

from __future__ import annotations

from pathlib import Path

from traitsteer.words.pocket_config import PocketConfig


def run(config: PocketConfig, table: Path = Path("docs/pocket_judge.md")) -> None:
    """Write judge/ under the pocket folder, and the table of its test.

    Raises:
        TraitsteerError: an area under the curve is below `judge_auc`.
    """
    from traitsteer.pocket import judge_exam, judge_training
    from traitsteer.world.files import write_text
    from traitsteer.world.pocket_judge import PocketJudge

    known, weights = judge_training.train(config.seed)
    judge_exam.refuse_failures(
        judge_exam.areas(PocketJudge(known, weights), config.seed), config.judge_auc
    )
    folder = Path(config.folder) / "judge"
    judge_training.save(folder, known, weights)
    write_text(table, judge_exam.report(PocketJudge.from_folder(folder), config.seed))

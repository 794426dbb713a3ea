"""pocket-judge: train the embedded judge, test it on frames nobody has seen, write the table."""

from __future__ import annotations

from pathlib import Path

from traitsteer.words.pocket_config import PocketConfig


def run(config: PocketConfig, table: Path = Path("docs/pocket_judge.md")) -> None:
    """Write judge/ under the pocket folder, and the table of its test.

    Raises:
        TraitsteerError: an area under the curve is below `judge_auc`.
    """
    from traitsteer.pocket import judge_exam, judge_training, voice_training
    from traitsteer.world.files import write_text
    from traitsteer.world.pocket_judge import PocketJudge
    from traitsteer.world.pocket_voice import PocketVoice

    known, weights = judge_training.train(config.seed)
    heard = voice_training.train(config.seed)
    judge = PocketJudge(known, weights, PocketVoice(heard))
    judge_exam.refuse_failures(judge_exam.areas(judge, config.seed), config.judge_auc)
    voice_training.refuse_failures(voice_training.areas(judge, config.seed), config.judge_auc)
    folder = Path(config.folder) / "judge"
    judge_training.save(folder, known, weights)
    voice_training.save(folder, heard)
    judge = PocketJudge.from_folder(folder)
    write_text(
        table, judge_exam.report(judge, config.seed) + voice_training.report(judge, config.seed)
    )

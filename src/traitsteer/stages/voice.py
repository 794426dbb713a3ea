"""voice: how the arms' answers sound at equal trait score, beside the unsteered ones.

Reads the evaluations and the vectors; writes data/voice.json, one row a trait, and
data/voice.answers.jsonl. Each arm sends its best method, chosen on the selection questions. The
report questions are answered with seeds of their own, the same in both arms.
"""

from collections.abc import Mapping, Sequence

from traitsteer.experiment.answering import Bench, Questions, Setting, unsteered
from traitsteer.experiment.bench import open_bench
from traitsteer.experiment.calls import announce
from traitsteer.experiment.equal_score import Matched, chosen, corrected, equal, equality
from traitsteer.experiment.models import open_model, read_vectors
from traitsteer.experiment.protocols import refuse_other_terms
from traitsteer.experiment.results import read_results
from traitsteer.experiment.voice import BASELINE, INSTRUCTION, NATURAL, VoiceRow, heard
from traitsteer.experiment.voice_comparison import compared
from traitsteer.maths.statistics import (
    mean_interval,
    paired_difference_interval,
    score_interval,
)
from traitsteer.words import layout, scores
from traitsteer.words.config import Config
from traitsteer.words.findings import estimate
from traitsteer.words.records import Interval, ScoredAnswer, Trait
from traitsteer.words.results import best_of_arm
from traitsteer.words.seeds import seed_for
from traitsteer.world.files import write_json, write_jsonl
from traitsteer.world.model.language_model import LanguageModel
from traitsteer.world.progress import progress, say
from traitsteer.world.trait_folder import trait_of

BySetting = dict[str, list[ScoredAnswer]]


def run(config: Config) -> None:
    """Compare the natural arm with the instruction arm for every trait; a study without both of
    them has nothing to compare, and no rows.

    Raises:
        TraitsteerError: the terms in data/protocols are not those of params.yaml or of the
            evaluations, too many answers lack a score, or a vector does not fit.
    """
    rows: list[VoiceRow] = []
    spoken: list[VoiceRow] = []
    if {INSTRUCTION, NATURAL} <= set(config.study.arms):
        refuse_other_terms(config)
        model = open_model(config, config.models.instruct)
        for name in config.study.traits:
            row, answers = _of_trait(config, model, name)
            rows.append(row)
            spoken += [{"trait": name} | answer for answer in answers]
    write_jsonl(layout.VOICE_ANSWERS, spoken)
    write_json(layout.VOICE, rows)


def _of_trait(config: Config, model: LanguageModel, name: str) -> tuple[VoiceRow, list[VoiceRow]]:
    """The row of one trait, and its answers with their measures."""
    results = {arm: read_results(config, name, arm) for arm in (INSTRUCTION, NATURAL)}
    best = {arm: best_of_arm(found) for arm, found in results.items()}
    without = [arm for arm, result in best.items() if result is None]
    found = {arm: chosen(result) for arm, result in best.items() if result is not None}
    flat = [arm for arm, each in found.items() if each.reached <= each.steps[0][1]]
    head: VoiceRow = {
        "trait": name,
        "protocol": results[INSTRUCTION][0]["protocol"],
        "status": "compared",
        "without": without or flat,
    }
    if without or flat:
        status = "nothing feasible" if without else "trait not raised"
        say(f"voice {name}: {status} for {' and '.join(without or flat)}, nothing is compared")
        parts = ("arms", "equality", "measures", "preference", "not_measured")
        return head | {"status": status} | dict.fromkeys(parts), []

    trait = trait_of(config, name)
    bench = open_bench(config, name, model)
    arms, corrections = equal(found), 0
    answers = _answers(config, bench, trait, arms, 0)
    difference = _difference(config, answers)
    if abs(difference.value) > config.voice.equal_within:
        reached = {arm: mean_interval(_trait_scores(answers[arm])).value for arm in arms}
        if again := corrected(found, arms, reached):
            # The first answers chose the new strength, so that fresh ones must tell of it.
            arms, corrections = again, 1
            answers = _answers(config, bench, trait, arms, config.voice.samples)
            difference = _difference(config, answers)
    verdict = equality(difference, config.voice.equal_within)
    spoken = heard(answers, trait.report, trait.names, bench.judge, config.voice, bench.cache)
    seed = seed_for(config.seed, name)
    allowed, named = config.judge.missing_at_most, bool(trait.names)
    sound = compared(spoken, config.evaluate.confidence, seed, allowed, named)
    preference = sound["preference"]
    share = estimate(preference and preference["natural"], " %")
    say(f"voice {name}: equal trait score {verdict}, natural preferred in {share}")
    return head | {
        "arms": {
            setting: _setting(arms.get(setting), of, config.evaluate.confidence)
            for setting, of in answers.items()
        },
        "equality": {
            "target": round(min(arm.reached for arm in found.values()), 4),
            "difference": difference.rounded(),
            "within": config.voice.equal_within,
            "verdict": verdict,
            "corrections": corrections,
        },
        **sound,
    }, spoken


def _answers(
    config: Config, bench: Bench, trait: Trait, arms: Mapping[str, Matched], first_sample: int
) -> BySetting:
    """Baseline and both arms on the report questions, with the seeds of this stage.

    Raises:
        TraitsteerError: too many answers of a setting lack a score.
    """
    settings = {BASELINE: unsteered(bench.model, first_sample)}
    for name, arm in arms.items():
        vector = read_vectors(config, bench.model, trait.name, name, arm.method)[arm.layer]
        settings[name] = Setting(arm.layer, vector, arm.coefficient, first_sample)
    questions = Questions(trait.name, "voice", trait.report)
    samples = config.voice.samples
    total = len(settings) * len(trait.report) * samples
    title = f"voice {trait.name}"
    announce(config, trait.name, title, trait.report, total, config.answers.max_new_tokens)
    with progress(title, total, "answer") as advance:
        answered = bench.answers(questions, list(settings.values()), samples, advance)
    answers = dict(zip(settings, answered, strict=True))
    for name, of in answers.items():
        scores.refuse_missing(of, config.judge.missing_at_most, f"{title}, {name}")
    return answers


def _difference(config: Config, answers: BySetting) -> Interval:
    """Trait score of the natural answers minus that of the instruction answers."""
    return paired_difference_interval(
        _trait_scores(answers[NATURAL]),
        _trait_scores(answers[INSTRUCTION]),
        config.evaluate.confidence,
    )


def _trait_scores(answers: Sequence[ScoredAnswer]) -> scores.ByQuestion:
    return scores.by_question(answers, "trait_score")


def _setting(arm: Matched | None, answers: Sequence[ScoredAnswer], confidence: float) -> VoiceRow:
    """Where a setting steers, and the scores that it reached; the baseline steers nowhere."""
    names = ("method", "layer", "strength", "coefficient")
    return {
        **{name: getattr(arm, name, None) for name in names},
        "trait_score": score_interval(_trait_scores(answers), confidence).rounded(),
        "coherence": score_interval(scores.by_question(answers, "coherence"), confidence).rounded(),
        "answers": len(answers),
        "missing": scores.missing(answers),
    }

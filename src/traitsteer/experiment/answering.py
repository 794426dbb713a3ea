"""One steered run: settings in, scored answers out.

Settings, baseline and nulls are rows of one stream, judged while it runs. The answers of a setting
are kept on disk, as soon as they are complete, under the hash of everything that they depend on,
so that an interrupted study asks for nothing twice. A judge may lag behind: what it has not scored,
or failed to, is judged later, and another judge is given the same answers.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from traitsteer.engine.generation import generate
from traitsteer.engine.rows import Batching, Generated, Row, Sampling, Steered, Steering
from traitsteer.experiment.judging import Judging
from traitsteer.experiment.kept_answers import (
    failed_in,
    judge_again,
    of_another_judge,
    path_of,
    read_answers,
    write_answers,
)
from traitsteer.experiment.responses import GENERATING
from traitsteer.words.records import Answer, Judge, Judgement, ScoredAnswer
from traitsteer.words.seeds import seed_for
from traitsteer.world.files import digest, digest_of_files
from traitsteer.world.model import prompts, reasoning
from traitsteer.world.model.language_model import LanguageModel
from traitsteer.world.model.reasoning import Parts

_CODE = digest_of_files(
    [*GENERATING, *(Path(module.__file__ or "") for module in (prompts, reasoning))]
)
"""Answers of an older engine are not answers of this one."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A vector added at one layer with one coefficient; the baseline is coefficient 0."""

    layer: int
    vector: Tensor
    """[width], float32, norm 1."""
    coefficient: float
    first_sample: int = 0
    """Samples are numbered; a run on fresh samples starts at a number not used before."""
    samples: int | None = None
    """Answers to each question; None: as many as the run asks for."""
    system: str | None = None
    """The system prompt before each question; None: none."""

    def key(self) -> list[object]:
        """What the answers depend on, as a JSON value; equal keys give equal answers."""
        content = hashlib.sha256(self.vector.float().numpy().tobytes()).hexdigest()
        steered = [self.layer, self.coefficient, content]
        return [*(steered if self.coefficient else ["baseline"]), self.first_sample, self.system]


def unsteered(model: LanguageModel, first_sample: int = 0) -> Setting:
    """The setting that adds nothing; its samples begin at this number."""
    return Setting(0, torch.zeros(model.width), 0.0, first_sample)


@dataclass(frozen=True)
class Questions:
    """The questions of one set of one trait; `purpose` keeps the seeds of sets apart."""

    trait: str
    purpose: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class _Planned:
    """One answer that is to be generated."""

    setting: int
    question: int
    sample: int
    row: Row


@dataclass(frozen=True)
class Bench:
    """All that stays the same from one run to the next: model, judge, sampling, seed, cache."""

    model: LanguageModel
    judge: Judge
    sampling: Sampling
    steered: Steered
    seed: int
    batching: Batching
    cache: Path

    def answers(
        self,
        questions: Questions,
        settings: Sequence[Setting],
        samples: int,
        progress: Callable[[int], None] = lambda done: None,
        only: Sequence[int] | None = None,
        cut_loops: bool = False,
    ) -> list[list[ScoredAnswer]]:
        """Answer every question under every setting, and judge the answers.

        The seed of an answer depends on study, question set, question and sample and not on the
        setting, so that steered and unsteered answers are paired.

        Args:
            samples: answers to each question under a setting that names no number of its own.
            only: numbers of the questions to answer, in this order; all of them if None.
            cut_loops: whether an answer that repeats itself ends there, which saves tokens where
                a setting is tried and not reported.

        Returns:
            For each setting, its answers ordered by question and then by sample.

        Raises:
            TraitsteerError: a setting has a system prompt and the model no chat template, or a row
                does not fit the model.
        """
        run = _Run(
            self,
            questions,
            settings,
            samples,
            list(range(len(questions.texts)) if only is None else only),
            replace(self.sampling, cut_loops=cut_loops),
        )
        return run.answers(progress)


class _Run:
    """The answers of one call: those that are on disk, and the stream of all others."""

    def __init__(
        self,
        bench: Bench,
        questions: Questions,
        settings: Sequence[Setting],
        samples: int,
        asked: Sequence[int],
        sampling: Sampling,
    ) -> None:
        self.bench, self.questions, self.settings = bench, questions, settings
        self.asked, self.sampling = asked, sampling
        self.samples = [samples if each.samples is None else each.samples for each in settings]
        self.prompts = {
            (system, number): bench.model.encode(questions.texts[number], system)
            for system in dict.fromkeys(each.system for each in settings)
            for number in asked
        }
        self.paths = [self._path(place) for place in range(len(settings))]

    def answers(self, progress: Callable[[int], None]) -> list[list[ScoredAnswer]]:
        """Generate and judge what is not on disk yet."""
        first = {path: place for place, path in reversed(list(enumerate(self.paths)))}
        found = {
            path: read_answers(path) if path.exists() else of_another_judge(path) for path in first
        }
        kept = {path: answers for path, answers in found.items() if answers is not None}
        missing = [place for path, place in first.items() if path not in kept]
        planned = [each for place in sorted(missing) for each in self._planned(place)]
        there = sum(self.samples) - sum(self.samples[place] for place in missing)
        progress(there * len(self.asked) - len(failed_in(kept)))
        judge_again(self.bench.judge, self.questions.trait, self.questions.texts, kept, progress)
        if planned:
            self._generate(planned, progress)
        return [kept[path] if path in kept else read_answers(path) for path in self.paths]

    def _planned(self, place: int) -> list[_Planned]:
        setting, bench = self.settings[place], self.bench
        steering = Steering(setting.layer, setting.vector, setting.coefficient, bench.steered)
        found = []
        for question in self.asked:
            for sample in range(setting.first_sample, setting.first_sample + self.samples[place]):
                text = self.questions.texts[question]
                seed = seed_for(bench.seed, self.questions.purpose, text, sample)
                row = Row(self.prompts[setting.system, question], seed, steering)
                found.append(_Planned(place, question, sample, row))
        return found

    def _generate(self, planned: Sequence[_Planned], progress: Callable[[int], None]) -> None:
        bench = self.bench
        found: dict[int, dict[int, ScoredAnswer]] = {}
        """By setting, its answers: those that wait for the judge count as failed until then."""
        waiting: dict[int, int] = {}
        """By setting, how many answers wait for the judge."""

        def write(place: int) -> None:
            """Keep a setting's answers once the last is generated, and again once it is judged."""
            of_setting = found[place]
            if len(of_setting) == len(self.asked) * self.samples[place]:
                write_answers(self.paths[place], [of_setting[each] for each in sorted(of_setting)])
                if not waiting[place]:
                    del found[place]

        def keep(number: int, judgement: Judgement) -> None:
            place = planned[number].setting
            found[place][number] = replace(found[place][number], **asdict(judgement))
            waiting[place] -= 1
            if not waiting[place]:
                write(place)

        with Judging(bench.judge, self.questions.trait) as judging:

            def finished(number: int, response: Generated) -> None:
                plan = planned[number]
                said = bench.model.parts(plan.row.prompt_ids, response.ids)
                unjudged = self._unjudged(plan, response, said)
                found.setdefault(plan.setting, {})[number] = unjudged
                waiting[plan.setting] = waiting.get(plan.setting, 0) + said.answered
                write(plan.setting)
                if said.answered:
                    question = self.questions.texts[plan.question]
                    judging.add(number, Answer(question, unjudged.text))
                for judged in judging.ready():
                    keep(*judged)
                progress(1)

            rows = [plan.row for plan in planned]
            generate(bench.model, rows, self.sampling, bench.batching, finished)
            for judged in judging.rest():
                keep(*judged)

    def _unjudged(self, plan: _Planned, response: Generated, said: Parts) -> ScoredAnswer:
        """An answer without scores, which counts as one that the judge failed at until it has."""
        return ScoredAnswer(
            question=plan.question,
            sample=plan.sample,
            seed=plan.row.seed,
            text=self.bench.model.decode(said.answer),
            trait_score=None,
            coherence=None,
            tokens=len(response.ids),
            finish=response.finish,
            state="failed" if said.answered else "no answer",
            mass=None,
            reasoning=self.bench.model.decode(said.reasoning),
        )

    def _path(self, place: int) -> Path:
        bench, setting = self.bench, self.settings[place]
        key = {
            "code": _CODE,
            "model": bench.model.digest,
            "implementation": bench.model.implementation,
            "ends": bench.model.end_ids,
            "software": bench.model.software,
            "dtype": str(bench.model.dtype),
            "device": str(bench.model.device),
            "sampling": asdict(self.sampling),
            "steered": bench.steered,
            "thinking": asdict(thinking) if (thinking := bench.model.thinking) else None,
            "seed": bench.seed,
            "trait": self.questions.trait,
            "purpose": self.questions.purpose,
            "asked": [
                [number, self.questions.texts[number], self.prompts[setting.system, number]]
                for number in self.asked
            ],
            "setting": setting.key(),
            "samples": self.samples[place],
        }
        return path_of(bench.cache / "answers", digest(key), digest(bench.judge.digest))

"""One steered run: settings in, scored answers out.

Settings, baseline and nulls are rows of one stream. A finished run is kept on disk under the hash
of everything that it depends on, so that an interrupted study asks for nothing twice.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from traitsteer.engine import generation
from traitsteer.engine.generation import Row, Sampling, Steered, Steering, generate
from traitsteer.words.records import Answer, Judge, ScoredAnswer
from traitsteer.words.seeds import seed_for
from traitsteer.world import hooks, language_model
from traitsteer.world.files import digest, digest_of_files, read_json, write_json
from traitsteer.world.language_model import LanguageModel

_CODE = digest_of_files(
    Path(module.__file__ or "") for module in (generation, hooks, language_model)
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

    def key(self) -> list[object]:
        """What the answers depend on, as a JSON value; equal keys give equal answers."""
        content = hashlib.sha256(self.vector.float().numpy().tobytes()).hexdigest()
        if self.coefficient == 0:
            return ["baseline", self.first_sample]
        return [self.layer, self.coefficient, content, self.first_sample]


@dataclass(frozen=True)
class Questions:
    """The questions of one set of one trait; `purpose` keeps the seeds of sets apart."""

    trait: str
    purpose: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Bench:
    """All that stays the same from one run to the next: model, judge, sampling, seed, cache."""

    model: LanguageModel
    judge: Judge
    sampling: Sampling
    steered: Steered
    seed: int
    batch_rows: int
    cache: Path

    def answers(
        self,
        questions: Questions,
        settings: Sequence[Setting],
        samples: int,
        progress: Callable[[int], None] = lambda done: None,
        only: Sequence[int] | None = None,
    ) -> list[list[ScoredAnswer]]:
        """Answer every question `samples` times under every setting, and judge the answers.

        The seed of an answer depends on study, question set, question and sample and not on the
        setting, so that steered and unsteered answers are paired.

        Args:
            only: numbers of the questions to answer, in this order; all of them if None.

        Returns:
            For each setting, its answers ordered by question and then by sample.
        """
        asked = range(len(questions.texts)) if only is None else only
        prompts = {number: self.model.encode(questions.texts[number]) for number in asked}
        path = self._path(questions, prompts, settings, samples)
        if path.exists():
            progress(len(settings) * len(asked) * samples)
            return [[ScoredAnswer(**a) for a in answers] for answers in read_json(path)]
        planned = [
            (setting, question, setting.first_sample + extra)
            for setting in settings
            for question in asked
            for extra in range(samples)
        ]
        seeds = [
            seed_for(self.seed, questions.purpose, questions.texts[question], sample)
            for _, question, sample in planned
        ]
        rows = [
            Row(
                prompts[question],
                seed,
                Steering(setting.layer, setting.vector, setting.coefficient, self.steered),
            )
            for (setting, question, _), seed in zip(planned, seeds, strict=True)
        ]
        generated = generate(self.model, rows, self.sampling, self.batch_rows, progress)
        texts = [self.model.decode(response.ids) for response in generated]
        judged = self.judge.score(
            questions.trait,
            [
                Answer(questions.texts[question], text)
                for (_, question, _), text in zip(planned, texts, strict=True)
            ],
        )
        scored = [
            ScoredAnswer(
                question,
                sample,
                seed,
                text,
                score.trait_score,
                score.coherence,
                len(response.ids),
                response.finish,
            )
            for (_, question, sample), seed, text, score, response in zip(
                planned, seeds, texts, judged, generated, strict=True
            )
        ]
        each = len(asked) * samples
        result = [scored[at * each : (at + 1) * each] for at in range(len(settings))]
        write_json(path, [[asdict(answer) for answer in answers] for answers in result])
        return result

    def _path(
        self,
        questions: Questions,
        prompts: Mapping[int, tuple[int, ...]],
        settings: Sequence[Setting],
        samples: int,
    ) -> Path:
        key: Mapping[str, object] = {
            "code": _CODE,
            "model": self.model.digest,
            "dtype": str(self.model.dtype),
            "device": str(self.model.device),
            "prompts": list(prompts.items()),
            "judge": self.judge.digest,
            "sampling": asdict(self.sampling),
            "steered": self.steered,
            "seed": self.seed,
            "rows": self.batch_rows,
            "questions": asdict(questions),
            "settings": [setting.key() for setting in settings],
            "samples": samples,
        }
        return self.cache / "answers" / f"{digest(key)}.json"

"""Every setting of the pocket study's searches, answered once and kept in one small file.

A grid holds, for each vector searched, the scores of all layers, strengths, selection questions
and samples. A search is shown some samples of each question and judged by the others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from traitsteer.experiment.answering import Bench, Questions, Setting
from traitsteer.experiment.bench import open_bench
from traitsteer.experiment.models import calibrated_norms, read_vectors
from traitsteer.words import scores
from traitsteer.words.config import Config
from traitsteer.words.records import ScoredAnswer
from traitsteer.world import tensors
from traitsteer.world.progress import progress
from traitsteer.world.trait_folder import read_trait

STORED = Path(__file__).with_name("grid.safetensors")
STRENGTHS = tuple(round(0.1 + 0.05 * step, 2) for step in range(23))
SAMPLES = 8
SEEN = 4
"""Samples of each question that a search may ask for; what it chose is judged by the others."""
REPORT_SAMPLES = 2
MISSING = 255
"""Scores are stored as whole numbers of half points, 0 to 200; this marks one that is missing."""


@dataclass(frozen=True, eq=False)
class Surface:
    """The stored scores of one vector's search; NaN where a score is missing."""

    name: str
    strengths: NDArray[np.float64]
    """[strengths]."""
    trait: NDArray[np.float64]
    """Trait score, [layers, strengths, questions, samples]."""
    coherence: NDArray[np.float64]
    """The same shape."""
    tokens: NDArray[np.int64]
    """Tokens of each answer; the same shape."""
    baseline: NDArray[np.float64]
    """Unsteered trait score, [questions, samples]."""
    baseline_coherence: NDArray[np.float64]
    """The same shape."""
    report_coherence: NDArray[np.float64]
    """Mean coherence on the report questions, which no search sees, [layers, strengths]."""

    def split(self, seed: int) -> tuple["Surface", "Surface"]:
        """The answers that a search of this seed may see, and those that it is judged by.

        Which samples they are is drawn for each question, and alike for all settings, as the seeds
        of a study pair their answers.
        """
        draw = np.random.default_rng(seed)
        questions, samples = self.baseline.shape
        order = np.array([draw.permutation(samples) for _ in range(questions)])
        return self._of(order[:, :SEEN]), self._of(order[:, SEEN:])

    def _of(self, samples: NDArray[np.int64]) -> "Surface":
        """The same surface with these samples of each question, [questions, samples]."""
        at = np.arange(len(samples))[:, None], samples
        return replace(
            self,
            trait=self.trait[:, :, *at],
            coherence=self.coherence[:, :, *at],
            tokens=self.tokens[:, :, *at],
            baseline=self.baseline[at],
            baseline_coherence=self.baseline_coherence[at],
        )

    def delta(self) -> NDArray[np.float64]:
        """Mean rise of the trait score over the unsteered answers, [layers, strengths]."""
        means: NDArray[np.float64] = np.nanmean(self.trait, axis=(2, 3)) - np.nanmean(self.baseline)
        return means

    def feasible(self, floor: float, margin: float = 0) -> NDArray[np.bool_]:
        """Whether the mean coherence over all answers is at the floor, [layers, strengths].

        With a margin it must lie so many standard errors over questions above.
        """
        means = np.nanmean(self.coherence, axis=3)
        error = means.std(axis=2, ddof=1) / np.sqrt(means.shape[2])
        found: NDArray[np.bool_] = means.mean(axis=2) - margin * error >= floor
        return found

    def best(self, floor: float, margin: float = 0) -> float:
        """The largest feasible delta; NaN if nothing is feasible."""
        able = self.delta()[self.feasible(floor, margin)]
        return float(able.max()) if able.size else float("nan")


def compute(config: Config, path: Path = STORED) -> None:
    """Answer the whole grid with the pocket pair; answers are kept, so it can be interrupted."""
    stored: dict[str, torch.Tensor] = {}
    made_from: dict[str, str] = {}
    for trait_name in config.study.traits:
        trait = read_trait(Path(config.study.trait_folder) / trait_name)
        bench = open_bench(config, trait_name)
        questions = Questions(trait_name, "selection", trait.selection)
        norms = calibrated_norms(config, bench.model).tolist()
        made_from |= {"model": bench.model.digest, f"judge {trait_name}": bench.judge.digest}
        for arm in config.study.arms:
            for method in config.arm(arm).methods:
                vectors = read_vectors(config, bench.model, trait_name, arm, method)
                name = f"{trait_name}/{arm}/{method}"
                settings = [
                    [
                        Setting(layer, vectors[layer], round(strength * norms[layer], 6))
                        for strength in STRENGTHS
                    ]
                    for layer in range(len(norms))
                ]
                stored |= _answered(bench, questions, settings, name)
                unseen = Questions(trait_name, "report", trait.report)
                stored[f"{name}/report/coherence"] = _report(bench, unseen, settings, name)
    tensors.write(path, stored, made_from | {"strengths": " ".join(map(str, STRENGTHS))})


def _answered(
    bench: Bench, questions: Questions, settings: list[list[Setting]], name: str
) -> dict[str, torch.Tensor]:
    unsteered = [Setting(0, settings[0][0].vector, 0.0)]
    total = (1 + len(settings) * len(STRENGTHS)) * len(questions.texts) * SAMPLES
    with progress(f"grid {name}", total, "answer") as advance:
        baseline = bench.answers(questions, unsteered, SAMPLES, advance)
        steered = [bench.answers(questions, row, SAMPLES, advance) for row in settings]
    shape = (len(settings), len(STRENGTHS), len(questions.texts), SAMPLES)
    flat = [answer for row in steered for answers in row for answer in answers]
    return {
        f"{name}/{part}/{key}": codes.reshape(form)
        for part, answers, form in (("steered", flat, shape), ("baseline", baseline[0], shape[2:]))
        for key, codes in _codes(answers).items()
    }


def _report(
    bench: Bench, questions: Questions, settings: list[list[Setting]], name: str
) -> torch.Tensor:
    total = len(settings) * len(STRENGTHS) * len(questions.texts) * REPORT_SAMPLES
    with progress(f"report questions {name}", total, "answer") as advance:
        steered = [bench.answers(questions, row, REPORT_SAMPLES, advance) for row in settings]
    means = [[scores.mean(answers, "coherence") for answers in row] for row in steered]
    return torch.tensor([[np.nan if m is None else m for m in row] for row in means])


def _codes(answers: list[ScoredAnswer]) -> dict[str, torch.Tensor]:
    def coded(values: list[float | None]) -> torch.Tensor:
        codes = [MISSING if value is None else round(2 * value) for value in values]
        return torch.tensor(codes, dtype=torch.uint8)

    return {
        "trait": coded([answer.trait_score for answer in answers]),
        "coherence": coded([answer.coherence for answer in answers]),
        "tokens": torch.tensor([answer.tokens for answer in answers], dtype=torch.uint8),
    }


def made_from(path: Path = STORED) -> Mapping[str, str]:
    """Digests of the model and of the judges that gave the stored answers.

    Raises:
        TraitsteerError: the file is missing or corrupt.
    """
    return tensors.read(path, {}).provenance


def read(path: Path = STORED) -> Iterator[Surface]:
    """The stored surfaces, in the order of their names.

    Raises:
        TraitsteerError: the file is missing or corrupt.
    """
    found = tensors.read(path, {})
    strengths = np.array([float(each) for each in found.provenance["strengths"].split()])

    def decoded(name: str) -> NDArray[np.float64]:
        codes = found.tensors[name].numpy().astype(np.float64)
        codes[codes == MISSING] = np.nan
        halved: NDArray[np.float64] = codes / 2
        return halved

    for name in sorted(
        {
            name.removesuffix("/baseline/trait")
            for name in found.tensors
            if name.endswith("/baseline/trait")
        }
    ):
        yield Surface(
            name,
            strengths,
            decoded(f"{name}/steered/trait"),
            decoded(f"{name}/steered/coherence"),
            found.tensors[f"{name}/steered/tokens"].numpy().astype(np.int64),
            decoded(f"{name}/baseline/trait"),
            decoded(f"{name}/baseline/coherence"),
            found.tensors[f"{name}/report/coherence"].numpy().astype(np.float64),
        )

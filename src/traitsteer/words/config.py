"""params.yaml as typed, frozen configuration: one class a section, unknown keys refused.

The file that DVC interpolates and the one that a stage reads are the same; a value that cannot
work is refused here, with a sentence that names the key, before any stage begins.
"""

import io
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.pocket_config import PocketConfig
from traitsteer.words.records import Method

Score = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Section(BaseModel):
    """A section of params.yaml: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class StudyConfig(Section):
    """What is compared: traits, arms, the folder of the trait data and the coherence floor."""

    traits: tuple[Name, ...] = Field(min_length=1)
    arms: tuple[Name, ...] = Field(min_length=1)
    trait_folder: str
    coherence_floor: Score


class ModelConfig(Section):
    """One language model: hub id or folder, pinned revision, and the chat template's use."""

    name: str
    revision: str | None
    chat: bool


class ModelsConfig(Section):
    """The two models of a study; the instruct model is the one that is steered."""

    base: ModelConfig
    instruct: ModelConfig
    dtype: Literal["float32", "bfloat16", "float16"]
    device: str
    rows: Count
    """Most rows that are decoded together."""
    tokens: Count
    """Most tokens of one forward pass that reads or takes in prompts, padding included."""
    capture: bool
    """Whether a decoding step is captured as a CUDA graph, where the model lies on one GPU."""
    trust_remote_code: bool


class JudgeConfig(Section):
    """Who scores: the embedded judge in a folder, or an OpenAI-compatible endpoint."""

    kind: Literal["pocket", "openai"]
    name: str
    """Folder of the pocket judge, or model name at the endpoint."""
    requests_at_once: Count
    minimum_mass: Annotated[float, Field(gt=0, le=1)]
    """A score whose numbers hold less probability than this is missing."""
    missing_at_most: Annotated[float, Field(ge=0, le=1)]
    """A setting with a larger share of missing scores fails."""


class ArmConfig(Section):
    """One way to find a direction: elicitation, source model, pooled tokens, methods."""

    elicitation: Literal["instruction", "natural"]
    source: Literal["base", "instruct"]
    position: Annotated[str, Field(pattern=r"^(prompt|response|all)\[[-\d: ]+\]$")]
    methods: tuple[Method, ...] = Field(min_length=1)


class SamplingConfig(Section):
    """How answers are generated; temperature 0 is greedy."""

    max_new_tokens: Count
    temperature: Annotated[float, Field(ge=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]


class CalibrateConfig(Section):
    """The fixed set on which the mean residual norm of the steered model is measured."""

    questions: str


class ElicitConfig(SamplingConfig):
    """Sampling of the responses that vectors are fitted on."""

    samples: Count


class VetConfig(Section):
    """What a response must show to be kept, and how many of each polarity must remain."""

    positive_at_least: Score
    negative_at_most: Score
    coherence_at_least: Score
    minimum: Count


class FitConfig(Section):
    """Penalty path and folds of the probe, and how far a vector is trusted before it is used."""

    penalties: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    folds: Annotated[int, Field(ge=2)]
    halves: Count
    """Random halvings of the pairs behind the split-half cosine."""
    massive_share: Annotated[float, Field(gt=0, le=1)]
    """Share of squared norm in the 3 largest dimensions from which on a layer is warned of."""


class AnswersConfig(SamplingConfig):
    """How the steered model answers evaluation questions, in search and report alike."""

    steered: Literal["all", "prompt", "response"]


class SearchConfig(Section):
    """Layer and strength search: a coarse design, the cliffs, the sampler, then a recount."""

    strength: tuple[float, float]
    """Least and greatest coefficient in units of the layer's mean residual norm."""
    step: Annotated[float, Field(gt=0)]
    """Strengths nearer to each other than this are not told apart."""
    coarse_layers: Count
    coarse_strengths: Count
    sampler_trials: Annotated[int, Field(ge=0)]
    """How many settings Optuna's sampler adds once no layer promises more."""
    batch: Count
    trials: Count
    """Most settings that are tried in all."""
    samples: Count
    rungs: tuple[Annotated[int, Field(ge=2)], ...]
    """How many questions are answered when a setting is looked at; none: it is never given up."""
    prune_confidence: Annotated[float, Field(gt=0, lt=1)]
    """A setting is given up when this interval of its mean coherence lies below the floor."""
    confirm: Count
    """How many of the best trials are answered again at a time, until one keeps the margin."""
    confirm_samples: Count
    margin: Annotated[float, Field(ge=0)]
    """Standard errors that a confirmed coherence must lie above the floor to be chosen."""

    @model_validator(mode="after")
    def _possible(self) -> "SearchConfig":
        low, high = self.strength
        if not 0 < low < high:
            raise ValueError(f"strength is [{low}, {high}], expected 0 < least < greatest")
        if abs((high - low) / self.step - round((high - low) / self.step)) > 1e-6:
            raise ValueError(f"step is {self.step}, expected a whole fraction of {low} to {high}")
        if self.coarse_layers * self.coarse_strengths > self.trials:
            raise ValueError(
                f"trials is {self.trials}, fewer than the coarse design of coarse_layers x "
                f"coarse_strengths = {self.coarse_layers * self.coarse_strengths}"
            )
        if list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs is {list(self.rungs)}, expected numbers that rise")
        return self


class EvaluateConfig(Section):
    """The report questions: samples for each, null vectors, confidence of the intervals."""

    samples: Count
    random_vectors: Annotated[int, Field(ge=5)]
    confidence: Annotated[float, Field(gt=0, lt=1)]


class TrackConfig(Section):
    """Where people browse: the MLflow store and the journal of the Optuna studies."""

    mlflow: str
    studies: str
    experiment: str


class Config(Section):
    """The whole of params.yaml."""

    profile: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    seed: Annotated[int, Field(ge=0)]
    study: StudyConfig
    models: ModelsConfig
    judge: JudgeConfig
    arms: dict[Name, ArmConfig]
    calibrate: CalibrateConfig
    elicit: ElicitConfig
    vet: VetConfig
    fit: FitConfig
    answers: AnswersConfig
    search: SearchConfig
    evaluate: EvaluateConfig
    track: TrackConfig
    pocket: PocketConfig

    @model_validator(mode="after")
    def _arms_are_described(self) -> "Config":
        listed = [("study.traits", self.study.traits), ("study.arms", self.study.arms)]
        listed += [(f"arms.{name}.methods", arm.methods) for name, arm in self.arms.items()]
        for key, names in listed:
            if len(set(names)) < len(names):
                raise ValueError(f"{key} names {', '.join(names)}; name each of them once")
        for name in self.study.arms:
            if name not in self.arms:
                raise ValueError(
                    f"study.arms names {name!r}, which arms does not describe; it has "
                    f"{', '.join(self.arms)}"
                )
        return self

    def arm(self, name: str) -> ArmConfig:
        """Return the arm of this name.

        Raises:
            TraitsteerError: params.yaml has no such arm.
        """
        if name not in self.arms:
            raise TraitsteerError(
                f"There is no arm {name!r} in params.yaml; it has {', '.join(self.arms)}."
            )
        return self.arms[name]

    def source(self, arm: str) -> ModelConfig:
        """Return the model that the arm elicits from."""
        return self.models.base if self.arm(arm).source == "base" else self.models.instruct


def parse(values: object, origin: str = "params.yaml") -> Config:
    """Check a mapping against the configuration.

    Raises:
        TraitsteerError: a key is unknown or missing, or a value is impossible; one sentence
            names the first such key.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise TraitsteerError(_sentence(error, origin)) from error


def load(path: Path = Path("params.yaml")) -> Config:
    """Read params.yaml.

    Raises:
        TraitsteerError: the file is missing, is no YAML, or holds what `parse` refuses.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise TraitsteerError(
            f"{path} is not there; run from the top of the repository, or take a profile from "
            "profiles/."
        ) from error
    try:
        # The parser that DVC uses, so that both read the same values.
        values: Any = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError as error:
        raise TraitsteerError(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
    return parse(values, str(path))


def _sentence(error: ValidationError, origin: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "the whole file"
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{origin}: {key} is no known parameter; remove it or correct its spelling{more}."
    if first["type"] == "missing":
        return f"{origin}: {key} is missing; copy it from profiles/pocket.yaml{more}."
    message = first["msg"].removeprefix("Value error, ")
    value = first.get("input")
    found = f", found {value!r}" if isinstance(value, str | int | float | None) else ""
    return f"{origin}: {key}: {message}{found}{more}."

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
from traitsteer.words.model_config import ModelConfig, ModelsConfig
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
    texts: tuple[Name, ...] = Field(min_length=1)
    """The arms that elicit: those with `text: null`. DVC cannot choose them from the rest."""
    arms: tuple[Name, ...] = Field(min_length=1)
    trait_folder: str
    coherence_floor: Score


class BudgetConfig(Section):
    """Most that the calls to an endpoint may come to in all; null: no limit."""

    calls: Count | None
    tokens: Count | None


class JudgeConfig(Section):
    """Who scores: the embedded judge, an OpenAI-compatible endpoint, or a model of one's own."""

    kind: Literal["pocket", "openai", "local"]
    name: str | None
    """Folder of the pocket judge, model name at the endpoint (null: the environment variable
    OPENAI_MODEL), or hub id or folder of the local model."""
    revision: str | None
    """Of a local model on the hub."""
    prompts: str
    """Folder of what a judge model is asked."""
    minimum_mass: Annotated[float, Field(gt=0, le=1)]
    """A score whose numbers hold less probability than this is missing."""
    missing_at_most: Annotated[float, Field(ge=0, le=1)]
    """A setting with a larger share of missing scores fails."""
    requests_at_once: Count
    requests_per_minute: Count | None
    request_s: Annotated[float, Field(gt=0)]
    """Seconds after which a request is given up and sent again."""
    deadline_s: Annotated[float, Field(gt=0)]
    """Seconds after which a score is missing, over all its requests and the waits between."""
    budget: BudgetConfig

    @model_validator(mode="after")
    def _named(self) -> "JudgeConfig":
        if self.name is None and self.kind != "openai":
            raise ValueError(f"name is null, expected the folder or hub id of a {self.kind} judge")
        return self


class ArmConfig(Section):
    """One way to find a direction: elicitation, source model, pooled tokens, methods."""

    elicitation: Literal["instruction", "natural"]
    text: Name | None
    """The arm whose recorded responses are read; null: the arm elicits its own."""
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
    """Penalty path and folds of the probe, halves of the reliability estimate."""

    penalties: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    folds: Annotated[int, Field(ge=2)]
    halves: Count


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


class NullsConfig(Section):
    """How many null vectors of each kind stand beside a vector, at its layer and of its norm."""

    random: Annotated[int, Field(ge=5)]
    shuffled: Count
    """Refitted on shuffled labels."""
    orthogonal: Count
    """Random ones, made orthogonal to the vector."""


class EvaluateConfig(Section):
    """The report questions: samples for each, nulls, frontier, confidence of the intervals."""

    samples: Count
    nulls: NullsConfig
    ladder: tuple[Annotated[float, Field(gt=0)], ...]
    """Multiples of the chosen strength that are answered too, at the chosen layer."""
    up_by: Score
    """Points above its unsteered partner from which a single answer counts as up in the trait."""
    confidence: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _possible(self) -> "EvaluateConfig":
        if list(self.ladder) != sorted(set(self.ladder)) or 1 in self.ladder:
            raise ValueError(
                f"ladder is {list(self.ladder)}, expected multiples that rise, without 1, which "
                "is the chosen strength itself"
            )
        return self


class CrossConfig(Section):
    """What steering does to everything else."""

    neutral: str
    """Neutral texts, one a line, whose perplexity is measured with and without each vector."""


class VoiceConfig(Section):
    """How the arms' answers sound at equal trait score: what is answered, compared and counted."""

    samples: Count
    """Answers to each report question under the baseline and each arm."""
    pairs: Count
    """How many of a question's samples are compared in pairs, in both orders."""
    equal_within: Annotated[float, Field(gt=0)]
    """Points of trait score within which two arms count as equal."""
    ngram: Annotated[int, Field(ge=2)]
    """Words of an n-gram, of which the repeated ones are counted."""
    window: Annotated[int, Field(ge=2)]
    """Words over which the moving type-token ratio is taken."""

    @model_validator(mode="after")
    def _possible(self) -> "VoiceConfig":
        if self.pairs > self.samples:
            raise ValueError(f"pairs is {self.pairs}, expected at most samples = {self.samples}")
        return self


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
    voice: VoiceConfig
    cross: CrossConfig
    track: TrackConfig
    pocket: PocketConfig

    @model_validator(mode="after")
    def _arms_are_described(self) -> "Config":
        study = self.study
        listed = [(f"study.{key}", getattr(study, key)) for key in ("traits", "texts", "arms")]
        listed += [(f"arms.{name}.methods", arm.methods) for name, arm in self.arms.items()]
        for key, names in listed:
            if len(set(names)) < len(names):
                raise ValueError(f"{key} names {', '.join(names)}; name each of them once")
        for name in study.arms:
            if name not in self.arms:
                raise ValueError(
                    f"study.arms names {name!r}, which arms does not describe; it has "
                    f"{', '.join(self.arms)}"
                )
        own = [name for name in study.arms if self.arms[name].text is None]
        if set(study.texts) != set(own):
            raise ValueError(
                f"study.texts is {list(study.texts)}, expected the arms of study.arms that have "
                f"`text: null`: {own}"
            )
        for name in study.arms:
            text = self.text(name)
            if text not in own:
                raise ValueError(f"arms.{name}.text is {text!r}, expected one of {own}")
            if self.arms[text].elicitation != self.arms[name].elicitation:
                raise ValueError(
                    f"arms.{name}.elicitation is {self.arms[name].elicitation}, but the text of "
                    f"{text!r} is elicited by {self.arms[text].elicitation}; name the same"
                )
        return self

    def text(self, arm: str) -> str:
        """Return the arm whose responses this one reads: itself, or the one that it names."""
        return self.arm(arm).text or arm

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
        """Return the model whose activations the arm reads, or that writes its text."""
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

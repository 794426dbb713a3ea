"""params.yaml as typed, frozen configuration: one class a section, unknown keys refused.

The file that DVC interpolates and the one that a stage reads are the same; a value that cannot
work is refused here, with a sentence that names the key, before any stage begins.
"""

import io
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from traitsteer.words.errors import TraitsteerError
from traitsteer.words.judge_config import AuditConfig, JudgeConfig
from traitsteer.words.model_config import ModelConfig, ModelsConfig
from traitsteer.words.pocket_config import PocketConfig
from traitsteer.words.records import Method
from traitsteer.words.scoring_config import CrossConfig, EvaluateConfig, SearchConfig, VoiceConfig
from traitsteer.words.section import Count, Points, Section

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class StudyConfig(Section):
    """What is compared: traits, arms, the folder of the trait data and the coherence floor."""

    traits: tuple[Name, ...] = Field(min_length=1)
    texts: tuple[Name, ...] = Field(min_length=1)
    """The arms that elicit: those with `text: null`. DVC cannot choose them from the rest."""
    arms: tuple[Name, ...] = Field(min_length=1)
    trait_folder: str
    coherence_floor: Points


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
    """Sampling of the responses that vectors are fitted on; all are planned before the first."""

    samples: Annotated[Count, Field(le=10_000)]

    @model_validator(mode="after")
    def _samples_differ(self) -> "ElicitConfig":
        if self.temperature == 0 and self.samples > 1:
            raise ValueError(
                f"samples is {self.samples} at temperature 0, where all samples of a prompt are "
                "the same response; set samples to 1 or raise temperature"
            )
        return self


class VetConfig(Section):
    """What a response must show to be kept, and how many of each polarity must remain.

    Thresholds of 0 and 100 ask nothing of the trait score.
    """

    positive_at_least: Points
    negative_at_most: Points
    coherence_at_least: Points
    minimum: Count

    @model_validator(mode="after")
    def _polarities_are_apart(self) -> "VetConfig":
        least, most = self.positive_at_least, self.negative_at_most
        if least <= most and (least, most) != (0, 100):
            raise ValueError(
                f"positive_at_least is {least:g} and negative_at_most {most:g}, so that one score "
                "would show either polarity; set the first above the second, or them to 0 and 100 "
                "to keep whatever is coherent"
            )
        return self


class FitConfig(Section):
    """Penalty path and folds of the probe, and how far a vector is trusted before it is used."""

    penalties: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    folds: Annotated[int, Field(ge=2)]
    halves: Count
    """Random halvings of the pairs behind the split-half cosine."""
    massive_share: Annotated[float, Field(gt=0, le=1)]
    """Share of squared norm in the 3 largest dimensions from which on a layer is warned of."""


class AnswersConfig(SamplingConfig):
    """How the steered model answers evaluation questions, in search and report alike.

    Never greedily: the best settings are answered again, and that must not give the same answers.
    """

    temperature: Annotated[float, Field(gt=0)]
    steered: Literal["all", "prompt", "response"]


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
    audit: AuditConfig
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
        for name in ("instruction", "natural"):
            if name in study.arms and self.arms[name].elicitation != name:
                raise ValueError(
                    f"arms.{name}.elicitation is {self.arms[name].elicitation}; the arms of these "
                    "two names are compared as what they say: give it another name"
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

    @model_validator(mode="after")
    def _cells_are_told_apart(self) -> "Config":
        cells: dict[str, tuple[str, str]] = {}
        # As DVC names the stages of a matrix; texts are arms too.
        for trait, arm in product(self.study.traits, self.study.arms):
            name = f"{trait}-{arm}"
            other = cells.setdefault(name, (trait, arm))
            if other != (trait, arm):
                raise ValueError(
                    f"the trait {other[0]!r} with the arm {other[1]!r} and the trait {trait!r} "
                    f"with the arm {arm!r} are both {name!r} to DVC, which would run only one of "
                    "them; rename a trait or an arm"
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

    def eliciting(self, name: str) -> ArmConfig:
        """Return the arm of this name, which must elicit its own text.

        Raises:
            TraitsteerError: there is no such arm, or it reads the text of another.
        """
        arm = self.arm(name)
        if arm.text is not None:
            raise TraitsteerError(
                f"The arm {name!r} elicits nothing, it reads the text of {arm.text!r}; name "
                f"{arm.text!r} instead."
            )
        return arm

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
        TraitsteerError: the file is missing, is no UTF-8 or no YAML, or holds what `parse` refuses.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise TraitsteerError(
            f"{path} is not there; run from the top of the repository, or take a profile from "
            "profiles/."
        ) from error
    except UnicodeDecodeError as error:
        raise TraitsteerError(f"{path} is no UTF-8 text ({error.reason}); save it as UTF-8.") from (
            error
        )
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

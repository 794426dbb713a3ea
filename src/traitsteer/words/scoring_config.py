"""Sections of params.yaml that say how vectors are scored: search, evaluate, cross, voice."""

from typing import Annotated

from pydantic import Field, model_validator

from traitsteer.words.section import Count, Points, Section


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
    recount: Count
    """How many of the best trials are recounted at a time, until one keeps the margin."""
    recount_samples: Count
    margin: Annotated[float, Field(ge=0)]
    """Standard errors that a recounted coherence must lie above the floor to be chosen."""

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
    samples: Count
    """Answers to each report question under a null vector; many vectors share a family."""


class EvaluateConfig(Section):
    """The report questions: samples for each, nulls, frontier, confidence of the intervals."""

    samples: Count
    nulls: NullsConfig
    ladder: tuple[Annotated[float, Field(gt=0)], ...]
    """Multiples of the chosen strength that are answered too, at the chosen layer."""
    up_by: Points
    """Points above its unsteered partner from which a single answer counts as up in the trait."""
    confidence: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _possible(self) -> "EvaluateConfig":
        if self.nulls.samples > self.samples:
            raise ValueError(
                f"nulls.samples is {self.nulls.samples}, expected at most samples = "
                f"{self.samples}, since each answer is paired with an unsteered one"
            )
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

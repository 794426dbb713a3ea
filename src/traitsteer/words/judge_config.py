"""The `judge` section of params.yaml: who scores, what is asked, how patiently, at what cost; and
`audit`: what a judge is examined on.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from traitsteer.words.records import Quantisation
from traitsteer.words.section import Count, Section

OF_NO_LOCAL_JUDGE: Mapping[str, Any] = {"quantisation": "none", "device": None, "template": {}}
"""What belongs to a local judge, as it stands beside any other."""


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
    quantisation: Quantisation
    """Of the weights of a local model; needs a GPU and the bitsandbytes library."""
    device: str | None
    """Of a local model; null: where the study's models lie."""
    template: dict[str, bool | int | float | str]
    """Further variables of a local model's chat template, such as `enable_thinking: false`."""
    prompts: str
    """Folder of what a judge model is asked."""
    minimum_mass: Annotated[float, Field(gt=0, le=1)]
    """A score whose numbers hold less probability than this is missing."""
    missing_at_most: Annotated[float, Field(ge=0)]
    """A setting with a larger share of missing scores fails; less than a third."""
    requests_at_once: Count
    requests_per_minute: Count | None
    request_s: Annotated[float, Field(gt=0)]
    """Seconds after which a request is given up and sent again."""
    deadline_s: Annotated[float, Field(gt=0)]
    """Seconds after which a score is missing, over all its requests and the waits between."""
    budget: BudgetConfig

    @model_validator(mode="after")
    def _possible(self) -> "JudgeConfig":
        if self.name is None and self.kind != "openai":
            raise ValueError(f"name is null, expected the folder or hub id of a {self.kind} judge")
        # Three sides with less than a third missing in each have scored answers in common.
        if self.missing_at_most >= 1 / 3:
            raise ValueError(
                f"missing_at_most is {self.missing_at_most:g}, expected less than a third, since "
                "the unsteered answers and those of two arms might share no scored answer, which "
                "would be found after all of them were judged"
            )
        of_local = self.quantisation != "none" or self.device or self.template
        if of_local and self.kind != "local":
            raise ValueError(
                f"quantisation, device and template are those of a local judge, and kind is "
                f"{self.kind}; set them to none, null and {{}}"
            )
        return self


class AuditConfig(Section):
    """The folder of the traps, and how often each of them is asked again."""

    traps: str
    repeats: Count

"""The `models` section of params.yaml: which models, how prompts reach them, where they lie."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from traitsteer.words.records import Quantisation
from traitsteer.words.section import Count, Section

Mark = Annotated[str, Field(min_length=1)]


class ThinkingConfig(Section):
    """The marks around the reasoning of a model that reasons before it answers."""

    start: Mark
    end: Mark


class ModelConfig(Section):
    """One language model: hub id or folder, pinned revision, and how prompts are put to it."""

    name: str
    revision: str | None
    chat: bool
    """Whether prompts go through the chat template."""
    blocks: str | None
    """Dotted path of the list of decoder blocks; null: it is looked for."""
    template: dict[str, bool | int | float | str]
    """Further variables of the chat template, such as `enable_thinking: false`."""
    thinking: ThinkingConfig | None
    """null: the whole response is the answer."""

    @model_validator(mode="after")
    def _chat_alone(self) -> "ModelConfig":
        if not self.chat and (self.template or self.thinking):
            raise ValueError(
                f"{self.name} has `chat: false` and a template or thinking; set `template: {{}}` "
                "and `thinking: null`, or name a chat model"
            )
        return self


class ModelsConfig(Section):
    """The two models of a study; the instruct model is the one that is steered."""

    base: ModelConfig
    instruct: ModelConfig
    dtype: Literal["float32", "bfloat16", "float16"]
    quantisation: Quantisation
    """Of the weights, when they are loaded; needs a GPU and the bitsandbytes library."""
    device: str
    """auto (the first GPU, else the CPU), a cpu or cuda device, or balanced over all GPUs."""
    rows: Count
    """Most rows that are decoded together."""
    tokens: Count
    """Most tokens of one forward pass that reads or takes in prompts, padding included."""
    capture: bool
    """Whether a decoding step is captured as a CUDA graph, where it can be, on one GPU."""
    trust_remote_code: bool

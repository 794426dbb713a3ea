"""Parameters of the embedded model pair and its judge: one frozen, closed section."""

from typing import Annotated

from pydantic import Field

from traitsteer.words.section import Count, Section


class PocketConfig(Section):
    """What the embedded pair is made of and how it is trained; one section of params.yaml."""

    folder: str
    """Where base/, instruct/, judge/ and the gates' figures are written."""
    seed: Annotated[int, Field(ge=0)]
    threads: Annotated[int, Field(ge=1, le=2)]
    """Threads of the training; the same number gives the same bytes."""
    vocabulary: Annotated[int, Field(ge=600)]
    layers: Annotated[int, Field(ge=2, le=12)]
    width: Annotated[int, Field(ge=16)]
    heads: Count
    inner: Annotated[int, Field(ge=16)]
    """Width of the gated layer of a block."""
    base_steps: Count
    instruct_steps: Count
    batch_tokens: Annotated[int, Field(ge=64)]
    """Tokens of one step, padding included."""
    matrix_rate: Annotated[float, Field(gt=0)]
    """Learning rate of Muon on the matrices of the blocks."""
    vector_rate: Annotated[float, Field(gt=0)]
    """Learning rate of AdamW on embeddings and norms."""
    tuning_scale: Annotated[float, Field(gt=0, le=1)]
    """Learning rates of the chat tuning as a share of those above."""
    gate_items: Annotated[int, Field(ge=10)]
    """Fresh items behind each binding."""
    binding_nats: Annotated[float, Field(ge=0)]
    """Least mean binding of each trait in each model."""
    judge_auc: Annotated[float, Field(ge=0.5, le=1)]
    """Least area under the curve of the judge, for traits and for style, on unseen templates."""

"""Parameters of the embedded model pair and its judge: one frozen, closed section."""

from typing import Annotated

from pydantic import Field

from traitsteer.words.section import Count, Section


class PocketConfig(Section):
    """What the embedded pair is made of and how it is trained; one section of params.yaml."""

    folder: str = "models/pocket"
    """Where base/, instruct/, judge/ and the gates' figures are written."""
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=1, le=2)] = 1
    """Threads of the training; the same number gives the same bytes."""
    vocabulary: Annotated[int, Field(ge=600)] = 4096
    layers: Annotated[int, Field(ge=2, le=12)] = 6
    width: Annotated[int, Field(ge=16)] = 128
    heads: Count = 4
    inner: Annotated[int, Field(ge=16)] = 352
    """Width of the gated layer of a block."""
    base_steps: Count = 950
    instruct_steps: Count = 600
    batch_tokens: Annotated[int, Field(ge=64)] = 1450
    """Tokens of one step, padding included."""
    matrix_rate: Annotated[float, Field(gt=0)] = 0.008
    """Learning rate of Muon on the matrices of the blocks."""
    vector_rate: Annotated[float, Field(gt=0)] = 0.008
    """Learning rate of AdamW on embeddings and norms."""
    tuning_scale: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Learning rates of the chat tuning as a share of those above."""
    gate_items: Annotated[int, Field(ge=10)] = 120
    """Fresh items behind each binding."""
    binding_nats: Annotated[float, Field(ge=0)] = 2.0
    """Least mean binding of each trait in each model."""
    judge_auc: Annotated[float, Field(ge=0.5, le=1)] = 0.95
    """Least area under the curve of the judge, for traits and for style, on unseen templates."""

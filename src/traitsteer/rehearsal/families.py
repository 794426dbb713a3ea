"""Architecture families: the shape of a tiny model, its special tokens and its chat template.

Templates are written here in the form of those that the families use: where a turn begins and ends,
what stands before the first one, and what becomes of a system prompt.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LLAMA_3 = """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set system = '' %}
    {%- set turns = messages %}
{%- endif %}
{%- if date_string is not defined %}
    {%- set date_string = '26 Jul 2024' %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday: ' + date_string + '\\n\\n' }}
{{- system + '<|eot_id|>' }}
{%- for turn in turns %}
    {{- '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\\n\\n' }}
    {{- turn['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
"""A date before everything, and an empty system turn where there is no system prompt."""

CHATML = """\
{%- if messages[0]['role'] != 'system' %}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for turn in messages %}
    {{- '<|im_start|>' + turn['role'] + '\\n' + turn['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
"""A system prompt of the template's own where the user gives none."""

GEMMA = """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {{- raise_exception('System role not supported') }}
{%- endif %}
{%- for turn in messages %}
    {%- set role = 'model' if turn['role'] == 'assistant' else turn['role'] %}
    {{- '<start_of_turn>' + role + '\\n' + turn['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<start_of_turn>model\\n' }}
{%- endif %}
"""
"""No place for a system prompt."""


@dataclass(frozen=True)
class Family:
    """One architecture, as `transformers` calls it, and how its chat models speak."""

    kind: str
    template: str
    bos: str | None
    eos: str
    """The token that ends a text."""
    turn_end: str
    """The token that ends a turn; chat models stop at it."""
    marks: tuple[str, ...] = ()
    """Further special tokens of the template."""
    shape: Mapping[str, Any] = field(default_factory=dict)


FAMILIES: Mapping[str, Family] = {
    "llama": Family(
        "llama",
        LLAMA_3,
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|eot_id|>",
        ("<|start_header_id|>", "<|end_header_id|>"),
    ),
    "qwen2": Family("qwen2", CHATML, None, "<|endoftext|>", "<|im_end|>", ("<|im_start|>",)),
    "qwen3": Family(
        "qwen3",
        CHATML,
        None,
        "<|endoftext|>",
        "<|im_end|>",
        ("<|im_start|>",),
        {"head_dim": 16},
    ),
    "gemma2": Family(
        "gemma2",
        GEMMA,
        "<bos>",
        "<eos>",
        "<end_of_turn>",
        ("<start_of_turn>",),
        {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 512},
    ),
}

NAMES = (
    ("gemma-2", "gemma2"),
    ("qwen3", "qwen3"),
    ("qwen2", "qwen2"),
    ("qwen1.5", "qwen2"),
    ("llama", "llama"),
    ("pocket", "llama"),
)
"""What a model's name holds, and the family that it then belongs to; the first that fits."""

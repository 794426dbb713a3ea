"""Configurations of a few layers of 32 for whatever architecture `transformers` names."""

import inspect
from typing import Any

from transformers import AutoConfig, PretrainedConfig

LAYERS, WIDTH, HEADS = 3, 32, 4
_ALIKE: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "embed_dim", "embedding_size"), WIDTH),
    "word_embed_proj_dim": WIDTH,
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), LAYERS),
    "decoder_layers": LAYERS,
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "attention_heads"), HEADS),
    "decoder_attention_heads": HEADS,
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "d_inner", "d_ff", "dim_ff"), 48),
    **dict.fromkeys(("ffn_hidden_size", "decoder_ffn_dim"), 48),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 1024),
    **dict.fromkeys(("head_dim", "rotary_dim", "hidden_size_per_layer_input"), 8),
    "sliding_window": 64,
    "dropout": 0.0,
    "hidden_dropout": 0.0,
    # Experts.
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    "num_experts_per_tok": 2,
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("n_shared_experts", "topk_group", "first_k_dense_replace"), 1),
    "n_group": 2,
    # Latent attention.
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"), 8),
    # State spaces and linear attention.
    **dict.fromkeys(("mamba_d_state", "state_size"), 8),
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_n_groups": 1,
    "mamba_expand": 2,
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 2),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
}
"""Sizes by the names that architectures have for them."""
_LATENT = (
    *("axk1", "axk2", "bailing_hybrid", "deepseek_v2", "deepseek_v3", "deepseek_v32"),
    *("glm4_moe_lite", "glm_moe_dsa", "kimi_linear", "minicpm3", "youtu"),
)
_OWN: dict[str, dict[str, Any]] = {
    **{kind: {"head_dim": None, "num_key_value_heads": HEADS} for kind in _LATENT},
    "bamba": {"attn_layer_indices": [1]},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gpt_neo": {"attention_types": [[["global", "local"], 1], [["local"], 1]]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention", "mamba"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "mamba2": {"num_heads": 4, "head_dim": 16, "expand": 2, "n_groups": 1},
    "zamba2": {"layers_block_type": ["mamba", "hybrid", "mamba"], "num_mem_blocks": 1},
}
"""What some want besides; None: left as it is."""


def small_config(kind: str, vocabulary: int, special: dict[str, int]) -> PretrainedConfig:
    """A configuration of this model type; raises whatever the architecture does not agree with."""
    whole = AutoConfig.for_model(kind)
    text = whole.get_text_config()
    known = {*vars(text), *type(text).attribute_map}
    known |= set(inspect.signature(type(text).__init__).parameters)
    sizes = {name: size for name, size in _ALIKE.items() if name in known}
    sizes |= {"vocab_size": vocabulary, **special}
    if "vocab_size_per_layer_input" in known:
        sizes["vocab_size_per_layer_input"] = vocabulary
    if types := vars(text).get("layer_types"):
        # Every kind of layer that there is, as far as they go.
        kinds = list(dict.fromkeys(types))
        sizes["layer_types"] = [kinds[at % len(kinds)] for at in range(LAYERS)]
    sizes |= _OWN.get(kind, {})
    sizes = {name: size for name, size in sizes.items() if size is not None}
    if type(text) is type(whole):
        return AutoConfig.for_model(kind, **sizes)
    part = next(name for name, made in whole.sub_configs.items() if isinstance(text, made))
    return AutoConfig.for_model(kind, **{part: sizes}, **special)

"""From a checkpoint's config.json to the native class and its config.

The files that DeepSeek and Baidu publish were written for code of their own: what they leave out stands in that code,
as literals. Here those numbers are read off the tensors where they can be, so that smaller checkpoints of the same
form work as well. The native config is always built explicitly: given the published v1 config, the library matches two
tensors, fills the rest with random numbers, slides the attention and only warns.

Verified: the tensors of the published checkpoints (tests/manifests) fit the classes so configured, name by name and
shape by shape. Not verified: the answers of the real weights, which were never at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import (
    DeepseekOcr2Config,
    DeepseekOcr2ForConditionalGeneration,
    PreTrainedConfig,
    PreTrainedModel,
    UnlimitedOcrConfig,
    UnlimitedOcrForConditionalGeneration,
)

from workers.engine.deepseek.families import CheckpointError, Family, is_native
from workers.engine.deepseek.weights import Tensors

MLP_RATIO = 4  # of SAM and of CLIP: deepencoder.py; the config's mlp_ratio of 3.7362 is read by nobody
QWEN_HEAD = 64  # hidden 896 over 14 heads: deepencoderv2.py
QWEN_THETA = 1_000_000.0
PUBLISHED_TEXT = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "moe_intermediate_size",
    "n_group",
    "n_routed_experts",
    "n_shared_experts",
    "num_experts_per_tok",
    "topk_group",
    "topk_method",
    "bos_token_id",
    "eos_token_id",
)
DEFAULT_TEXT = {"rms_norm_eps": 1e-6, "hidden_act": "silu", "routed_scaling_factor": 1.0}  # DeepseekV2Config's own
# What the native classes cannot do, or do in one way only.
FIXED = {
    "use_mla": False,
    "rope_scaling": None,
    "norm_topk_prob": False,
    "scoring_func": "softmax",
    "moe_layer_freq": 1,
}


def class_of(family: Family) -> type[PreTrainedModel]:
    """The library's class that runs a family. v1 has the modules of Unlimited-OCR, and the same names of tensors."""
    if family is Family.DEEPSEEK_OCR2:
        return DeepseekOcr2ForConditionalGeneration
    return UnlimitedOcrForConditionalGeneration


def config_of(raw: Mapping[str, Any], family: Family, tensors: Tensors, image_token: int) -> PreTrainedConfig:
    """The native config of a checkpoint, built from its own numbers.

    `image_token` is the tokenizer's id of `<image>`, which published configs leave out. Raises CheckpointError for a
    number that is missing or that contradicts another.
    """
    kind = DeepseekOcr2Config if family is Family.DEEPSEEK_OCR2 else UnlimitedOcrConfig
    try:
        if is_native(raw):
            config = kind.from_dict(dict(raw))
        elif family is Family.DEEPSEEK_OCR2:
            config = kind(text_config=_text(raw), vision_config=_vision2(raw, tensors), image_token_id=image_token)
        else:
            text = _text(raw) | _attention(raw, family)
            config = kind(text_config=text, vision_config=_vision(raw, tensors), image_token_id=image_token)
    except KeyError as error:
        raise CheckpointError(f"config.json: {error.args[0]!r} is missing") from None
    except (StrictDataclassError, AttributeError, IndexError, TypeError, ValueError) as error:
        raise CheckpointError(f"config.json: {' '.join(str(error).split())}") from None
    if config.image_token_id != image_token:
        raise CheckpointError(
            f"config.json: image_token_id is {config.image_token_id}, but <image> is {image_token} in the tokenizer"
        )
    return config


def _text(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The decoder, from `language_config` and, for what that leaves out, from the top."""
    given = {**raw, **raw["language_config"]}
    for name, only in FIXED.items():
        if given.get(name, only) != only:
            raise ValueError(f"{name} is {given[name]!r}; only {only!r} can be served")
    text = {name: given[name] for name in PUBLISHED_TEXT} | {
        name: given.get(name, default) for name, default in DEFAULT_TEXT.items()
    }
    layers, dense = text["num_hidden_layers"], given.get("first_k_dense_replace", 0)
    text["mlp_layer_types"] = ["dense"] * dense + ["sparse"] * (layers - dense)
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": float(given.get("rope_theta", 10_000.0))}
    return text


def _attention(raw: Mapping[str, Any], family: Family) -> dict[str, Any]:
    layers = raw["language_config"]["num_hidden_layers"]
    if family is Family.DEEPSEEK_OCR:  # the class wants a window even where no layer has one
        return {"layer_types": ["full_attention"] * layers, "sliding_window": 128}
    window = raw.get("sliding_window", raw["language_config"].get("sliding_window_size"))
    if window is None:
        raise KeyError("sliding_window")
    return {"layer_types": ["reference_sliding_attention"] * layers, "sliding_window": window}


def _sam(raw: Mapping[str, Any], tensors: Tensors, channels: list[int]) -> dict[str, Any]:
    given = raw["vision_config"]["width"]["sam_vit_b"]
    return {
        "hidden_size": given["width"],
        "num_hidden_layers": given["layers"],
        "num_attention_heads": given["heads"],
        "global_attn_indexes": given["global_attn_indexes"],
        "image_size": raw["vision_config"]["image_size"],
        "mlp_dim": MLP_RATIO * given["width"],
        "output_channels": _side(tensors, "model.sam_model.neck.0.weight", 256),
        "downsample_channels": channels,
    }


def _vision(raw: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
    clip = raw["vision_config"]["width"]["clip-l-14-224"]
    channels = raw["vision_config"]["width"]["sam_vit_b"]["downsample_channels"]
    projected = channels[-1] + clip["width"]
    if (wide := raw["projector_config"]["input_dim"]) != projected:
        raise ValueError(f"projector_config.input_dim is {wide}, but the vision towers give {projected}")
    encoder = {
        "hidden_size": clip["width"],
        "intermediate_size": MLP_RATIO * clip["width"],
        "num_hidden_layers": clip["layers"],
        "num_attention_heads": clip["heads"],
        "image_size": clip["image_size"],
        "patch_size": clip["patch_size"],
    }
    return {"sam_config": _sam(raw, tensors, list(channels)), "encoder_config": encoder}


def _vision2(raw: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
    """DeepSeek-OCR 2: the config names only the width of its second encoder, and a channel count that is v1's."""
    width = raw["vision_config"]["width"]["qwen2-0-5b"]["dim"]
    channels = [*raw["vision_config"]["width"]["sam_vit_b"]["downsample_channels"][:-1], width]
    layer = "model.qwen2_model.model.model.layers"
    encoder = {
        "hidden_size": width,
        "intermediate_size": _side(tensors, f"{layer}.0.mlp.gate_proj.weight", 4864),
        "num_hidden_layers": _layers(tensors, layer, 24),
        "num_attention_heads": width // QWEN_HEAD,
        "num_key_value_heads": _side(tensors, f"{layer}.0.self_attn.k_proj.weight", 2 * QWEN_HEAD) // QWEN_HEAD,
        "max_position_embeddings": 131_072,
        "rope_parameters": {"rope_type": "default", "rope_theta": QWEN_THETA},
    }
    return {"sam_config": _sam(raw, tensors, channels), "encoder_config": encoder}


def _side(tensors: Tensors, name: str, published: int) -> int:
    """The first side of a tensor, or of the published one where it is missing (and will be named as missing)."""
    return tensors[name].shape[0] if name in tensors and tensors[name].shape else published


def _layers(tensors: Tensors, prefix: str, published: int) -> int:
    found = [int(match[1]) for name in tensors if (match := re.match(re.escape(prefix) + r"\.(\d+)\.", name))]
    return max(found) + 1 if found else published

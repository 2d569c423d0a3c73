"""The nano model: DeepSeek-OCR's own architecture, the sizes small enough for a laptop's processor."""

from __future__ import annotations

from typing import Any

import torch
from transformers import UnlimitedOcrConfig, UnlimitedOcrForConditionalGeneration

from workers.nano.alphabet import BOS_ID, EOS_ID, IMAGE_ID, PAD_ID, VOCABULARY

SIDE = 256
"""Pixels of a view: 16 patches of 16 pixels along a side, 4 vision tokens."""
PATCHES = SIDE // 16
TOKENS = PATCHES // 4

SPREAD = 0.04  # of all weights: with the library's defaults, 1e-10 and 0.02, nothing is learned
POSITIONS = 0.02  # of SAM's positions, zero as built

SAM: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 7,
    "num_attention_heads": 4,
    "window_size": 8,
    "global_attn_indexes": [2, 4],
    "image_size": SIDE,
    "mlp_dim": 512,
    "output_channels": 96,
    "downsample_channels": [256, 320],
    "initializer_range": SPREAD,
}
ENCODER: dict[str, Any] = {
    "hidden_size": 320,
    "intermediate_size": 640,
    "num_hidden_layers": 2,
    "num_attention_heads": 5,
    "image_size": TOKENS * 16,  # so that there is a position for each token of a view
    "patch_size": 16,
    "initializer_range": SPREAD,
}
LAYERS = 4
TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 640,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "max_position_embeddings": 2048,
    "initializer_range": SPREAD,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 144,
    "mlp_layer_types": ["dense"] + ["sparse"] * (LAYERS - 1),
    "layer_types": ["full_attention"] * LAYERS,
    "sliding_window": 128,  # the class wants one where no layer has it
    "bos_token_id": BOS_ID,
    "eos_token_id": EOS_ID,
    "pad_token_id": PAD_ID,
}


def new_model(seed: int) -> Any:
    """The model with random weights, in float32.

    Its attention is the one that gives its weights, which is also the faster one on a CPU, by a fifth: SAM's has a
    learned bias, for which PyTorch's own has no kernel there.
    """
    torch.manual_seed(seed)
    vision = {"sam_config": dict(SAM), "encoder_config": dict(ENCODER)}
    config = UnlimitedOcrConfig(vision_config=vision, text_config=dict(TEXT), image_token_id=IMAGE_ID)
    built = UnlimitedOcrForConditionalGeneration._from_config(config, attn_implementation="eager")
    model: Any = built  # the library types its parts as Tensor | Module
    torch.nn.init.normal_(model.model.vision_tower.sam_encoder.pos_embed, std=POSITIONS)
    return model

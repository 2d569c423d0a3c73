"""Small random models of the three families, built in memory: the real classes, sizes that a test can afford.

Their weights are drawn wide, so that attention is far from uniform and a wrong position, mask or slot changes the
text, and EOS's row of `lm_head` is scaled, so that a greedy answer ends by itself, after one to forty tokens or more.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    DeepseekOcr2Config,
    DeepseekOcr2ForConditionalGeneration,
    UnlimitedOcrConfig,
    UnlimitedOcrForConditionalGeneration,
)

VOCABULARY = 512
BOS, EOS, IMAGE = 0, 1, 2
HIDDEN = 64
VISION_HIDDEN = 32
SPREAD = 0.25  # of the decoder's weights: with HIDDEN inputs a sum of unit ones is about 2
# Of EOS's row in `lm_head`: a longer one makes it the likeliest token more often.
EOS_GAIN = {"deepseek-ocr": 1.35, "unlimited-ocr": 1.35, "deepseek-ocr-2": 2.0}

SAM = {
    "hidden_size": 32,
    "output_channels": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "global_attn_indexes": [1],
    "mlp_dim": 64,
    "downsample_channels": [24, VISION_HIDDEN],
    "initializer_range": 0.1,  # the default of 1e-10 lets nothing through
}
TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
    "initializer_range": SPREAD,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "mlp_layer_types": ["dense", "sparse", "sparse"],
    "bos_token_id": BOS,
    "eos_token_id": EOS,
}
ENCODER = {
    "hidden_size": VISION_HIDDEN,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.15,
}


def tiny_config(family: str, **changes: Any) -> DeepseekOcr2Config | UnlimitedOcrConfig:
    """The configuration of a small model of a family; `changes` overrule entries of its text part.

    `image_token_id` among them is the model's own.
    """
    image = changes.pop("image_token_id", IMAGE)
    if family == "deepseek-ocr-2":
        encoder = ENCODER | {"num_key_value_heads": 1, "vocab_size": 8}
        vision = {"sam_config": dict(SAM), "encoder_config": encoder}
        return DeepseekOcr2Config(vision_config=vision, text_config=TEXT | changes, image_token_id=image)
    kind = {"deepseek-ocr": "full_attention", "unlimited-ocr": "reference_sliding_attention"}[family]
    layers = changes.get("num_hidden_layers", TEXT["num_hidden_layers"])
    text = TEXT | {"sliding_window": 6, "layer_types": [kind] * layers} | changes
    vision = {"sam_config": dict(SAM), "encoder_config": dict(ENCODER)}
    return UnlimitedOcrConfig(vision_config=vision, text_config=text, image_token_id=image)


def tiny_model(family: str, seed: int = 0, **changes: Any) -> Any:
    """A small random model of a family (fp32, CPU, eval); `changes` as in `tiny_config`."""
    config = tiny_config(family, **changes)
    model: Any  # its parts are typed as Tensor | Module by the library
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(config, DeepseekOcr2Config):
            model = DeepseekOcr2ForConditionalGeneration(config).eval()
        else:
            model = UnlimitedOcrForConditionalGeneration(config).eval()
        for name, weight in model.named_parameters():
            if "pos_embed" in name or "rel_pos" in name:  # zero as built
                torch.nn.init.normal_(weight, std=0.1)
    with torch.no_grad():
        model.lm_head.weight[changes.get("eos_token_id", EOS)] *= EOS_GAIN[family]
    model.set_experts_implementation("grouped_mm")
    return model

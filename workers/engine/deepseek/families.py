"""The families of checkpoints that are served alike, how one is told by its config, and the commits that are known."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class CheckpointError(Exception):
    """A checkpoint that cannot be served; the text names everything that is wrong with it, a line each."""


class Family(StrEnum):
    """A kind of DeepSeek-OCR checkpoint."""

    DEEPSEEK_OCR = "deepseek-ocr"
    DEEPSEEK_OCR2 = "deepseek-ocr-2"
    UNLIMITED_OCR = "unlimited-ocr"


NATIVE_TYPES = {"deepseek_ocr2": Family.DEEPSEEK_OCR2, "unlimited_ocr": Family.UNLIMITED_OCR}
ARCHITECTURES = {
    "DeepseekOCRForCausalLM": Family.DEEPSEEK_OCR,
    "DeepseekOCR2ForCausalLM": Family.DEEPSEEK_OCR2,
    "UnlimitedOCRForCausalLM": Family.UNLIMITED_OCR,
}

PINNED = {
    "deepseek-ai/DeepSeek-OCR": "9f30c71f441d010e5429c532364a86705536c53a",
    "deepseek-ai/DeepSeek-OCR-2": "aaa02f3811945a91062062994c5c4a3f4c0af2b0",
    "baidu/Unlimited-OCR": "07dea832e22aefee32ad281d4b80551282e1c168",
}
"""Commits on the hub that this version was written against, as public notes and scripts name them; any other
repository is taken at `main`."""


def is_native(config: Mapping[str, Any]) -> bool:
    """Whether a config is in the library's own form, not in the one that DeepSeek and Baidu publish."""
    return config.get("model_type") in NATIVE_TYPES and "language_config" not in config


def family_of(config: Mapping[str, Any]) -> Family:
    """Tell the family by the contents of `config.json`; raises CheckpointError for any other model.

    `deepseek_vl_v2` is the type of DeepSeek-OCR, of DeepSeek-OCR 2 and of DeepSeek-VL2, so that the architecture
    decides. DeepSeek-OCR saved again by the library is an `unlimited_ocr` whose layers all have full attention.
    """
    if is_native(config):
        kinds = set((config.get("text_config") or {}).get("layer_types") or ())
        if kinds == {"full_attention"} and config["model_type"] == "unlimited_ocr":
            return Family.DEEPSEEK_OCR
        return NATIVE_TYPES[config["model_type"]]
    for architecture in config.get("architectures") or ():
        if architecture in ARCHITECTURES:
            return ARCHITECTURES[architecture]
    if config.get("model_type") in NATIVE_TYPES:
        return NATIVE_TYPES[config["model_type"]]
    raise CheckpointError(
        f"config.json: model_type {config.get('model_type')!r} with architectures {config.get('architectures')!r} "
        f"is none of {', '.join(NATIVE_TYPES)} and {', '.join(ARCHITECTURES)}"
    )

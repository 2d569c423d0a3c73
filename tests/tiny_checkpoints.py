"""Small random checkpoints in the published form: names of tensors and config from tests/manifests, sizes shrunken."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.tiny_models import tiny_model

MANIFESTS = Path(__file__).parent / "manifests"
VOCABULARY = 512
BEGIN, END, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
MARKS = ["<image>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>"]
MARKS += ["<td>", "</td>", "<tr>", "</tr>", "<|User|>", "<|Assistant|>"]
"""What DeepSeek-OCR added to its tokenizer, in the published order (128815 to 128826 there)."""
PROMPTS = ["Free OCR.", "Convert the document to markdown.", "Parse the figure.", "Describe this image in detail."]
CORPUS = (
    "The quick brown fox jumps over the lazy dog. Free OCR. Convert the document to markdown. Parse the figure.",
    "Describe this image in detail. Locate the title in the image. document parsing. [[0, 1, 2, 3]] 456 789",
)

SMALL = {
    "vocabulary": VOCABULARY,
    "hidden": 64,
    "dense": 96,
    "expert": 32,
    "shared": 64,
    "experts": 8,
    "sam": 32,
    "sam_3": 96,
    "sam_mlp": 128,
    "sam_head": 16,
    "neck": 16,
    "net_2": 24,
    "net_3": 32,
    "clip": 32,
    "clip_3": 96,
    "clip_mlp": 128,
    "projected": 64,
    "qwen": 128,
    "qwen_kv": 64,
    "qwen_mlp": 64,
}
SMALL_INDICES = {
    "layer": range(3),
    "sparse": range(1, 3),
    "expert": range(8),
    "block": range(2),
    "global": range(1, 2),
    "windowed": range(1),
    "clip_layer": range(2),
    "qwen_layer": range(2),
}
# Drawn wide, so that attention is far from uniform and answers vary; EOS a little wider, so that answers end.
SPREADS = (("sam_model", 0.1), ("vision_model", 0.15), ("qwen2_model", 0.15), ("", 0.25))
EOS_GAIN = {"deepseek-ocr": 1.35, "unlimited-ocr": 1.35, "deepseek-ocr-2": 2.0}


@dataclass(frozen=True)
class Manifest:
    """What is known of a published checkpoint: its config, and its tensors as patterns over named sizes and ranges."""

    config: dict[str, Any]
    published: dict[str, int]
    dimensions: dict[str, int]
    indices: dict[str, list[int]]
    tensors: dict[str, list[str | int]]
    checkpoint: str
    sources: list[str]

    def shapes(self, dimensions: Mapping[str, int] = {}, indices: Mapping[str, Any] = {}) -> dict[str, tuple[int, ...]]:
        """All tensors, published unless other sizes and ranges are given."""
        sizes, ranges = {**self.dimensions, **dimensions}, {**self.indices, **indices}
        shapes = {}
        for pattern, sides in self.tensors.items():
            shape = tuple(side if isinstance(side, int) else sizes[side] for side in sides)
            names = re.findall(r"{(\w+)}", pattern)
            for values in itertools.product(*(ranges[name] for name in names)):
                shapes[pattern.format(**dict(zip(names, values, strict=True)))] = shape
        return shapes


def manifest_of(family: str) -> Manifest:
    return Manifest(**json.loads((MANIFESTS / f"{family}.json").read_text(encoding="utf-8")))


def write_checkpoint(folder: Path, family: str, *, seed: int = 0, shards: int = 1) -> Path:
    """Write a small random checkpoint of a family in float32; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = manifest_of(family)
    (folder / "config.json").write_text(json.dumps(small_config(manifest), indent=2), encoding="utf-8")
    write_tokenizer(folder)
    write_weights(folder, random_weights(manifest, family, seed), shards)
    return folder


def write_nano(folder: Path, *, seed: int = 0) -> Path:
    """Write a small random checkpoint in the form of nano: views of 256 pixels, a text token for every letter.

    Saved by the library itself, in bfloat16; its preprocessor_config.json and generation_config.json say what differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    letters = _write_letters(folder)
    tokens = {"bos_token_id": 0, "eos_token_id": 1, "image_token_id": letters["<image>"]}
    tiny_model("deepseek-ocr", seed, max_position_embeddings=1024, **tokens).bfloat16().save_pretrained(folder)
    preprocessor = {"size": {"height": 256, "width": 256}, "tile_size": 256, "min_patches": 2, "max_patches": 6}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor), encoding="utf-8")
    generation = {"bos_token_id": 0, "eos_token_id": 1, "no_repeat_ngram_size": 0}
    (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    return folder


def _write_letters(folder: Path) -> dict[str, int]:
    """A tokenizer of single characters, in which each prompt is one token; its vocabulary."""
    special = [BEGIN, END, PAD, *MARKS]
    letters = [chr(code) for code in range(32, 127)] + ["\n"]
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="?"))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False) for mark in special])
    tokenizer.add_tokens([AddedToken(prompt, normalized=False) for prompt in PROMPTS])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": BEGIN, "eos_token": END, "pad_token": PAD, "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
    return dict(tokenizer.get_vocab())


def small_config(manifest: Manifest) -> dict[str, Any]:
    """The published config with the sizes of SMALL."""
    config = copy.deepcopy(manifest.config)
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": SMALL["hidden"],
        "intermediate_size": SMALL["dense"],
        "moe_intermediate_size": SMALL["expert"],
        "n_routed_experts": SMALL["experts"],
        "num_experts_per_tok": 2,
        "num_hidden_layers": len(SMALL_INDICES["layer"]),
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    }
    config |= text
    config["language_config"] |= text
    width = config["vision_config"]["width"]
    width["sam_vit_b"] |= {"width": SMALL["sam"], "heads": 2, "layers": 2, "global_attn_indexes": [1]}
    width["sam_vit_b"]["downsample_channels"] = [SMALL["net_2"], SMALL["net_3"]]
    projected = SMALL["projected"]
    if "clip-l-14-224" in width:
        width["clip-l-14-224"] |= {"width": SMALL["clip"], "heads": 2, "layers": 2}
    else:
        width["qwen2-0-5b"]["dim"] = projected = SMALL["qwen"]
    config["projector_config"] |= {"input_dim": projected, "n_embed": SMALL["hidden"]}
    return config


def small_shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    second = {"net_3": SMALL["qwen"]} if "qwen" in manifest.dimensions else {}
    return manifest.shapes(SMALL | second, SMALL_INDICES)


def random_weights(manifest: Manifest, family: str, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in small_shapes(manifest).items():
        if name.endswith(".bias"):
            weights[name] = torch.zeros(shape)
        elif "norm" in name or re.search(r"neck\.[13]\.", name):
            weights[name] = torch.ones(shape)
        else:
            spread = next(spread for part, spread in SPREADS if part in name)
            weights[name] = torch.randn(shape, generator=generator) * spread
    weights["lm_head.weight"][1] *= EOS_GAIN[family]
    return weights


def write_weights(folder: Path, weights: dict[str, torch.Tensor], shards: int = 1) -> None:
    """As the published ones lie: numbered files and an index, even where there is one file."""
    names = sorted(weights)
    index: dict[str, str] = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:06}.safetensors"
        own = names[number::shards]
        save_file({name: weights[name] for name in own}, folder / file, {"format": "pt"})
        index |= dict.fromkeys(own, file)
    total = sum(weight.numel() * weight.element_size() for weight in weights.values())
    content = {"metadata": {"total_size": total}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content), encoding="utf-8")


def write_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer: begin 0, end 1, pad 2 and the marks as published, placeholders up to VOCABULARY."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[BEGIN, END, PAD], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False) for mark in MARKS])
    free = VOCABULARY - tokenizer.get_vocab_size()
    tokenizer.add_special_tokens([AddedToken(f"<｜place▁holder▁no▁{at}｜>", normalized=False) for at in range(free)])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": PAD,
        "tokenizer_class": "LlamaTokenizer",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")

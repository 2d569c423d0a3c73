"""Checkpoints: examined without loading a weight, and loaded only when every tensor has its place.

Verified on small random checkpoints in the published form of all three families, and on the names and shapes of the
published ones (tests/manifests). Not run with the real weights, which were never at hand: `model check --smoke` is
for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.core_model_loading import revert_weight_conversion
from transformers.utils import logging as library_logging

from workers.engine.deepseek import nano
from workers.engine.deepseek.configs import class_of, config_of
from workers.engine.deepseek.families import CheckpointError, Family, family_of
from workers.engine.deepseek.hub import locate
from workers.engine.deepseek.resolutions import FILE as PREPROCESSOR
from workers.engine.deepseek.resolutions import RESOLUTIONS, Resolutions, resolutions_of
from workers.engine.deepseek.weights import Tensors, content_hash, listed, read_json, read_tensors

IMAGE = "<image>"
GENERATION = "generation_config.json"
# Published, and of no use to the native classes: CLIP gets its patches from SAM; position_ids are 0, 1, 2 ...
UNUSED = re.compile(r"(^|\.)embeddings\.(patch_embedding\.weight|position_ids)$")


@dataclass(frozen=True)
class Checkpoint:
    """A model that is ready to run. `revision` differs when the checkpoint's content does, wherever it lies.

    name: what vision tokens are said to be of; bans_repeats: whether its family's n-gram ban keeps it from going round
    in circles.
    """

    name: str
    family: Family
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    revision: str
    resolutions: Resolutions
    bans_repeats: bool = True


@dataclass(frozen=True)
class Examined:
    """A checkpoint on disk that can be loaded."""

    folder: Path
    family: Family
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerFast
    tensors: Tensors
    revision: str
    resolutions: Resolutions
    bans_repeats: bool

    @property
    def name(self) -> str:
        return nano.NANO if self.folder == nano.FOLDER else str(self.family)


def load_checkpoint(
    path_or_id: str | Path,
    *,
    revision: str | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> Checkpoint:
    """Load a checkpoint from a folder or, by its hub id, from the cache; in bfloat16 on CUDA, else in float32.

    Raises CheckpointError, which lists what is missing, too much or of the wrong shape: there is no such thing as a
    model that is random in parts.
    """
    found = examine(locate(path_or_id, revision))
    device = torch.device(device)
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    library_logging.disable_progress_bar()
    kind: Any = class_of(found.family)  # its types know nothing of output_loading_info
    model, info = kind.from_pretrained(
        found.folder,
        config=found.config,
        dtype=dtype,
        output_loading_info=True,
        local_files_only=True,
        use_safetensors=True,
    )
    if left := [f"{name}: {sorted(map(str, keys))[:5]}" for name, keys in info.items() if keys]:
        raise CheckpointError("\n".join(f"the library reports {line}" for line in left))
    return Checkpoint(
        found.name,
        found.family,
        model.eval().to(device),
        found.tokenizer,
        found.revision,
        found.resolutions,
        found.bans_repeats,
    )


def examine(folder: Path) -> Examined:
    """Hold a folder against what its family's class expects, without loading a weight.

    Raises CheckpointError with a line for everything that is wrong.
    """
    problems: list[str] = []

    def found(step: Any, *given: Any) -> Any:
        try:
            return None if None in given else step(*given)
        except CheckpointError as error:
            problems.append(str(error))
            return None

    raw = found(read_json, folder / "config.json")
    family = found(family_of, raw)
    tokenizer = found(load_tokenizer, folder)
    tensors = found(read_tensors, folder)
    image = found(_image_token, tokenizer)
    resolutions = found(resolutions_of, folder, family)
    bans_repeats = found(_bans_repeats, folder)
    config = found(config_of, raw, family, tensors, image)
    if config is not None:
        problems += _mistakes(tensors, expected_shapes(config, family, tensors))
        problems += _misfits(config, tokenizer)
    if problems:
        raise CheckpointError("\n".join(problems))
    # Only those that change what is read: the revision of published checkpoints stays what it was without them.
    deciding = [PREPROCESSOR] * (resolutions != RESOLUTIONS[family]) + [GENERATION] * (not bans_repeats)
    revision = content_hash(folder, tensors, deciding)
    return Examined(folder, family, config, tokenizer, tensors, revision, resolutions, bans_repeats)


def expected_shapes(config: PreTrainedConfig, family: Family, tensors: Tensors) -> dict[str, tuple[int, ...]]:
    """Names and shapes that a checkpoint must have: those of the class as it would save them, which are the published.

    A checkpoint whose tensors are named as the class itself names them is held against those names.
    """
    with torch.device("meta"):
        model = class_of(family)(config)
    own = model.state_dict()
    native = any(name.startswith("model.language_model.") for name in tensors)
    weights: Mapping[str, torch.Tensor] = own if native else revert_weight_conversion(model, own)
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def _mistakes(tensors: Tensors, expected: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    if missing := [name for name in expected if name not in tensors]:
        yield listed("missing tensors", missing)
    if surplus := [name for name in tensors if name not in expected and not UNUSED.search(name)]:
        yield listed("tensors unknown to the model", surplus)
    wrong = [name for name, shape in expected.items() if name in tensors and tensors[name].shape != shape]
    if wrong:
        said = [f"{name} {list(tensors[name].shape)} for {list(expected[name])}" for name in wrong]
        yield listed("tensors of a wrong shape", said)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer just as tokenizer.json has it.

    The published tokenizer_config.json names the class LlamaTokenizer, which would cut text by rules of its own.
    Raises CheckpointError.
    """
    path = folder / "tokenizer.json"
    read_json(path)
    settings = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
    special = {name: _text_of(settings.get(name)) for name in ("bos_token", "eos_token", "pad_token")}
    try:
        return PreTrainedTokenizerFast(tokenizer_file=str(path), clean_up_tokenization_spaces=False, **special)
    except Exception as error:  # noqa: BLE001  # the library raises nothing more special
        raise CheckpointError(f"tokenizer.json: cannot be read: {' '.join(str(error).split())}") from None


def _bans_repeats(folder: Path) -> bool:
    """Not where generation_config.json says `no_repeat_ngram_size: 0`, as text tokens of single letters need it.

    Any other size changes nothing: the family's own ban is what its answers were measured with. Raises CheckpointError.
    """
    said = read_json(folder / GENERATION) if (folder / GENERATION).exists() else {}
    return said.get("no_repeat_ngram_size") != 0


def _text_of(token: Any) -> str | None:
    return token.get("content") if isinstance(token, dict) else token


def _image_token(tokenizer: PreTrainedTokenizerFast) -> int:
    token = tokenizer.get_vocab().get(IMAGE)
    if token is None:
        raise CheckpointError(f"tokenizer.json: has no token {IMAGE}")
    return token


def _misfits(config: Any, tokenizer: PreTrainedTokenizerFast) -> Iterator[str]:
    """What tokenizer and config do not agree about."""
    text = config.text_config
    if len(tokenizer) > text.vocab_size:
        yield f"tokenizer.json: has {len(tokenizer)} tokens, but the model knows {text.vocab_size}"
    for name in ("bos_token", "eos_token"):
        wanted, have = getattr(text, f"{name}_id"), getattr(tokenizer, f"{name}_id")
        if have is not None and have != wanted:
            yield f"tokenizer_config.json: {name} is number {have}, but {wanted} in config.json"


__all__ = ["Checkpoint", "CheckpointError", "Examined", "examine", "expected_shapes", "load_checkpoint"]

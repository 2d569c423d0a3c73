"""Checkpoints in the published form: what loads, what is refused, and that the published ones would load."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ocr_tasks.contract import Mode
from tests.tiny_checkpoints import (
    MARKS,
    manifest_of,
    random_weights,
    small_shapes,
    write_checkpoint,
    write_tokenizer,
    write_weights,
)
from workers.engine.deepseek.checkpoint import Checkpoint, examine, load_checkpoint
from workers.engine.deepseek.families import CheckpointError, Family, family_of
from workers.engine.deepseek.modes import layout_of
from workers.engine.deepseek.weights import INDEX, read_tensors

torch.set_num_threads(1)
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {family: write_checkpoint(root / family, family) for family in Family}


@pytest.fixture(scope="module")
def loaded(folders: dict[Family, Path]) -> dict[Family, Checkpoint]:
    return {family: load_checkpoint(folder) for family, folder in folders.items()}


@pytest.fixture
def folder(folders: dict[Family, Path], tmp_path: Path) -> Path:
    """A checkpoint of v1 that a test may damage."""
    return Path(shutil.copytree(folders[Family.DEEPSEEK_OCR], tmp_path / "checkpoint"))


def shard(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def change(path: Path, **changes: Any) -> None:
    """Set (None: remove) entries of a JSON file."""
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


# -- what the published ones hold ---------------------------------------------


@pytest.mark.parametrize("family", Family)
def test_manifests_hold_as_many_numbers_as_were_published(family: Family) -> None:
    manifest = manifest_of(family)
    shapes = manifest.shapes()
    numbers = sum(map(math.prod, shapes.values()))
    published = manifest.published
    assert numbers == published["parameters"]
    assert numbers * published["bytes_each"] + published["extra_bytes"] == published["total_size"]
    assert len(shapes) == published.get("tensors", len(shapes))
    assert manifest.sources


@pytest.mark.parametrize("family", Family)
def test_published_names_and_shapes_have_their_place_in_the_class(family: Family, tmp_path: Path) -> None:
    """At full size: a file with the published header and a hole of 6.7 GB for the weights."""
    manifest = manifest_of(family)
    (tmp_path / "config.json").write_text(json.dumps(manifest.config))
    write_tokenizer(tmp_path)
    header: dict[str, Any] = {}
    place = 0
    for name, shape in manifest.shapes().items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [place, place + size]}
        place += size
    written = json.dumps(header).encode()
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(len(written).to_bytes(8, "little") + written)
        file.truncate(8 + len(written) + place)
    found = examine(tmp_path)
    assert found.family is family
    assert set(found.tensors) == set(manifest.shapes())


# -- what loads ---------------------------------------------


@pytest.mark.parametrize("family", Family)
def test_every_number_of_a_checkpoint_arrives_at_its_place(family: Family, loaded: dict[Family, Checkpoint]) -> None:
    stored = random_weights(manifest_of(family), family, seed=0)
    held: Any = loaded[family].model
    text, vision = held.model.language_model, held.model.vision_tower
    mlp, prefix = text.layers[1].mlp, "model.layers.1.mlp.experts.3"
    gate_up = torch.cat([stored[f"{prefix}.gate_proj.weight"], stored[f"{prefix}.up_proj.weight"]])
    assert torch.equal(mlp.experts.gate_up_proj[3], gate_up)
    assert torch.equal(mlp.experts.down_proj[3], stored[f"{prefix}.down_proj.weight"])
    assert torch.equal(held.model.view_separator, stored["model.view_seperator"])
    rows = vision.sam_encoder.layers[1].attn.rel_pos_h
    assert torch.equal(rows, stored["model.sam_model.blocks.1.attn.rel_pos_h"])
    if family is not Family.DEEPSEEK_OCR2:
        parts = stored["model.vision_model.transformer.layers.1.self_attn.qkv_proj.weight"].chunk(3)
        own = vision.vision_encoder.encoder.layers[1].self_attn
        assert all(torch.equal(p.weight, q) for p, q in zip((own.q_proj, own.k_proj, own.v_proj), parts, strict=True))
    unused = sum(weight.numel() for name, weight in stored.items() if "patch_embedding" in name)
    assert sum(p.numel() for p in held.parameters()) == sum(w.numel() for w in stored.values()) - unused
    assert not held.training


def test_the_config_is_built_from_the_checkpoints_own_numbers(loaded: dict[Family, Checkpoint]) -> None:
    v1, v2, unlimited = (
        loaded[family].model.config for family in (Family.DEEPSEEK_OCR, Family.DEEPSEEK_OCR2, Family.UNLIMITED_OCR)
    )
    for config in (v1, v2, unlimited):
        text = config.text_config
        assert (text.hidden_size, text.num_attention_heads, text.n_routed_experts) == (64, 4, 8)
        assert text.mlp_layer_types == ["dense", "sparse", "sparse"]
        assert config.image_token_id == loaded[Family.DEEPSEEK_OCR].tokenizer.convert_tokens_to_ids("<image>")
    assert v1.text_config.layer_types == ["full_attention"] * 3
    assert v1.text_config.max_position_embeddings == 8192
    assert unlimited.text_config.layer_types == ["reference_sliding_attention"] * 3
    assert (unlimited.text_config.sliding_window, unlimited.text_config.max_position_embeddings) == (128, 32768)
    assert v1.vision_config.encoder_config.intermediate_size == 128
    encoder = v2.vision_config.encoder_config
    assert (encoder.num_attention_heads, encoder.num_key_value_heads, encoder.num_hidden_layers) == (2, 1, 2)
    assert encoder.rope_parameters["rope_theta"] == 1_000_000.0


@pytest.mark.parametrize(
    ("family", "mode"),
    [(Family.DEEPSEEK_OCR, "gundam"), (Family.UNLIMITED_OCR, "tiny"), (Family.DEEPSEEK_OCR2, "gundam")],
)
def test_the_model_makes_as_many_vision_tokens_as_counted_in_the_order_said(
    family: Family, mode: Mode, loaded: dict[Family, Checkpoint]
) -> None:
    """Tiles, whole, separator; a newline after each row of tokens, but for DeepSeek-OCR 2."""
    layout = layout_of((700, 1300), mode, loaded[family].resolutions)
    model: Any = loaded[family].model
    cut: dict[str, Any] = {}
    if layout.tiles:
        cut = {"pixel_values_local": torch.zeros(layout.tiles, 3, layout.tile_side, layout.tile_side)}
        cut |= {"num_local_patches": [layout.tiles]}
        cut |= {} if family is Family.DEEPSEEK_OCR2 else {"patches_grid": [list(layout.grid)]}
    with torch.inference_mode():
        page = torch.zeros(1, 3, layout.side, layout.side)
        tokens = model.model.get_image_features(page, return_dict=True, **cut).pooler_output[0]
    assert len(tokens) == layout.vision_tokens
    assert torch.equal(tokens[-1], model.model.view_separator)
    if family is not Family.DEEPSEEK_OCR2:
        found = (tokens == model.model.image_newline).all(dim=1).nonzero().flatten().tolist()
        (columns, rows), whole = layout.grid, layout.side // 64
        wide, high = columns * layout.tile_side // 64, rows * layout.tile_side // 64
        tiled = high * (wide + bool(wide))
        expected = [(row + 1) * (wide + 1) - 1 for row in range(high)]
        assert found == expected + [tiled + (row + 1) * (whole + 1) - 1 for row in range(whole)]


def test_tokens_have_the_meaning_that_the_family_gives_them(loaded: dict[Family, Checkpoint]) -> None:
    tokenizer = loaded[Family.DEEPSEEK_OCR].tokenizer
    text = "<image>\n<|grounding|>Convert the  document , to markdown."
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert [tokenizer.convert_tokens_to_ids(mark) in ids for mark in MARKS[:6]] == [True, *[False] * 4, True]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1, 2)


def test_a_checkpoint_in_several_files_in_bfloat16_loads(folder: Path) -> None:
    weights = random_weights(manifest_of(Family.DEEPSEEK_OCR), Family.DEEPSEEK_OCR, seed=0)
    shard(folder).unlink()
    write_weights(folder, {name: weight.bfloat16() for name, weight in weights.items()}, shards=3)
    assert {weight.dtype for weight in load_checkpoint(folder).model.parameters()} == {torch.float32}
    checkpoint = load_checkpoint(folder, dtype=torch.bfloat16)
    assert {weight.dtype for weight in checkpoint.model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("family", Family)
def test_what_the_library_saved_again_is_the_same_model(
    family: Family, loaded: dict[Family, Checkpoint], tmp_path: Path
) -> None:
    loaded[family].model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    again = load_checkpoint(tmp_path)
    assert again.family is family
    before, after = loaded[family].model.state_dict(), again.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_names_as_the_class_has_them_load_too(loaded: dict[Family, Checkpoint], tmp_path: Path) -> None:
    for family in Family:
        own = tmp_path / family
        loaded[family].model.config.save_pretrained(own)
        write_tokenizer(own)
        save_file(loaded[family].model.state_dict(), own / "model.safetensors", {"format": "pt"})
        again = load_checkpoint(own).model.state_dict()
        assert all(torch.equal(weight, again[name]) for name, weight in loaded[family].model.state_dict().items())


def test_position_ids_of_copies_saved_again_are_no_weight(folder: Path) -> None:
    weights = load_file(shard(folder))
    shard(folder).unlink()
    write_weights(folder, weights | {"model.vision_model.embeddings.position_ids": torch.arange(257)})
    load_checkpoint(folder)


def test_the_revision_tells_contents_apart_and_not_places(folder: Path, folders: dict[Family, Path]) -> None:
    revision = examine(folders[Family.DEEPSEEK_OCR]).revision
    assert examine(folder).revision == revision
    weights = load_file(shard(folder))
    weights["model.layers.2.mlp.experts.7.down_proj.weight"] *= 1.5
    save_file(weights, shard(folder), {"format": "pt"})
    trained = examine(folder).revision
    change(folder / "config.json", max_position_embeddings=4096)
    assert len({revision, trained, examine(folder).revision}) == 3


# -- what is refused ---------------------------------------------


def without_tensors(folder: Path, *parts: str) -> None:
    kept = {
        name: weight for name, weight in load_file(shard(folder)).items() if not any(part in name for part in parts)
    }
    shard(folder).unlink()
    write_weights(folder, kept)


def with_tensor(folder: Path, name: str, weight: torch.Tensor) -> None:
    weights = load_file(shard(folder)) | {name: weight}
    shard(folder).unlink()
    write_weights(folder, weights)


def cut(path: Path, to: int) -> None:
    path.write_bytes(path.read_bytes()[:to])


def overlap(path: Path) -> None:
    """Let a tensor lie where another does, in the header only."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    one, other = "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.v_proj.weight"
    header[one]["data_offsets"] = header[other]["data_offsets"]
    written = json.dumps(header).encode()
    path.write_bytes(len(written).to_bytes(8, "little") + written + content[8 + length :])


def with_language(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(folder / "config.json", language_config={**config["language_config"], **changes})


HEAD = ("lm_head.weight", torch.zeros(9, 9))
DAMAGES: list[tuple[Damage, str]] = [
    (lambda f: without_tensors(f, "lm_head"), "missing tensors (1): lm_head.weight"),
    (
        lambda f: without_tensors(f, "sam_model.blocks.0"),
        "missing tensors (14): model.sam_model.blocks.0.attn.proj.bias",
    ),
    (lambda f: with_tensor(f, "model.adapter", torch.zeros(1)), "tensors unknown to the model (1): model.adapter"),
    (lambda f: with_tensor(f, *HEAD), "tensors of a wrong shape (1): lm_head.weight [9, 9] for [512, 64]"),
    (lambda f: with_tensor(f, "lm_head.weight", torch.zeros(512, 64, dtype=torch.int8)), "lm_head.weight is I8; only"),
    (lambda f: cut(shard(f), 900_000), "model-00001-of-000001.safetensors: cut off: it has 900000 bytes"),
    (lambda f: cut(shard(f), 5), "model-00001-of-000001.safetensors: no safetensors header"),
    (lambda f: shard(f).write_bytes(shard(f).read_bytes() + b"more"), "safetensors: damaged: it has"),
    (lambda f: shard(f).write_bytes(b"\x20" + bytes(7) + b"{" + bytes(60)), "no safetensors header, or a damaged one"),
    (lambda f: overlap(shard(f)), "safetensors: damaged: model.layers.0.self_attn."),
    (lambda f: shard(f).unlink(), "model-00001-of-000001.safetensors: missing"),
    (lambda f: (f / INDEX).unlink(), "model.safetensors: missing"),
    (lambda f: change(f / INDEX, weight_map={"lm_head.weight": "../secret"}), "'../secret' is not the name of a file"),
    (
        lambda f: change(f / INDEX, weight_map={"lm_head.weight": shard(f).name}),
        "tensors that it does not name (151): ",
    ),
    (lambda f: change(f / INDEX, weight_map=[1]), "`weight_map` is not an object"),
    (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json: missing"),
    (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json: cannot be read"),
    (lambda f: change(f / "tokenizer.json", added_tokens=[]), "tokenizer.json: has no token <image>"),
    (lambda f: change(f / "tokenizer_config.json", eos_token="<td>"), "eos_token is number"),
    (lambda f: (f / "config.json").unlink(), "config.json: missing"),
    (lambda f: (f / "config.json").write_text("[1]"), "config.json: holds no JSON object"),
    (lambda f: cut(f / "config.json", 99), "config.json: cannot be read"),
    (
        lambda f: change(f / "config.json", architectures=["DeepseekVLV2ForCausalLM"]),
        "'deepseek_vl_v2' with architectur",
    ),
    (lambda f: change(f / "config.json", language_config=None), "config.json: 'language_config' is missing"),
    (
        lambda f: change(f / "config.json", projector_config={"input_dim": 5}),
        "input_dim is 5, but the vision towers give",
    ),
    (lambda f: with_language(f, use_mla=True), "config.json: use_mla is True; only False can be served"),
    (lambda f: with_language(f, hidden_size=63), "config.json: "),
    (lambda f: with_language(f, vocab_size=9), "tokenizer.json: has 512 tokens, but the model knows 9"),
    (lambda f: with_language(f, n_routed_experts="many"), "config.json: "),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES, ids=[said[:40] for _, said in DAMAGES])
def test_a_flawed_checkpoint_is_refused_by_what_is_wrong(damage: Damage, said: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(CheckpointError) as refusal:
        load_checkpoint(folder)
    assert said in str(refusal.value)


def test_all_that_is_wrong_is_said_at_once_in_short(folder: Path) -> None:
    without_tensors(folder, "experts.")
    with_tensor(folder, "model.other", torch.zeros(1))
    change(folder / "tokenizer_config.json", bos_token="<td>")
    with pytest.raises(CheckpointError) as refusal:
        load_checkpoint(folder)
    lines = str(refusal.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "missing tensors (54)",
        "tensors unknown to the model (1)",
        "tokenizer_config.json",
    ]
    assert max(map(len, lines)) < 400
    (folder / "tokenizer.json").unlink()
    shard(folder).unlink()
    with pytest.raises(CheckpointError, match=r"(?s)tokenizer.json: missing.*safetensors: missing"):
        load_checkpoint(folder)


def test_families_are_told_apart_by_the_architecture_before_the_type() -> None:
    v1, unlimited = (manifest_of(family).config for family in (Family.DEEPSEEK_OCR, Family.UNLIMITED_OCR))
    assert family_of({**v1, "model_type": "DeepseekOCR"}) is Family.DEEPSEEK_OCR
    assert family_of({**v1, "model_type": "unlimited_ocr"}) is Family.DEEPSEEK_OCR
    assert family_of({**unlimited, "model_type": "deepseek_vl_v2"}) is Family.UNLIMITED_OCR
    assert family_of({**unlimited, "model_type": "unlimited_ocr", "architectures": ["Other"]}) is Family.UNLIMITED_OCR
    assert family_of({"model_type": "unlimited_ocr"}) is Family.UNLIMITED_OCR
    with pytest.raises(CheckpointError, match="'qwen2' with architectures None is none of deepseek_ocr2, "):
        family_of({"model_type": "qwen2"})


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./gone", "one-word"])
def test_a_folder_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"{name}: there is no such folder"):
        load_checkpoint(name)


def test_a_hub_id_that_was_not_fetched_says_how_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="lightdom-ocr model fetch no/such-model --revision v2"):
        load_checkpoint("no/such-model", revision="v2")


def test_small_checkpoints_have_the_published_names(folders: dict[Family, Path]) -> None:
    for family, folder in folders.items():
        tensors = read_tensors(folder)
        assert {name: tensor.shape for name, tensor in tensors.items()} == small_shapes(manifest_of(family))
        published = set(manifest_of(family).shapes())
        assert set(tensors) <= published

"""What the nano model is trained on: text, tokens, pages, the labels of batches and the heads they are asked of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy
import pytest
import torch

from ocr_tasks.contract import Prompt
from workers.engine.deepseek.families import Family
from workers.engine.deepseek.prompts import locators, prompt_text
from workers.nano.alphabet import CHARACTERS, EOS_ID, LOCATORS, ROWS, VOCABULARY, ids_of, text_of, tokenizer
from workers.nano.batches import IGNORED, Batches, batch_of, prompts
from workers.nano.curriculum import Level
from workers.nano.fonts import KEPT_OUT, font_files, has_fonts, has_small_letters
from workers.nano.heads import CLASSES, Heads
from workers.nano.pages import Density, Page, PageArtist, moved
from workers.nano.paths import IN_PATCH, places_of
from workers.nano.sheets import draw_sheets, read_sheets
from workers.nano.texts import Writer, words

INK = 60  # difference from the paper that is ink


# -- text and tokens ----------------------------------------------------------


def test_every_character_is_one_token_and_comes_back() -> None:
    own = tokenizer()
    assert own.encode(CHARACTERS, add_special_tokens=False) == ids_of(CHARACTERS)
    assert own.decode(ids_of(CHARACTERS)) == text_of(ids_of(CHARACTERS)) == CHARACTERS
    assert len(own) == VOCABULARY


def test_the_engine_knows_the_locators_by_their_names() -> None:
    own = tokenizer()
    assert locators(own) == {own.get_vocab()[name] for name in LOCATORS}
    assert not locators(own) & set(ids_of(CHARACTERS))


def test_a_prompt_costs_three_tokens_at_most() -> None:
    asked: tuple[Prompt, ...] = ("document", "free", "figure", "describe")
    for prompt in asked:
        rest = prompt_text(prompt, Family.DEEPSEEK_OCR).removeprefix("<image>")
        assert len(tokenizer().encode(rest, add_special_tokens=False)) <= 3, prompt


def test_words_that_are_measured_with_are_never_trained_on() -> None:
    trained, kept_out = words(kept_out=False), words(kept_out=True)
    assert not set(trained) & set(kept_out)
    assert len(trained) > 5 * len(kept_out) > 500


def test_text_has_only_known_characters_and_about_the_length_asked_for() -> None:
    writer = Writer(Random(1))
    for length in (5, 30, 150, 400):
        text = " ".join(writer.words(length))
        assert set(text) <= set(CHARACTERS)
        assert length - 2 <= len(text) <= length + 20


def test_fonts_kept_out_are_no_fonts_trained_on() -> None:
    assert not [path for path in font_files(kept_out=False) if KEPT_OUT.search(path.name)]
    if has_fonts(kept_out=True):
        assert all(KEPT_OUT.search(path.name) for path in font_files(kept_out=True))


def test_fonts_with_small_letters_are_trained_on_more_often() -> None:
    files = {path.name: path for path in font_files(kept_out=False)}
    small = {name for name, path in files.items() if has_small_letters(path)}
    assert not [name for name in small if name.startswith("DejaVu")]
    assert {name for name in files if name.startswith("LiberationSerif")} <= small
    taken = Counter(path.name for path in PageArtist(1, small_letters=3).files)
    assert taken == {name: 3 if name in small else 1 for name in files}


# -- pages --------------------------------------------------------------------


@pytest.mark.parametrize(
    "density", [Density(5, 25, 1), Density(60, 160), Density(220, 340), Density(100, 300, grid=(2, 1))]
)
def test_characters_are_where_a_page_says_they_are(density: Density) -> None:
    artist = PageArtist(3)
    pages = [artist.page(density) for _ in range(20)]
    for page in pages:
        assert page.image.shape == (256 * density.grid[1], 256 * density.grid[0], 3)
        assert len(page.text) <= density.most + 20
        assert page.text.count("\n") < density.lines
    assert share_near_ink(pages) > 0.98


def share_near_ink(pages: Sequence[Page]) -> float:
    """Of printed characters, those around whose centre there is ink, or what is not paper."""
    near: list[bool] = []
    for page in pages:
        assert len(page.centres) == len(page.text)
        assert page.centres.min() >= 0
        assert (page.centres.max(0) < [page.image.shape[1], page.image.shape[0]]).all()
        paper = numpy.median(page.image.reshape(-1, 3), axis=0)
        ink = numpy.abs(page.image - paper).sum(-1) > INK
        for character, (x, y) in zip(page.text, page.centres, strict=True):
            if character.isalnum():
                near.append(bool(ink[max(0, int(y) - 5) : int(y) + 6, max(0, int(x) - 4) : int(x) + 5].any()))
    return sum(near) / len(near)


def test_a_page_that_is_moved_has_the_same_text_in_other_places() -> None:
    artist, random = PageArtist(4), Random(4)
    pages = [artist.page(Density(60, 160)) for _ in range(20)]
    others = [moved(page, random) for page in pages]
    assert [page.text for page in others] == [page.text for page in pages]
    assert all(page.image.shape == other.image.shape for page, other in zip(pages, others, strict=True))
    patches = [numpy.concatenate([page.centres // 16 for page in some]) for some in (pages, others)]
    assert (patches[0] != patches[1]).any(1).mean() > 0.5
    assert share_near_ink(others) > 0.98


def test_a_seed_draws_the_same_pages_and_another_seed_others() -> None:
    first, again, other = (PageArtist(seed).page(Density(60, 160)) for seed in (5, 5, 6))
    assert first.text == again.text != other.text
    assert (first.image == again.image).all()


def test_a_plain_page_is_black_on_white() -> None:
    page = PageArtist(4, variety=0).page(Density(60, 160))
    assert (page.image[..., 0] == page.image[..., 2]).all()
    assert numpy.median(page.image) == 255


def test_chromium_draws_pages_whose_text_is_known(tmp_path: Path) -> None:
    draw_sheets(tmp_path, 1, seed=2)
    pages = read_sheets(tmp_path)
    assert len(pages) > 32
    for page in pages:
        assert set(page.text) <= set(CHARACTERS)
        assert not any(line != line.strip() or not line for line in page.text.split("\n"))
    assert share_near_ink(pages) > 0.97
    assert [path.name for path in tmp_path.iterdir()] == ["0000.npz"]


# -- batches ------------------------------------------------------------------


def page_of(text: str, centres: list[tuple[float, float]], size: tuple[int, int] = (256, 256)) -> Page:
    image = numpy.full((size[1], size[0], 3), 255, numpy.uint8)
    return Page(image, text, numpy.array(centres, numpy.float32))


def characters_of(in_patch: torch.Tensor) -> dict[tuple[int, int], str]:
    """What is in the patches of a page, where there is something."""
    places = [(row, column) for row, column, _ in in_patch.nonzero().tolist()]
    return {place: "".join(CHARACTERS[label - 1] for label in in_patch[place].tolist() if label) for place in places}


def written(ids: torch.Tensor) -> str:
    return str(tokenizer().decode(ids))


def test_labels_name_the_next_token_and_where_it_is() -> None:
    page = page_of("a\nb", [(8, 8), (20, 8), (250, 40)])
    prompt = prompts((1, 1))[0]
    batch = batch_of([page, page_of("cd ef", [(1, 1)] * 5)], prompt)
    start, end = len(prompt), len(prompt) + 7
    assert written(batch.ids[0, start:end]) == "<|y1|><|x0|>a\n<|y5|><|x15|>b"
    assert batch.ids[0, end] == EOS_ID
    assert batch.labels[0, start - 1 : end].tolist() == batch.ids[0, start : end + 1].tolist()
    assert (batch.labels[0, : start - 1] == IGNORED).all()
    assert (batch.labels[0, end:] == IGNORED).all()
    line, other = [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 2]], [[2, 15, 0], [2, 15, 0], [2, 15, 1]]
    assert batch.cells[0, start:end].tolist() == [*line, *other]
    assert (batch.cells[0, :start] == IGNORED).all()
    assert (batch.cells[0, end:] == IGNORED).all()
    assert batch.characters == 3 + 5
    assert batch.in_patch[0, 0, 0].tolist() == [CHARACTERS.index("a") + 1, CHARACTERS.index("\n") + 1, 0, 0]
    assert batch.in_patch[0, 2, 15, 0] == CHARACTERS.index("b") + 1
    assert batch.in_patch[0].count_nonzero() == 3
    assert batch.in_patch[1, 0, 0].tolist() == [CHARACTERS.index(character) + 1 for character in "cd e"]
    assert batch.onward[0, 0, 0].tolist() == [1, 0, 5]
    assert batch.onward[0, 2, 15].tolist() == [1, 0, ROWS]


def test_patches_have_their_characters_and_where_reading_goes_on() -> None:
    text = "wide one\nx"
    page = page_of(text, [*((12 * number, 20) for number in range(7)), (100, 20), (112, 20), (10, 60)])
    batch = batch_of([page], prompts((1, 1))[0])
    assert characters_of(batch.in_patch[0]) == {
        **{(1, column): part for column, part in enumerate(("wi", "d", "e", " o", "n"))},
        (1, 6): "e\n",
        (3, 0): "x",
    }
    asked = (batch.onward[0, ..., 0] != IGNORED).nonzero().tolist()
    assert {(row, column): batch.onward[0, row, column].tolist() for row, column in asked} == {
        (1, 0): [1, 1, ROWS],
        **{(1, column): [0, 1, ROWS] for column in (1, 2, 3)},
        (1, 4): [0, 2, ROWS],
        (1, 6): [0, 0, 7],
        (3, 0): [1, 0, ROWS],
    }
    read = "<|y2|><|x0|>wi<|x1|>d<|x2|>e<|x3|> o<|x4|>n<|x6|>e\n<|y7|><|x0|>x<eos>"
    assert written(batch.ids[0]).endswith(read)
    assert text_of(batch.ids[0, len(prompts((1, 1))[0]) :].tolist()) == text


def test_tiles_are_not_asked_how_reading_goes_on() -> None:
    """A line ends at a tile's edge, or goes on in the next one: the tile does not show it."""
    page = PageArtist(7).page(Density(60, 90, grid=(2, 1)))
    batch = batch_of([page], prompts((2, 1))[0])
    assert batch.in_patch.shape[1:3] == (16, 32)
    assert (batch.onward == IGNORED).all()


def test_a_shaken_path_writes_the_same_text_and_strays_by_little() -> None:
    artist, strayed, rows = PageArtist(3), 0, 0
    for page in [artist.page(Density(60, 160)) for _ in range(40)]:
        places = places_of(page)
        path, shaken = places.path(16), places.shaken(Random(1)).path(16)
        assert text_of(shaken.ids) == text_of(path.ids) == page.text
        assert len(shaken.cells) == len(shaken.ids)
        for line, other in zip(path.stops, shaken.stops, strict=True):
            assert abs(line[0][2] - other[0][2]) <= 2
            columns, others = ([column for _, column, _, part in one for _ in part] for one in (line, other))
            assert max(abs(column - own) for column, own in zip(columns, others, strict=True)) <= 1
            assert others == sorted(others)
            strayed += sum(column != own for column, own in zip(columns, others, strict=True))
            rows += line[0][2] != other[0][2]
    assert strayed > 20
    assert rows > 20


def test_what_is_turned_is_read_on_the_other_side_of_the_border() -> None:
    page = page_of("abc\nd", [(8, 24), (31, 24), (40, 24), (44, 24), (50, 46)])
    places = places_of(page)
    character, line = (next(n for n, beyond in places.beyond.items() if one in beyond) for one in (1, 4))
    turned = places.turned([character, line])

    def read(numbers: Sequence[int]) -> str:
        return str(tokenizer().decode(places.turned(numbers).path(16).ids))

    assert read([]) == "<|y3|><|x0|>a<|x1|>b<|x2|>c\n<|y5|><|x3|>d"
    assert read([character]) == "<|y3|><|x0|>a<|x2|>bc\n<|y5|><|x3|>d"
    assert read([line]) == "<|y3|><|x0|>a<|x1|>b<|x2|>c\n<|y6|><|x3|>d"
    assert turned.turned([line, character]).path(16).ids == places.path(16).ids
    assert turned.path(16).cells[-1] == (3, 3, 1)


class Still(Random):
    """Shakes nothing."""

    def random(self) -> float:
        return 1.0

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        return mu


def test_a_text_is_written_anew_by_the_places_of_its_batch() -> None:
    page = page_of("ab", [(8, 24), (31, 24)])
    prompt = prompts((1, 1))[0]
    batch = batch_of([page], prompt)
    turned = replace(batch, places=[one.turned(one.beyond) for one in batch.places]).rewritten(Still())
    assert written(batch.ids[0]).endswith("<|y3|><|x0|>a<|x1|>b<eos>")
    assert written(turned.ids[0]).endswith("<|y3|><|x0|>a<|x2|>b<eos>")
    assert turned.ids[0, : len(prompt)].tolist() == list(prompt)
    assert turned.labels[0, len(prompt) - 1 : -1].tolist() == turned.ids[0, len(prompt) :].tolist()
    assert turned.cells[0, -2].tolist() == [1, 2, 1]


def test_what_is_near_a_border_may_be_on_its_other_side() -> None:
    """A character at most 1.5 pixels from it, or a line at most 2.5, which is beyond it as a whole."""
    page = page_of("abc\nd\ne", [(8, 24), (31, 24), (40, 24), (44, 24), (50, 46), (54, 46), (1, 120)])
    batch = batch_of([page], prompts((1, 1))[0])
    assert characters_of(batch.in_patch[0]) == {(1, 0): "a", (1, 1): "b", (1, 2): "c\n", (2, 3): "d\n", (7, 0): "e"}
    beyond = {(1, 0): "a", (1, 2): "bc\n", (3, 3): "d\n", (7, 0): "e"}
    assert characters_of(batch.otherwise[0]) == beyond
    doubts = {tuple(place): int(batch.doubts[0][tuple(place)]) for place in batch.doubts[0].nonzero().tolist()}
    assert set(doubts) == {(1, 1), (1, 2), (2, 3), (3, 3)}
    assert doubts[1, 1] == doubts[1, 2] != doubts[2, 3] == doubts[3, 3]


def test_a_patch_is_in_doubt_once() -> None:
    """Of `a` and `b`, each near a border of the patch between them, one is in doubt: not both can be moved apart."""
    artist = PageArtist(5)
    pages = [page_of("ab", [(15, 24), (33, 24)]), *(artist.page(Density(60, 230)) for _ in range(20))]
    batch = batch_of(pages, prompts((1, 1))[0])
    assert characters_of(batch.otherwise[0]) == {(1, 1): "a", (1, 2): "b"}
    assert ((batch.in_patch != batch.otherwise).any(-1) <= (batch.doubts > 0)).all()
    for number in range(1, len(pages)):
        for doubt in range(1, int(batch.doubts[number].max()) + 1):
            told = batch.doubts[number] == doubt
            ways = (one[number][told].flatten().tolist() for one in (batch.in_patch, batch.otherwise))
            counts = [sorted(label for label in way if label) for way in ways]
            assert len(counts[0]) > 6 or counts[0] == counts[1]  # a patch has four labels at most


def test_batches_repeat_with_their_seed_and_show_pages_again_but_moved() -> None:
    level = Level("lines", ((1.0, Density(5, 25, 1), 4),), enough=1, most=1, variety=0.5)
    first, again = (iter(Batches(level, seed=9)) for _ in range(2))
    batches = [next(first) for _ in range(6)]
    assert all((one.ids == next(again).ids).all() for one in batches)
    texts = {text_of(row.tolist()) for batch in batches for row in batch.ids}
    pictures = {tuple(row.tolist()) for batch in batches for row in batch.pixels.flatten(1)[:, ::97]}
    assert len(texts) < len(pictures) == 24


# -- heads --------------------------------------------------------------------


def test_heads_are_asked_for_their_own_patch_of_a_token() -> None:
    """The head of a character's patch, in the layer of its half of the token; the others may look at nothing."""
    batch = batch_of([page_of("a\nb", [(8, 8), (20, 8), (250, 40)])], prompts((1, 1))[0])
    start, time = len(prompts((1, 1))[0]), batch.ids.shape[1]
    nothing = torch.zeros(1, 8, time, time)
    nothing[..., 0] = 1  # BOS

    def looking(times: range, token: int, head: int) -> torch.Tensor:
        attention = nothing.clone()
        attention[0, head, times] = 0
        attention[0, head, times, token] = 1
        return attention

    # `a` is in the first patch of the first token, `b` in the last of the first row of the lower half of the fourth.
    upper, lower = looking(range(start, start + 4), 1, 0), looking(range(start + 4, start + 7), 4, 3)
    located = nothing.clone()
    for at, column, row in ((1, 1, 0), (2, 1, 0), (3, 1, 0), (4, 1, 4), (5, 5, 4), (6, 5, 4)):
        located[0, 0, start + at, [0, start + column]] = torch.tensor([0.0, 1.0])
        located[0, 1, start + at, [0, start + row]] = torch.tensor([0.0, 1.0])
    located[0, 1, start, [0, start]] = torch.tensor([0.0, 1.0])
    attentions = {0: located, 1: upper, 2: lower}
    assert Heads().looks(attentions, batch) == pytest.approx(0, abs=1e-6)
    assert Heads().looks(attentions | {1: lower, 2: upper}, batch) > 3
    assert Heads().looks({layer: one.roll(4, dims=1) for layer, one in attentions.items()}, batch) > 5
    assert Heads().looks({layer: one.roll(1, dims=3) for layer, one in attentions.items()}, batch) > 5


def test_a_doubt_is_settled_as_the_neck_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`b` is on the border of two patches, and the line of `c` on that of two rows: each is where it is seen."""
    page = page_of("ab\nc", [(8, 24), (31, 24), (35, 24), (100, 47)])
    batch, heads = batch_of([page] * 2, prompts((1, 1))[0]), Heads()
    monkeypatch.setattr(heads, "neck", torch.nn.Identity())
    b, c = (CHARACTERS.index(character) + 1 for character in "bc")
    states = torch.zeros(2, 16, 16, IN_PATCH, CLASSES)
    states[..., 0] = 5  # blank
    states[0, 1, 1, 0, b] = states[0, 3, 6, 0, c] = states[1, 1, 2, 0, b] = states[1, 2, 6, 0, c] = 10
    settled = heads.settled(states.flatten(-2), batch)
    read = [written(torch.tensor(places.path(16).ids)) for places in settled.places]
    assert read == ["<|y3|><|x0|>a<|x1|>b\n<|y6|><|x6|>c", "<|y3|><|x0|>a<|x2|>b\n<|y5|><|x6|>c"]
    assert settled.in_patch[0, 1, 1, 0] == b
    assert settled.in_patch[0, 3, 6, 0] == c
    assert settled.in_patch[1, 1, 2, 0] == b
    assert settled.in_patch[1, 2, 6, 0] == c
    assert (settled.in_patch == b).sum() == (settled.in_patch == c).sum() == 2

"""What a model of the DeepSeek-OCR kind answers, as a page: blocks with boxes in reading order, text, markdown, flags.

The answer is untrusted text: whatever it is, it is taken apart in linear time, nothing of it is evaluated, and no word
of it is lost. `grounding` finds the regions, `pieces` what is in them, `tables` and `inline` write it down,
`loops` tells whether the model went round in circles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ocr_tasks.contract import Block, Box, Flag, OcrOptions
from ocr_tasks.errors import storable
from workers.engine.answers.boxes import around, scaled
from workers.engine.answers.grounding import Region, regions
from workers.engine.answers.loops import repeats
from workers.engine.answers.pieces import Piece, pieces
from workers.figures import figure_link

ANSWERS_VERSION = 1  # part of an engine's revision: raise it when answers come out as different pages


@dataclass(frozen=True)
class Answer:
    """A page as a model answered it; fields as in PageResult."""

    text: str
    markdown: str
    blocks: tuple[Block, ...]
    figures: tuple[Box, ...]
    flags: tuple[Flag, ...]


@dataclass(frozen=True)
class Placed:
    """A piece and where it stands, if the model said so."""

    piece: Piece
    box: Box | None


def parse_answer(text: str, *, width: int, height: int, ended: bool, options: OcrOptions) -> Answer:
    """Take an answer to a page of width x height pixels apart; never raises.

    ended: whether the model itself ended it (its end token was seen, with or without it in `text`).
    """
    text = storable(text)
    placed: list[Placed] = []
    for region in regions(text, located=options.prompt == "locate", ended=ended):
        placed += _placed(region, width, height, tables=options.extract_tables)
    figures = tuple(part.box for part in placed if part.piece.kind == "figure" and part.box)
    blocks = tuple(Block(kind=part.piece.kind, text=part.piece.text, box=part.box) for part in placed)
    whole = "\n\n".join(filter(None, (part.piece.text for part in placed)))
    return Answer(
        text=whole,
        markdown="\n\n".join(_markdown(placed)),
        blocks=blocks if options.include_layout else (),
        figures=figures,
        flags=_flags(text, ended=ended, empty=not whole.strip() and not figures),
    )


def _placed(region: Region, width: int, height: int, *, tables: bool) -> list[Placed]:
    """A region's pieces: pictures and found texts once for each of its boxes, others in the box around all of them."""
    boxes = [box for box in (scaled(given, width, height) for given in region.boxes) if box]
    found = pieces(region.body, region.kind, label=region.label, wanted=tables)
    if region.kind == "figure":
        return _pictures(found, boxes)
    if region.located:
        return [Placed(piece, box) for piece in found for box in (boxes or (None,))]
    return [Placed(piece, around(boxes)) for piece in found]


def _pictures(found: Sequence[Piece], boxes: Sequence[Box]) -> list[Placed]:
    """A picture for each box, the first with the text that stands in it; then what else was answered with them."""
    own = [piece for piece in found[:1] if piece.kind == "figure"]
    pictures = [*own, *[Piece("figure", "", "")] * len(boxes)][: max(len(boxes), len(own))]
    placed = [Placed(piece, boxes[n] if n < len(boxes) else None) for n, piece in enumerate(pictures)]
    beside = [replace(piece, kind="paragraph") if piece.kind == "figure" else piece for piece in found[len(own) :]]
    return placed + [Placed(piece, around(boxes)) for piece in beside]


def _markdown(placed: Sequence[Placed]) -> Iterator[str]:
    number = 0
    for part in placed:
        if part.piece.kind == "figure" and part.box:
            number += 1
            yield figure_link(number)
        if part.piece.markdown:
            yield part.piece.markdown


def _flags(answer: str, *, ended: bool, empty: bool) -> tuple[Flag, ...]:
    """What is wrong with an answer; the meanings stand at PageResult."""
    looping = repeats(answer, ended=ended)
    told: dict[Flag, bool] = {
        "no_eos": not ended,
        "repetition": looping,
        "truncated": not ended and not looping,
        "empty": empty,
    }
    return tuple(flag for flag, raised in told.items() if raised)


__all__ = ["ANSWERS_VERSION", "Answer", "parse_answer"]

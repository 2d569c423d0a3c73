"""Regions of an answer: what the model says a part of the page is, where it stands, and what it reads there.

Two forms, both followed by the region's text:
DeepSeek-OCR and 2:  `<|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2], ...]<|/det|>`
Unlimited-OCR:       `<|det|>label [x1, y1, x2, y2]<|/det|>`, pages apart by `<PAGE>` (transformers:
                     `UnlimitedOcrProcessor`)
Where a text was to be located, or with "OCR this image.", the text itself stands in place of the label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ocr_tasks.contract import BlockKind
from workers.engine.answers.boxes import Given, looks_like_boxes, parse_boxes

REF, END_REF, DET, END_DET, PAGE = "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<PAGE>"
# Other special tokens say nothing about the page. Those of the tokenizer have wide bars: <｜end▁of▁sentence｜>.
MARK = re.compile(r"<\|/?(?:ref|det)\|>|<PAGE>|<image>|<\|(?:grounding|User|Assistant|EOT)\|>|<｜[^｜<>\s]{1,40}｜>")
MARKS = (REF, END_REF, DET, END_DET, PAGE, "<image>", "<|grounding|>", "<｜end▁of▁sentence｜>")
WORD = re.compile(r"\s*([A-Za-z][A-Za-z_-]{0,39})?\s*")

# Labels seen in answers, and those of the layout models that such data is made with.
KINDS: dict[BlockKind, str] = {
    "heading": "title sub_title subtitle doc_title paragraph_title section_title chapter_title heading",
    "paragraph": "text plain_text paragraph abstract content reference reference_content ref_text caption"
    " image_caption figure_caption figure_title table_caption table_title chart_title vertical_text",
    "table": "table",
    "figure": "image figure chart picture photo",
    "formula": "equation formula display_formula isolate_formula inline_formula equation_block",
    "list": "list list_item list_group",
    "other": "header footer page_header page_footer page_number number header_image footer_image footnote page_footnote"
    " image_footnote table_footnote vision_footnote aside_text side_text margin_note code code_caption algorithm seal"
    " stamp signature watermark formula_number equation_number formula_caption index phonetic abandon discarded other",
}
LABELS: dict[str, BlockKind] = {label: kind for kind, labels in KINDS.items() for label in labels.split()}


@dataclass(frozen=True)
class Region:
    """A part of the page. `kind`: None for text that stands nowhere; `located`: the text was found at each box."""

    kind: BlockKind | None = None
    label: str = ""
    boxes: tuple[Given, ...] = ()
    body: str = ""
    located: bool = False


def regions(answer: str, *, located: bool, ended: bool) -> list[Region]:
    """The regions of an answer in its order.

    located: it tells where a text is, so that references hold that text; ended: it was not cut off.
    """
    return list(_Reader(answer if ended else _without_half_a_mark(answer), located=located).read())


class _Reader:
    """Reads marks and the texts between them, from left to right, each once."""

    def __init__(self, answer: str, *, located: bool) -> None:
        self.located = located
        self.parts = list(_parts(answer))
        self.at = 0
        self.head = Region()
        self.texts: list[str] = []

    def read(self) -> Iterator[Region]:
        while self.at < len(self.parts):
            part = self.parts[self.at]
            self.at += 1
            opened = None
            if part == REF:
                opened = self._reference()
            elif part == DET:
                opened = self._detection()
            elif part == PAGE:
                opened = Region()
            elif not MARK.fullmatch(part):
                self.texts.append(part)
            if opened is not None:
                yield from self._close()
                self.head, self.texts = opened, [opened.body]
        yield from self._close()

    def _close(self) -> Iterator[Region]:
        body = "".join(self.texts)
        if body.strip() or self.head.boxes:
            head = self.head
            yield Region(head.kind, head.label, head.boxes, body, head.located)

    def _reference(self) -> Region | None:
        """After `<|ref|>`: the region that it opens; None for half a reference, whose text goes on being text."""
        said = self._text()
        if not self._skip(END_REF):
            if not (self.at == len(self.parts) and _begins_a_label(said)):
                self.texts.append(said)
            return None
        boxes: tuple[Given, ...] = ()
        stray = ""
        if self._skip(DET):
            boxes, stray = self._boxes()
        label = said.strip().lower().replace(" ", "_")
        if self.located or label not in LABELS:
            return Region("other", "", boxes, f"{said} {stray}".strip(), located=self.located)
        return Region(LABELS[label], label, boxes, stray)

    def _boxes(self) -> tuple[tuple[Given, ...], str]:
        """After `<|det|>`: its boxes, and its text if it holds something else."""
        payload = self._text()
        self._skip(END_DET)
        return (parse_boxes(payload), "") if looks_like_boxes(payload) else ((), payload)

    def _detection(self) -> Region | None:
        """After a `<|det|>` without a reference: the region it opens; None when it holds text."""
        payload = self._text()
        self._skip(END_DET)
        word = WORD.match(payload)
        assert word is not None  # it matches nothing, too
        label, rest = (word[1] or "").lower(), payload[word.end() :]
        boxes = parse_boxes(rest)
        if not looks_like_boxes(rest) or (label and label not in LABELS and not boxes):
            self.texts.append(payload)
            return None
        if not label and not boxes:
            return None
        return Region(LABELS.get(label, "other") if label else "other", label, boxes)

    def _text(self) -> str:
        """The text that stands next, which may be none."""
        if self.at < len(self.parts) and not MARK.fullmatch(self.parts[self.at]):
            self.at += 1
            return self.parts[self.at - 1]
        return ""

    def _skip(self, mark: str) -> bool:
        """Step over a mark if it is the next part but for white space."""
        ahead = self.at
        if ahead < len(self.parts) and not self.parts[ahead].strip():
            ahead += 1
        if ahead < len(self.parts) and self.parts[ahead] == mark:
            self.at = ahead + 1
            return True
        return False


def _parts(answer: str) -> Iterator[str]:
    """Marks and the texts between them."""
    start = 0
    for mark in MARK.finditer(answer):
        if mark.start() > start:
            yield answer[start : mark.start()]
        yield mark[0]
        start = mark.end()
    if start < len(answer):
        yield answer[start:]


def _without_half_a_mark(answer: str) -> str:
    """An answer that was cut inside a mark, without what is left of it."""
    start = answer.rfind("<", -40)
    tail = answer[start:] if start >= 0 else ""
    return answer[:start] if tail and any(mark.startswith(tail) and mark != tail for mark in MARKS) else answer


def _begins_a_label(text: str) -> bool:
    return any(label.startswith(text.strip()) for label in LABELS)

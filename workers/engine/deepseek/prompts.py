"""What a model is asked for, word for word as it was trained, and how it is kept from going round in circles.

Sources: the READMEs and config.py of deepseek-ai/DeepSeek-OCR and DeepSeek-OCR-2, the README of baidu/Unlimited-OCR.
The model card of v1 shows two prompts with a blank at their end; its own code strips it (`format_messages`), and vLLM's
recipe has none. DeepSeek-OCR 2 documents `document` and `free` only, Unlimited-OCR `document` only: what they were not
documented with is asked for in the words of v1, which both descend from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ocr_tasks.contract import Prompt
from workers.engine.deepseek.families import Family

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ASKED: dict[Prompt, str] = {
    "document": "<image>\n<|grounding|>Convert the document to markdown.",
    "free": "<image>\nFree OCR.",
    "figure": "<image>\nParse the figure.",
    "describe": "<image>\nDescribe this image in detail.",
    "locate": "<image>\nLocate <|ref|>{}<|/ref|> in the image.",
}
LOCATOR = re.compile(r"<\|[xy]\d+\|>")  # only nano has them: the others write of places in numbers
UNLIMITED_DOCUMENT = "<image>document parsing."  # without a line break: so its README and its vLLM recipe


@dataclass(frozen=True)
class NgramBan:
    """No `size` tokens in a row may come twice within the last `window`, but for tokens of the `whitelist`."""

    size: int
    window: int
    whitelist: frozenset[int] = frozenset()


# <td>, </td> of the published tokenizer, which all three families share: rows of empty cells are fine.
TABLE_CELLS = frozenset({128821, 128822})
PAGE_BAN = NgramBan(20, 50)  # run_dpsk_ocr_pdf.py
IMAGE_BAN = NgramBan(30, 90)  # run_dpsk_ocr_image.py and vLLM's recipe
UNLIMITED_BAN = NgramBan(35, 128)  # README of Unlimited-OCR, for one page

# Context less what a page and its prompt take at most.
MOST_NEW_TOKENS = {
    Family.DEEPSEEK_OCR: 8192 - 1400,
    Family.DEEPSEEK_OCR2: 8192 - 1400,
    Family.UNLIMITED_OCR: 32768 - 4800,
}


def prompt_text(prompt: Prompt, family: Family, locate: str | None = None) -> str:
    """The text after BOS, with one `<image>` where the page's vision tokens go.

    locate: what to look for; OcrOptions has seen to it that no special token is in it.
    """
    if family == Family.UNLIMITED_OCR and prompt == "document":
        return UNLIMITED_DOCUMENT
    return ASKED[prompt].format(locate) if prompt == "locate" else ASKED[prompt]


def ngram_ban(prompt: Prompt, family: Family, cells: frozenset[int] = TABLE_CELLS) -> NgramBan:
    """The repetitions that the official code of a family forbids for a prompt; cells: ids of <td> and </td>."""
    if family == Family.UNLIMITED_OCR:
        return UNLIMITED_BAN
    return replace(PAGE_BAN if prompt == "document" else IMAGE_BAN, whitelist=cells)


def table_cells(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """The ids of <td> and </td> in a tokenizer; none unless it has a single token for each."""
    cells = [tokenizer.encode(tag, add_special_tokens=False) for tag in ("<td>", "</td>")]
    return frozenset(ids[0] for ids in cells) if all(len(ids) == 1 for ids in cells) else frozenset()


def locators(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """The ids of tokens that say where on a page a model reads, and are no part of its answer: `<|x3|>`, `<|y12|>`."""
    return frozenset(number for name, number in tokenizer.get_added_vocab().items() if LOCATOR.fullmatch(name))


def most_new_tokens(family: Family) -> int:
    """Text tokens after which an answer is cut."""
    return MOST_NEW_TOKENS[family]

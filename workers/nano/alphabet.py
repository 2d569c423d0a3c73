"""What the nano model can write, a token for a character and one for each place, and its tokenizer.

Between characters it writes where it reads them, as DeepSeek-OCR does in its grounded answers: a row token where a line
begins, a column token for each patch of the page. The engine leaves them out of the text, and does not count them.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from workers.engine.deepseek.prompts import ASKED

CHARACTERS = "\n" + string.printable[:95] + "€£§°–’“”äöüÄÖÜßéèàçñ"
"""All characters the model knows: printable ASCII, and what Western European documents add most."""

BOS, EOS, PAD, UNKNOWN, IMAGE = SPECIAL = ("<bos>", "<eos>", "<pad>", "<unk>", "<image>")
MARKS = ("<|grounding|>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>")
BOS_ID, EOS_ID, PAD_ID, UNKNOWN_ID, IMAGE_ID = range(len(SPECIAL))
ROWS, COLUMNS = 64, 32
"""Half patches down a page and patches across it, tiles taken together, that have a token."""
LOCATORS = (*(f"<|y{row}|>" for row in range(ROWS)), *(f"<|x{column}|>" for column in range(COLUMNS)))


def prompt_parts() -> tuple[str, ...]:
    """The sentences that prompts are made of: each is one token, so that a prompt does not cost more than the page."""
    asked = [text.replace("<image>\n", "").replace("<|grounding|>", "") for text in ASKED.values()]
    return tuple(text.split("<|ref|>")[0] for text in asked)


def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, to be saved with the model."""
    names = [*SPECIAL, *MARKS, *prompt_parts(), *LOCATORS, *CHARACTERS]
    fast = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, [], unk_token=UNKNOWN))
    fast.decoder = decoders.Fuse()
    fast.add_special_tokens([AddedToken(name, normalized=False) for name in (*SPECIAL, *MARKS, *LOCATORS)])
    fast.add_tokens([AddedToken(text, normalized=False) for text in prompt_parts()])
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, bos_token=BOS, eos_token=EOS, pad_token=PAD, clean_up_tokenization_spaces=False
    )


VOCABULARY = len(SPECIAL) + len(MARKS) + len(prompt_parts()) + len(LOCATORS) + len(CHARACTERS)
FIRST_CHARACTER = VOCABULARY - len(CHARACTERS)
FIRST_COLUMN = FIRST_CHARACTER - COLUMNS
FIRST_ROW = FIRST_COLUMN - ROWS
ID_OF = {character: FIRST_CHARACTER + number for number, character in enumerate(CHARACTERS)}


def ids_of(text: str) -> list[int]:
    """Token ids of a text of known characters; raises KeyError for others."""
    return [ID_OF[character] for character in text]


def text_of(ids: Sequence[int]) -> str:
    """The characters among token ids."""
    return "".join(CHARACTERS[number - FIRST_CHARACTER] for number in ids if number >= FIRST_CHARACTER)

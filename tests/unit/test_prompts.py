"""What models are asked for, and what callers may have looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from ocr_tasks.contract import Prompt, parse_options
from ocr_tasks.errors import InvalidOption
from tests.tiny_checkpoints import write_tokenizer
from workers.engine.deepseek.checkpoint import load_tokenizer
from workers.engine.deepseek.families import Family
from workers.engine.deepseek.prompts import most_new_tokens, ngram_ban, prompt_text, table_cells


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("prompt", get_args(Prompt))
def test_every_prompt_has_one_place_for_the_page_and_no_blank_at_its_end(prompt: Prompt, family: Family) -> None:
    text = prompt_text(prompt, family, "Total {0}" if prompt == "locate" else None)
    assert text.count("<image>") == 1
    assert text.startswith("<image>")
    assert text == text.strip()
    assert ("<|ref|>Total {0}<|/ref|>" in text) == (prompt == "locate")
    ban = ngram_ban(prompt, family)
    assert 0 < ban.size < ban.window
    assert 4096 < most_new_tokens(family) < (32768 if family == Family.UNLIMITED_OCR else 8192)


def test_cells_of_tables_are_excepted_from_the_ban_by_the_ids_that_the_tokenizer_has_for_them(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert table_cells(tokenizer) == {tokenizer.get_vocab()["<td>"], tokenizer.get_vocab()["</td>"]}
    ban = ngram_ban("document", Family.DEEPSEEK_OCR, table_cells(tokenizer))
    assert (ban.size, ban.window, ban.whitelist) == (20, 50, table_cells(tokenizer))
    assert ngram_ban("document", Family.UNLIMITED_OCR, table_cells(tokenizer)).whitelist == frozenset()


def test_a_tokenizer_that_spells_cells_out_has_no_exceptions(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"</td>"', '"</th>"'), encoding="utf-8")
    assert table_cells(load_tokenizer(tmp_path)) == frozenset()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"prompt": "locate"}, "is needed"),
        ({"prompt": "locate", "locate": " "}, "is needed"),
        ({"locate": "Total"}, "prompt is document"),
        ({"prompt": "locate", "locate": "x" * 501}, "500"),
        ({"prompt": "locate", "locate": "a\nb"}, "printed"),
        ({"prompt": "locate", "locate": "a\u200bb"}, "printed"),
        *(
            ({"prompt": "locate", "locate": f"a{token}b"}, "special")
            for token in ("<|ref|>", "<|/ref|>", "<|det|>", "<image>", "<PAGE>", "<td>", "</td>", "<|grounding|>", "|>",
                          "<｜end▁of▁sentence｜>", "<｜", "｜>", "<|", "| >", "<_x>")
        ),
    ],
)  # fmt: skip
def test_what_is_to_be_located_cannot_speak_to_the_model(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidOption, match=says) as caught:
        parse_options(given)
    assert caught.value.problem()["field"] == "locate"


@pytest.mark.parametrize("text", ["Total", " Total ", "a < b", "5 > 4", "x <5", "先天下之忧而忧", "|x|", "50 % {}"])
def test_any_other_text_can_be_located(text: str) -> None:
    assert parse_options({"prompt": "locate", "locate": text}).locate == text.strip()


def test_an_empty_field_locates_nothing_and_is_no_error_elsewhere() -> None:
    assert parse_options({"locate": ""}).locate is None

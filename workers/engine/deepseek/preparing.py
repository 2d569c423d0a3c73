"""From a page to a request: its mode, its views, its prompt. Runs beside the engine's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ocr_tasks.contract import Mode
from workers.engine import PageWork
from workers.engine.deepseek.batching import Request
from workers.engine.deepseek.checkpoint import Checkpoint
from workers.engine.deepseek.families import mode_of
from workers.engine.deepseek.modes import auto_mode
from workers.engine.deepseek.pixels import views_of
from workers.engine.deepseek.prompts import most_new_tokens, ngram_ban, prompt_text

IMAGE = "<image>"


class Prepared(NamedTuple):
    """A page that can be read. `vision_tokens`: placeholders in its prompt."""

    mode: Mode
    vision_tokens: int
    request: Request


class Preparer:
    """room: the most new tokens that a slot has room for after a prompt of so many."""

    def __init__(self, checkpoint: Checkpoint, room: Callable[[int], int]) -> None:
        config: Any = checkpoint.model.config
        self.family = checkpoint.family
        self.tokenizer = checkpoint.tokenizer
        self.bos, self.image = config.text_config.bos_token_id, config.image_token_id
        self.room = room

    def prepare(self, work: PageWork, mode: Mode | None = None) -> Prepared:
        """Make a request of a page, in the mode given or, without one, in that of its options."""
        image, options = work.image, work.options
        if mode is None:
            mode = auto_mode(image, self.family) if options.mode == "auto" else mode_of(options.mode, self.family)
        views = views_of(image, mode, self.family)
        vision_tokens = views.layout.vision_tokens
        prompt = self._prompt(prompt_text(options.prompt, self.family, options.locate), vision_tokens)
        most = max(1, min(most_new_tokens(self.family), self.room(len(prompt))))
        ban = ngram_ban(options.prompt, self.family)
        return Prepared(mode, vision_tokens, Request(work.id, prompt, views, most, ban))

    def _prompt(self, text: str, vision_tokens: int) -> list[int]:
        """Token ids: BOS, then the text, a placeholder for each vision token where `<image>` stands."""
        before, after = text.split(IMAGE)
        encode = self.tokenizer.encode
        return [
            self.bos,
            *encode(before, add_special_tokens=False),
            *[self.image] * vision_tokens,
            *encode(after, add_special_tokens=False),
        ]

"""From a page to a request: its mode, its views, its prompt. Runs beside the engine's thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor

from ocr_tasks.contract import Mode, Operation
from ocr_tasks.errors import InvalidVisionTokens, OperationUnavailable
from workers.engine import PageWork
from workers.engine.deepseek.batching import Request
from workers.engine.deepseek.checkpoint import Checkpoint
from workers.engine.deepseek.modes import LETTERS_A_TOKEN, ViewLayout, auto_mode, mode_for_ratio, text_density
from workers.engine.deepseek.pixels import Views, views_of
from workers.engine.deepseek.prompts import most_new_tokens, ngram_ban, prompt_text, table_cells
from workers.engine.deepseek.storing import Storing, layout_in
from workers.visual import VisionTokens
from workers.visual.quantisation import rounded

IMAGE = "<image>"
READ, ENCODE, DECODE = Operation.READ, Operation.ENCODE, Operation.DECODE
WORDS = "the page and the text of it"
IN_ONE_PASS = ({READ}, {ENCODE}, {READ, ENCODE}, {DECODE}, {ENCODE, DECODE})


class Prepared(NamedTuple):
    """A page that the batch can take. `layout`: how it is cut; source_text_tokens: of its `source_text`, if any."""

    mode: Mode
    layout: ViewLayout
    request: Request
    source_text_tokens: int | None


class Preparer:
    """room: the most new tokens that a slot has room for after a prompt of so many."""

    def __init__(self, checkpoint: Checkpoint, room: Callable[[int], int]) -> None:
        config: Any = checkpoint.model.config
        self.family = checkpoint.family
        self.resolutions = checkpoint.resolutions
        self.bans_repeats = checkpoint.bans_repeats
        self.tokenizer = checkpoint.tokenizer
        self.bos, self.image = config.text_config.bos_token_id, config.image_token_id
        self.room = room
        self.storing = Storing(checkpoint)
        self.table_cells = table_cells(checkpoint.tokenizer)
        # A tokenizer is of words and their parts, or of single letters.
        self.letters_a_token = LETTERS_A_TOKEN if self.count_text_tokens(WORDS) < len(WORDS) else 1.0

    def prepare(self, work: PageWork, mode: Mode | None = None) -> Prepared:
        """Make a request of a page, in the mode given or, without one, in that of its options or its vision tokens.

        Raises OperationUnavailable for operations that are not done in one pass, InvalidVisionTokens.
        """
        operations = work.operations
        if operations not in IN_ONE_PASS:
            raise OperationUnavailable(f"No page can be worked on with {', '.join(sorted(operations))} in one pass.")
        count = None if work.source_text is None else self.count_text_tokens(work.source_text)
        if operations == {DECODE}:
            return self._from_tokens(work, work.tokens, count)
        mode = mode or self._mode(work, count)
        views = views_of(work.image, mode, self.resolutions)
        request = self._request(work, views, views.layout.vision_tokens)
        if READ not in operations:
            request = replace(request, most_new_tokens=0)
        return Prepared(mode, views.layout, replace(request, keep_features=ENCODE in operations), count)

    def prepare_stored(self, work: PageWork, tokens: VisionTokens) -> Prepared:
        """Make a request of the vision tokens of a page, as they will be once they are stored."""
        return self._from_tokens(work, replace(tokens, features=rounded(tokens.features, work.stored_as)), None)

    def count_text_tokens(self, text: str) -> int:
        """The number of text tokens that the model needs for a text."""
        return len(self.tokenizer.encode(text, add_special_tokens=False))

    def _mode(self, work: PageWork, text_tokens: int | None) -> Mode:
        options, image = work.options, work.image
        if options.mode != "auto":
            return self.resolutions.mode_of(options.mode)
        if options.compression_ratio is None or ENCODE not in work.operations:
            return auto_mode(image, self.resolutions, letters_a_token=self.letters_a_token)
        known = text_density(image, self.letters_a_token).text_tokens if text_tokens is None else text_tokens
        return mode_for_ratio(known, options.compression_ratio, image.size, self.resolutions)

    def _from_tokens(self, work: PageWork, tokens: VisionTokens, count: int | None) -> Prepared:
        features = self.storing.restored(tokens)
        request = self._request(work, features, len(features))
        if self.room(len(request.prompt)) < 1:
            raise InvalidVisionTokens(
                f"{len(features)} vision tokens are more than there is room for.",
                reason="too_large",
                value=len(features),
            )
        return Prepared(tokens.mode, layout_in(tokens), request, count)

    def _request(self, work: PageWork, page: Views | Tensor, vision_tokens: int) -> Request:
        options = work.options
        prompt = self._prompt(prompt_text(options.prompt, self.family, options.locate), vision_tokens)
        most = max(1, min(most_new_tokens(self.family), self.room(len(prompt))))
        ban = ngram_ban(options.prompt, self.family, self.table_cells) if self.bans_repeats else None
        return Request(work.id, prompt, page, most, ban)

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

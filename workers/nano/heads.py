"""What is learned beside the text: where characters are. Only for training; the model is saved without it.

With the text alone as a teacher, a model of this size stays near chance for hours. Drawing gives labels for free: which
characters are in a patch, and where reading goes on from there (asked of SAM's neck and of the vision tokens that the
decoder is given); in which patch the text is (asked of the decoder's first layers), and so which vision token its
layers should look at.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workers.nano.alphabet import CHARACTERS, COLUMNS, FIRST_CHARACTER, FIRST_COLUMN, FIRST_ROW, ROWS
from workers.nano.architecture import LAYERS, SAM, SIDE, TEXT, TOKENS
from workers.nano.batches import IGNORED, IN_TOKEN, STEPS, Batch
from workers.nano.paths import IN_PATCH

CLASSES = len(CHARACTERS) + 1
BLANK_WEIGHT = 0.1
PLACES = (ROWS // 2, COLUMNS, IN_PATCH + 1)  # rows and columns of patches, characters
ONWARD = (2, STEPS, ROWS + 1)
IN_ALL = 3  # characters of a patch that are asked for where patches became a token
POINTING = (0, 1)  # layers after which the place in the page is asked
LOCATING, READING = 0, (1, 2)  # layers whose heads should look at locators, and at vision tokens
HEADS = TEXT["num_attention_heads"]
FAR_WEIGHT = 0.1


class Heads(nn.Module):
    """Linear readers of the model's inner states, and their losses."""

    def __init__(self) -> None:
        super().__init__()
        hidden, patches = TEXT["hidden_size"], IN_TOKEN * IN_TOKEN
        self.neck = nn.Linear(SAM["output_channels"], IN_PATCH * CLASSES)
        self.pooled = nn.Linear(SAM["downsample_channels"][-1], patches * IN_ALL * CLASSES)
        self.token = nn.Linear(hidden, patches * IN_ALL * CLASSES)
        self.onward = nn.Linear(hidden, patches * sum(ONWARD))
        self.place = nn.ModuleList(nn.Linear(hidden, sum(PLACES)) for _ in POINTING)
        weights = torch.ones(CLASSES)
        weights[0] = BLANK_WEIGHT
        self.weights: Tensor
        self.register_buffer("weights", weights)

    def at_neck(self, states: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss and share of characters found; states (n, rows, columns, channels) of the pages' patches."""
        return self._characters(self.neck(states).unflatten(-1, (IN_PATCH, CLASSES)), batch.in_patch)

    @torch.no_grad()
    def settled(self, states: Tensor, batch: Batch) -> Batch:
        """The batch with its doubts settled as the neck sees it, states as above.

        A character near a border of patches is as right on either side of it. Were only one side right, what it takes
        to tell would be learned and not how to read; and what a patch has would stay a guess, made in each apart.
        """
        doubtful = batch.doubts > 0
        shares = self.neck(states[doubtful]).unflatten(-1, (IN_PATCH, CLASSES)).float().log_softmax(-1)
        ways = torch.stack([batch.in_patch[doubtful], batch.otherwise[doubtful]])  # (2, doubtful, characters)
        likely = shares.expand(2, *shares.shape).gather(-1, ways[..., None]).sum((-2, -1))
        better = torch.zeros(len(batch.doubts), int(batch.doubts.max()) + 1, device=states.device)
        page, doubt = doubtful.nonzero()[:, 0], batch.doubts[doubtful]
        better.index_put_((page, doubt), likely[1] - likely[0], accumulate=True)
        changed = torch.zeros_like(doubtful)
        changed[doubtful] = better[page, doubt] > 0
        in_patch = batch.in_patch.where(~changed[..., None], batch.otherwise)
        onward = batch.onward.masked_fill(changed[..., None], IGNORED)
        turned = (better > 0).cpu()
        places = [one.turned(own.nonzero().flatten().tolist()) for one, own in zip(batch.places, turned, strict=True)]
        return replace(batch, in_patch=in_patch, onward=onward, places=places)

    def in_pooled(self, states: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The same of what 16 patches became, (n, rows, columns, channels): what is lost there no layer finds again."""
        return self._characters(*_of_patches(self.pooled(states), batch.in_patch[..., :IN_ALL], (IN_ALL, CLASSES)))

    def in_tokens(self, tokens: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The same of vision tokens, (n, rows, columns, hidden)."""
        return self._characters(*_of_patches(self.token(tokens), batch.in_patch[..., :IN_ALL], (IN_ALL, CLASSES)))

    def ways(self, tokens: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss, and share of patches of which is known how reading goes on; tokens as above."""
        return _parted(*_of_patches(self.onward(tokens), batch.onward, (sum(ONWARD),)), ONWARD)

    def places(self, states: list[Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss, and share of places known that the text is at; states (n, time, hidden) of the layers POINTING."""
        told = batch.cells.masked_fill(~_of(batch.ids, FIRST_COLUMN, None)[..., None], IGNORED)
        asked = [_parted(head(state), told, PLACES) for head, state in zip(self.place, states, strict=True)]
        return torch.stack([loss for loss, _ in asked]).mean(), asked[-1][1]

    def _characters(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits, labels = logits.flatten(0, -2).float(), labels.flatten()
        loss = cross_entropy(logits, labels, self.weights)
        seen = labels > 0
        return loss, (logits.detach().argmax(-1)[seen] == labels[seen]).float().mean()

    def looks(self, attentions: dict[int, Tensor], batch: Batch) -> Tensor:
        """Loss of heads that should look at something; attentions (n, heads, time, time) by layer.

        In the layer LOCATING one head looks at the last column token and one at the last row token. In those READING
        they look at the vision token that is being read, which holds some ten characters, and a head brings along only
        a part of that. So each has its own patch of every token: one layer has those in the upper half of tokens and
        one those in the lower. The head in whose patch the next character is should look at its token, and those far
        from it should look at nothing, at BOS.
        """
        asked = batch.cells[..., 0] != IGNORED  # (n, time)
        firsts = (FIRST_COLUMN, FIRST_CHARACTER), (FIRST_ROW, FIRST_COLUMN)
        missed = []
        for head, (first, end) in enumerate(firsts):
            last = _last(batch.ids, first, end)
            seen = attentions[LOCATING][:, head].gather(2, last[..., None])[..., 0]
            missed.append(_missed(seen[asked & (last > 0)]))
        missed += [_looks(attentions[layer], asked, batch, half) for half, layer in enumerate(READING)]
        return torch.stack(missed).mean()


def _of(ids: Tensor, first: int, end: int | None) -> Tensor:
    """Which token ids are in a range."""
    return (ids >= first) & (ids < end) if end else ids >= first


def _last(ids: Tensor, first: int, end: int) -> Tensor:
    """(n, time), where the last token of a range stands that was seen so far; 0 before there is one."""
    times = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    return times.masked_fill(~_of(ids, first, end), 0).cummax(1)[0]


def _of_patches(logits: Tensor, labels: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Logits of tokens (n, rows, columns, ...) and labels of patches, both as (n, rows, columns, 4, 4, ...)."""
    labels = labels.unflatten(2, (-1, IN_TOKEN)).unflatten(1, (-1, IN_TOKEN)).transpose(2, 3)
    return logits.unflatten(-1, (IN_TOKEN, IN_TOKEN, *shape)), labels


def _parted(logits: Tensor, labels: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Loss, and share of those of which all is right; logits (..., sum(sizes)), labels (..., len(sizes))."""
    asked = labels[..., 0] != IGNORED
    if not asked.any():
        return logits.new_zeros((), dtype=torch.float32), torch.ones(())
    parts, labels = logits[asked].float().split(sizes, -1), labels[asked]
    losses = [cross_entropy(part, labels[:, number]) for number, part in enumerate(parts)]
    right = [part.detach().argmax(-1) == labels[:, number] for number, part in enumerate(parts)]
    return torch.stack(losses).mean(), torch.stack(right).all(0).float().mean()


def _looks(attention: Tensor, asked: Tensor, batch: Batch, half: int) -> Tensor:
    """What a layer's heads are short of looking at the cells of one half of tokens."""
    row, column, _ = batch.cells.clamp(min=0).unbind(-1)  # (n, time)
    own = asked & (row % IN_TOKEN // (IN_TOKEN // 2) == half)
    row_length = batch.in_patch.shape[2] // IN_TOKEN + 1  # with its newline
    token = 1 + row // IN_TOKEN * row_length + column // IN_TOKEN  # 1: after BOS
    head = row % (IN_TOKEN // 2) * IN_TOKEN + column % IN_TOKEN
    heads = torch.arange(HEADS, device=head.device)[:, None]  # (heads, 1)
    near = ((heads - head[:, None]).abs() <= 1) & own[:, None]  # (n, heads, time)
    far = ~near & asked[:, None]
    seen = attention.gather(3, token[:, None, :, None].expand(-1, HEADS, -1, 1))[..., 0]  # (n, heads, time)
    seen = seen.gather(1, head[:, None])[:, 0]
    return _missed(seen[own]) + FAR_WEIGHT * _missed(attention[..., 0][far])


def _missed(attention: Tensor) -> Tensor:
    """What attention is short of one, as a loss; none where nothing is asked for."""
    if not attention.numel():
        return attention.new_zeros(())
    return -attention.float().clamp(min=1e-4).log().mean()


class Watched:
    """The model's forward pass, with the states that the heads ask for."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.seen = self.merged = self.neck = self.pooled = torch.empty(0)
        self.states: dict[int, Tensor] = {}
        self.attentions: dict[int, Tensor] = {}
        self.routed: dict[int, Tensor] = {}
        text = model.model.language_model
        model.model.vision_tower.sam_encoder.neck.register_forward_hook(self._neck)
        model.model.vision_tower.sam_encoder.proj.register_forward_hook(self._pooled)
        for number in POINTING:
            text.layers[number].register_forward_hook(
                lambda _m, _i, out, number=number: self.states.update({number: out})
            )
        for number in (LOCATING, *READING):
            text.layers[number].self_attn.register_forward_hook(
                lambda _m, _i, out, number=number: self.attentions.update({number: out[1]})
            )
        for number, layer in enumerate(text.layers):
            if hasattr(layer.mlp, "gate"):
                layer.mlp.gate.register_forward_hook(
                    lambda _m, _i, out, number=number: self.routed.update({number: out[0]})
                )
        assert max(*POINTING, LOCATING, *READING) < LAYERS
        assert HEADS * len(READING) == IN_TOKEN * IN_TOKEN

    def _neck(self, _module: nn.Module, _given: Any, states: Tensor) -> None:
        self.seen = states

    def _pooled(self, _module: nn.Module, _given: Any, states: Tensor) -> None:
        self.merged = states

    def imbalance(self) -> Tensor:
        """1 when all experts are used alike, up to their number; source: Switch Transformer, section 2.2."""
        found = []
        for logits in self.routed.values():
            shares = logits.softmax(-1)  # (tokens, experts)
            chosen = nn.functional.one_hot(shares.topk(TEXT["num_experts_per_tok"])[1], shares.shape[-1]).float()
            found.append((chosen.sum(1).mean(0) * shares.mean(0)).sum() * shares.shape[-1] / chosen.shape[1])
        return torch.stack(found).mean()

    def see(self, pixels: Tensor) -> Tensor:
        """The vision tokens of pages, (n, rows, columns, hidden); `neck` and `pooled` have SAM's states in the same
        order, of its patches and of what becomes of 16 of them.

        pixels: (n, 3, height, width) in [-1, 1], multiples of the side of a view, which is what they are cut into.
        """
        rows, columns = pixels.shape[2] // SIDE, pixels.shape[3] // SIDE
        tiles = pixels.unflatten(3, (columns, SIDE)).unflatten(2, (rows, SIDE))  # (n, 3, rows, side, columns, side)
        tiles = tiles.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        inner = self.model.model
        tokens = inner.multi_modal_projector(inner.vision_tower(tiles).last_hidden_state)
        self.neck = _joined(self.seen.permute(0, 2, 3, 1), rows, columns)
        self.pooled = _joined(self.merged.permute(0, 2, 3, 1), rows, columns)
        return _joined(tokens.unflatten(1, (TOKENS, TOKENS)), rows, columns)

    def write(self, pages: list[Tensor], ids: Tensor) -> Tensor:
        """Logits (n, time, vocabulary) of texts. pages: vision tokens of the tiles, if any, and of the whole."""
        inner = self.model.model
        rows = []
        for page in pages:
            newline = inner.image_newline.to(page.dtype).expand(*page.shape[:2], 1, -1)
            rows.append(torch.cat([page, newline], 2).flatten(1, 2))
        separator = inner.view_separator.to(rows[0].dtype).expand(len(ids), 1, -1)
        seen = torch.cat([*rows, separator], 1)
        embeds = inner.get_input_embeddings()(ids)
        embeds = torch.cat([embeds[:, :1], seen, embeds[:, seen.shape[1] + 1 :]], 1)
        hidden = inner.language_model(inputs_embeds=embeds, use_cache=False).last_hidden_state
        logits: Tensor = self.model.lm_head(hidden)
        return logits


def _joined(tiles: Tensor, rows: int, columns: int) -> Tensor:
    """Tiles (n * rows * columns, height, width, channels), row by row, as pages (n, height, width, channels)."""
    pages = tiles.unflatten(0, (-1, rows, columns)).transpose(2, 3)  # (n, rows, height, columns, width, channels)
    joined: Tensor = pages.flatten(3, 4).flatten(1, 2)
    return joined

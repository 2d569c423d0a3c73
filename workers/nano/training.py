"""Training of the nano model, from nothing or from where it stopped.

`make train-nano` runs it: on a GPU where there is one, else on all cores. A run can be stopped at any time and goes on
from its last checkpoint; the pages drawn, the order and the first weights come from one seed, so that two runs differ
by no more than threads and kernels do.

The package holds a model and no checkpoint (with what the optimisers know, it is seven times the size): `--from` begins
with a published model, at the level where its training was.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import structlog
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workers.nano.alphabet import FIRST_CHARACTER
from workers.nano.architecture import new_model
from workers.nano.batches import ALONE, IGNORED, Batch, loaded, normalised
from workers.nano.curriculum import LEVELS, Level
from workers.nano.heads import POINTING, Heads, Watched
from workers.nano.optimisers import multiplies_bfloat16, optimisers
from workers.nano.release import write_release
from workers.nano.sheets import draw_sheets, read_sheets
from workers.nano.team import Team, run_team

log = structlog.get_logger(__name__)

SHEETS = 90  # of Chromium's pages, about 60 on each
WARM_UP = 100  # steps, at the start and when the decoder joins
HEADS_FIRST, HEADS_RATE = 300, 3.0  # steps in which nothing else learns, where the model comes without its heads
SEEN = {"neck": 0.5, "pooled": 0.7, "tokens": 1.5}  # weights of characters found there: tokens are what is read
BESIDE = 0.3  # weight of where to look, beside the text
BALANCE = 0.01  # weight of experts being used alike
SHOWN_EVERY, SAVED_EVERY = 20, 250  # steps
MOST_PROCESSES = 4  # each holds a GB or two
MEMORY = 0.98  # of the running shares


@dataclass
class Progress:
    """How far a training is. `right`: a running share of the characters that count at this level."""

    step: int = 0
    level: int = 0
    level_step: int = 0
    right: float = 0.0
    pages: int = 0
    characters: int = 0
    seconds: float = 0.0


class Training:
    """A model in training, its optimisers and its progress; all of it is in `checkpoint.pt` of its folder."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        device: torch.device,
        levels: tuple[Level, ...] = LEVELS,
        team: Team = ALONE,
        start: Path | None = None,
    ) -> None:
        self.folder, self.seed, self.device, self.levels, self.team = folder, seed, device, levels, team
        self.model = new_model(seed).to(device)
        self.model.set_experts_implementation("eager")
        self.heads = Heads().to(device)
        self.watched = Watched(self.model)
        self.optimisers = optimisers(self.model, self.heads)
        self.random = Random(seed + team.rank)
        self.progress = Progress()
        self.first_step = 0  # of these optimisers; before it the heads learn alone
        self.asked_to_stop = self.stopping = self.ends = False
        self.gone = 0.0  # of the time that this run has
        if (folder / "checkpoint.pt").exists():
            self._resume()
        elif start:
            self._start_from(start)

    def run(self, minutes: float | None = None, *, ends: bool = False) -> bool:
        """Train until the end, or for so many minutes; whether the end was reached.

        ends: the level it is at comes to its end in these minutes, whatever its steps.
        """
        began = time.monotonic()
        self.ends = ends
        if self.team.leads:
            draw_sheets(self.folder / "sheets", SHEETS, self.seed)
        self.team.gather()
        sheets = read_sheets(self.folder / "sheets")
        while self.progress.level < len(self.levels):
            level = self.levels[self.progress.level]
            # Only eager attention gives the weights that guidance asks for.
            self.model.set_attn_implementation({"text_config": "eager" if level.guided else "sdpa"})
            if self.team.leads:
                log.info("level", name=level.name, **asdict(self.progress))
            seed = self.seed + 1000 * self.progress.level + self.progress.step
            for batch in loaded(level, seed, sheets, self.team):
                self.train(
                    batch, level, gone=0.0 if minutes is None else (time.monotonic() - began) / max(60 * minutes, 1e-9)
                )
                ended = self.gone >= 1 if self.ends else self._ended(level)
                if ended:
                    break
                if self.progress.step % SAVED_EVERY == 0:
                    self.save()
                if self.stopping or self.gone >= 1:
                    self.save()
                    return False
            self.progress.level, self.progress.level_step, self.progress.right = self.progress.level + 1, 0, 0.0
            self.save()
            if self.stopping or self.gone >= 1:
                break
        return self.progress.level == len(self.levels)

    def stop(self, *_signal: object) -> None:
        """End the run after this step or the next, when all of the team know, with a checkpoint."""
        self.asked_to_stop = True

    def _ended(self, level: Level) -> bool:
        return self.progress.level_step >= level.most or self.progress.right >= level.enough

    def train(self, batch: Batch, level: Level, *, gone: float = 0.0) -> None:
        """One step of a level; all of a team stop when one does, and share one clock. gone: of this run's time."""
        began = time.monotonic()
        batch = batch.to(self.device)
        at = self.progress.level_step
        frozen = self.progress.step < self.first_step
        text = not frozen and int((at + 1) * level.text) > int(at * level.text)
        self._set_rates(level)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=multiplies_bfloat16(self.device)):
            losses, shares = self.losses(
                batch, text=text, guided=level.guided, sees=level.sees or frozen, frozen=frozen
            )
        total = torch.stack(list(losses.values())).sum()
        total.backward()
        seeing, rest = parts(self.model)
        rest += self.heads.parameters()
        counts = shares.get("text" if level.text else "tokens")
        numbers = [0.0 if counts is None else float(counts), float(self.asked_to_stop), gone]
        right, stops, self.gone = self.team.average([*seeing, *rest], numbers)
        self.stopping = stops > 0
        nn.utils.clip_grad_norm_(seeing, 1.0)
        nn.utils.clip_grad_norm_(rest, 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self._count(batch, None if counts is None else right, time.monotonic() - began)
        if self.team.leads and self.progress.step % SHOWN_EVERY == 0:
            shown = {f"loss_{name}": round(float(value.detach()), 3) for name, value in losses.items()}
            shown |= {name: round(float(value), 3) for name, value in shares.items()}
            log.info("step", **shown, **{k: round(v, 3) for k, v in asdict(self.progress).items()})

    def losses(
        self, batch: Batch, *, text: bool, guided: bool = True, sees: bool = True, frozen: bool = False
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What is to be made small, by name, and the shares of characters that were right; as in Level.

        frozen: the heads are asked what they find in what is seen, and sight itself is not to change.
        """
        watched, heads = self.watched, self.heads
        losses: dict[str, Tensor] = {}
        shares: dict[str, Tensor] = {}
        with torch.set_grad_enabled(sees and not frozen and torch.is_grad_enabled()):
            tokens = watched.see(normalised(batch.pixels))
        batch = heads.settled(watched.neck, batch)
        if sees:
            found = {
                "neck": heads.at_neck(watched.neck, batch),
                "pooled": heads.in_pooled(watched.pooled, batch),
                "tokens": heads.in_tokens(tokens, batch),
            }
            losses |= {name: SEEN[name] * loss for name, (loss, _) in found.items()}
            shares |= {name: share for name, (_, share) in found.items()}
            ways, shares["ways"] = heads.ways(tokens, batch)
            losses["ways"] = BESIDE * ways
        if not text:
            return losses, shares
        batch = batch.rewritten(self.random)
        pages = [tokens]
        if batch.whole is not None:
            with torch.set_grad_enabled(sees and torch.is_grad_enabled()):
                pages.append(watched.see(normalised(batch.whole)))
        logits = watched.write(pages, batch.ids)
        asked = batch.labels != IGNORED
        logits, labels = logits[asked].float(), batch.labels[asked]
        losses |= {"text": cross_entropy(logits, labels), "balance": BALANCE * watched.imbalance()}
        right, character = logits.detach().argmax(-1) == labels, labels >= FIRST_CHARACTER
        shares |= {
            "text": right[character].float().mean(),
            "locators": right[~character].float().mean(),
        }
        if guided:
            place, shares["places"] = heads.places([watched.states[number] for number in POINTING], batch)
            losses |= {"places": BESIDE * place, "looks": BESIDE * heads.looks(watched.attentions, batch)}
        return losses, shares

    def _set_rates(self, level: Level) -> None:
        progress = self.progress
        rate = min(1.0, (progress.step - self.first_step + 1) / WARM_UP)
        if progress.step < self.first_step:
            rate = HEADS_RATE / level.rate
        elif level.text and not self.levels[progress.level - 1].text:
            rate = min(1.0, (progress.level_step + 1) / WARM_UP)
        if level.falls:
            gone = self.gone if self.ends else progress.level_step / level.most
            rate *= min(1.0, max(0.0, 1 - gone) / level.falls)
        rate *= level.rate
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["highest"] * rate

    def _count(self, batch: Batch, right: float | None, seconds: float) -> None:
        progress = self.progress
        progress.step, progress.level_step = progress.step + 1, progress.level_step + 1
        if right is not None:
            progress.right = MEMORY * progress.right + (1 - MEMORY) * right
        progress.pages += len(batch.ids) * self.team.size
        progress.characters += batch.characters * self.team.size
        progress.seconds += seconds

    def save(self) -> None:
        """Write the checkpoint, whole or not at all, and the model as it could be served."""
        if not self.team.leads:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "progress": asdict(self.progress),
        }
        torch.save(state, self.folder / "checkpoint.new")
        (self.folder / "checkpoint.new").rename(self.folder / "checkpoint.pt")
        write_release(self.model, self.folder / "release")

    def _resume(self) -> None:
        state = torch.load(self.folder / "checkpoint.pt", map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        for optimiser, stored in zip(self.optimisers, state["optimisers"], strict=True):
            rates = [group["highest"] for group in optimiser.param_groups]
            optimiser.load_state_dict(stored)
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["highest"] = rate  # of this version, not of the one that was stopped
        self.progress = Progress(**state["progress"])

    def _start_from(self, published: Path) -> None:
        """Begin with a published model, where its training was; when that was over, with the last level that sees."""
        weights = type(self.model).from_pretrained(published, dtype=torch.float32).state_dict()
        self.model.load_state_dict(weights)
        measured = published / "measured.json"
        if measured.exists():
            self.progress = Progress(**json.loads(measured.read_text(encoding="utf-8"))["training"])
        if self.progress.level >= len(self.levels):
            last = max(number for number, level in enumerate(self.levels) if level.sees)
            self.progress.level, self.progress.level_step, self.progress.right = last, 0, 0.0
        self.first_step = self.progress.step + HEADS_FIRST


def parts(model: Any) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters of SAM, and all others: their gradients differ in size and are clipped apart."""
    seeing = list(model.model.vision_tower.sam_encoder.parameters())
    own = {id(parameter) for parameter in seeing}
    return seeing, [parameter for parameter in model.parameters() if id(parameter) not in own]


def main() -> None:
    """The command line of `make train-nano`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the checkpoint and the model are written")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes; the next run goes on from there")
    parser.add_argument(
        "--end", action="store_true", help="come to the end in these minutes: with the last level alone"
    )
    parser.add_argument("--processes", type=int, help="that train together; on a CPU one for each core")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", dest="start", type=Path, help="a published model to begin with, not random weights")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    processes = given.processes or (1 if device.type == "cuda" else min(MOST_PROCESSES, os.cpu_count() or 1))
    if given.end and given.minutes is None:
        parser.error("--end takes --minutes: how long until the end")
    run_team(processes, given.folder, partial(_train, given, device))


def _train(given: argparse.Namespace, device: torch.device, team: Team) -> None:
    training = Training(given.folder, given.seed, device, team=team, start=given.start)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, training.stop)
    ended = training.run(given.minutes, ends=given.end)
    if team.leads:
        log.info("ended" if ended else "stopped", folder=str(given.folder))


if __name__ == "__main__":
    main()

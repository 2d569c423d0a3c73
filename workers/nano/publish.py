"""Put a trained model into the package, with a card that says what was measured.

    python -m workers.nano.publish FOLDER [--into FOLDER] [--pages 500] [--anyway]

FOLDER is that of the training, which must have come to its end, or `--anyway`. The curve is drawn to `curve.svg`, and
all measurements are in `measured.json`.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from ocr_tasks.contract import TokenDtype
from workers.engine.deepseek.nano import FOLDER
from workers.nano.curriculum import LEVELS
from workers.nano.evaluation import DENSITIES, DTYPES, GATE, Measured, curve, gate, measured, tiles
from workers.nano.plot import plot
from workers.nano.training import Progress

CARD = Path(__file__).with_name("card.md")
FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


def publish(trained: Path, into: Path, pages: int) -> None:
    """Measure the model of a training and write it, its card and its curve."""
    into.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(trained / "release" / name, into / name)
    few = max(1, pages // 5)
    gated, curved, cut = (list(measured(into, kinds)) for kinds in (gate(pages), curve(few), tiles(few)))
    write_card(into, gated, curved, cut, progress_of(trained))


def progress_of(trained: Path) -> Progress:
    """How far a training is."""
    return Progress(**torch.load(trained / "checkpoint.pt", map_location="cpu", weights_only=True)["progress"])


def write_card(
    into: Path, gated: Sequence[Measured], curved: Sequence[Measured], cut: Sequence[Measured], progress: Progress
) -> None:
    """The model card, the curve and the numbers behind them. cut: pages in tiles."""
    found = {"gate": gated, "curve": curved, "tiles": cut}
    numbers = {name: [asdict(one) for one in these] for name, these in found.items()}
    text = json.dumps({"training": asdict(progress), **numbers}, indent=1)
    (into / "measured.json").write_text(text + "\n", encoding="utf-8")
    (into / "curve.svg").write_text(_plot(curved), encoding="utf-8")
    card = CARD.read_text(encoding="utf-8")
    filled = {
        "machine": f"{platform.system()} {platform.machine()}, torch {torch.__version__}",
        "steps": f"{progress.step:,}",
        "trained_pages": f"{progress.pages:,}",
        "trained_characters": f"{progress.characters / 1e6:.1f} million",
        "hours": f"{progress.seconds / 3600:.1f}",
        "verdict": _verdict(gated),
        "gate": "\n".join(map(_gate_row, gated)),
        "curve": "\n".join(_curve_rows(curved)),
        "tiles": "\n".join(map(_tiles_row, cut)),
    }
    for name, value in filled.items():
        card = card.replace(f"{{{name}}}", value)
    (into / "README.md").write_text(card, encoding="utf-8")


def _verdict(gated: Sequence[Measured]) -> str:
    """Whether the model meets its goals, in fonts trained on."""
    missed = [one for one in gated if one.fonts == "trained on" and one.error > GATE[round(one.asked)]]
    if not missed:
        return "It meets its goals."
    errors = " and ".join(f"{100 * one.error:.1f} % at {one.asked:g} characters a vision token" for one in missed)
    number = "a goal" if len(missed) == 1 else "its goals"
    return (
        f"**It misses {number}**: {errors} are wrong.\n"
        "Its training is not at its end, and goes on with\n"
        "`python -m workers.nano.training FOLDER --from workers/nano/checkpoint`."
    )


def _gate_row(one: Measured) -> str:
    goal = f"{100 * GATE[round(one.asked)]:g} %" if one.fonts == "trained on" else "none"
    return f"| {one.asked:g} | {one.fonts} | {one.pages} | {100 * one.error:.2f} % | {goal} | {100 * one.exact:.0f} % |"


def _tiles_row(one: Measured) -> str:
    columns, rows = one.grid
    return f"| {columns} x {rows} | {one.pages} | {100 * one.error:.2f} % | {100 * one.exact:.0f} % |"


def _curve_rows(curved: Sequence[Measured]) -> list[str]:
    """A row for each density: its error when read, and decoded from each dtype."""
    rows = []
    for asked in DENSITIES:
        of_density = {one.stored_as: one for one in curved if one.asked == asked}
        if of_density:
            errors = " | ".join(f"{100 * of_density[dtype].error:.2f} %" for dtype in (None, *DTYPES))
            rows.append(f"| {of_density[None].per_token:.1f} | {errors} |")
    return rows


def _plot(curved: Sequence[Measured]) -> str:
    names: dict[TokenDtype | None, str] = {None: "read", **{dtype: f"stored as {dtype}" for dtype in DTYPES}}
    lines = {
        name: [(one.per_token, 100 * one.error) for one in curved if one.stored_as == dtype]
        for dtype, name in names.items()
    }
    limits = [(float(asked), 100 * error) for asked, error in GATE.items()]
    return plot(lines, limits, across="characters (= text tokens) per vision token", up="character error rate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--into", type=Path, default=FOLDER)
    parser.add_argument("--pages", type=int, default=500, help="of each kind of the gate; the curve takes a fifth")
    parser.add_argument("--anyway", action="store_true", help="although the training has not come to its end")
    given = parser.parse_args()
    level = progress_of(given.folder).level
    if level < len(LEVELS) and not given.anyway:
        print(f"The training is at level {level + 1} of {len(LEVELS)}: the model in the package stays as it is.")
        return
    publish(given.folder, given.into, given.pages)


if __name__ == "__main__":
    main()

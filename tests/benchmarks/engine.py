"""The engine `deepseek`:  python -m tests.benchmarks.engine [loop host vision_tokens] [--device cpu|cuda] [--tiny]

On the CPU: continuous batching against `generate()`, one by one and batched, on a small random model; and what 128
busy task threads beside the loop cost it; and what storing vision tokens costs. On CUDA: the full-size architecture
with random weights.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from tests.benchmarks import engine_cpu, engine_cuda, engine_host, vision_tokens
from tests.benchmarks.report import table, write_json

PARTS = {"loop": engine_cpu.findings, "host": engine_host.findings, "vision_tokens": vision_tokens.findings}


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Default: cuda where there is one.")
@click.option("--tiny", is_flag=True, help="A small model and short texts: does the CUDA part run at all?")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the findings here too.")
def main(parts: tuple[str, ...], device: str | None, tiny: bool, path: Path | None) -> None:
    """Measure PARTS (of what runs on a CPU) and print a table. Close what else runs on the machine first."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" or tiny:
        findings = engine_cuda.findings(torch.device(device), tiny=tiny)
    else:
        findings = [found for part in parts or PARTS for found in PARTS[part]()]
    click.echo(table(findings))
    if path:
        write_json(findings, path)


if __name__ == "__main__":
    main()

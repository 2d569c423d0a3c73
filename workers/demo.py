"""`lightdom-ocr demo`: reads one document with a stack of its own that leaves nothing behind."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import httpx

from ocr_tasks.contract import ENGINE_OPERATIONS, Format
from ocr_tasks.logs import configure_logs, for_people
from ocr_tasks.settings import Settings, get_settings
from workers.demo_jobs import DemoFailed, DemoJobs
from workers.demo_tokens import compress_a_page
from workers.embedded import EmbeddedServerError
from workers.engine.deepseek import nano
from workers.offered import TOKENS
from workers.stack import Stack, StackError
from workers.stopping import StopRequested, StopSignals
from workers.up import tell

SAMPLE = Path(__file__).parent / "samples" / "sample.pdf"


@click.command("demo")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
def demo_command(file: Path | None) -> None:
    """Read FILE with a whole stack of its own; prints the markdown and leaves nothing behind.

    Without a FILE it reads a sample, and then shows a small page become vision tokens and text again.
    """
    sys.exit(run_demo(file))


def run_demo(file: Path | None) -> int:
    """Start a stack in a temporary folder, print what it makes of `file` or of the samples; returns the exit code."""
    settings = get_settings()
    configure_logs(for_people(settings))
    folder = Path(tempfile.mkdtemp(prefix="lightdom-ocr-demo-"))
    stack = Stack(settings, data_dir=folder, private=True, tell=tell)
    shown: list[str] = []
    with StopSignals() as signals:
        try:
            stack.start()
            for part in _parts(stack, file):
                shown.append(part)
        except StopRequested:
            return 130
        except (StackError, EmbeddedServerError, DemoFailed) as error:
            tell(str(error))
            return 1
        finally:
            signals.now_stopping()
            stack.stop(hurry=signals.hurry)
            shutil.rmtree(folder, ignore_errors=True)
            sys.stdout.buffer.write("\n".join(shown).encode())
            sys.stdout.flush()
    return 0


def _parts(stack: Stack, file: Path | None) -> Iterator[str]:
    """What is printed, one part after the other, so that what came about is kept when the next one fails."""
    # No proxy of the environment between us and our own machine.
    with httpx.Client(base_url=stack.url, trust_env=False, timeout=60) as client:
        jobs = DemoJobs(stack, client)
        yield _read(jobs, file or SAMPLE)
        if file is None and _has_tokens(stack.settings):
            yield compress_a_page(jobs)
        elif file is None:
            lacks = nano.missing() or "an engine that makes them (OCR_TOKEN_ENGINE)"
            tell(f"vision tokens are not shown: that needs {lacks}")


def _read(jobs: DemoJobs, file: Path) -> str:
    with file.open("rb") as source:
        accepted = jobs.client.post("/api/ocr/process", files={"file": (file.name, source)})
    return jobs.result(jobs.ended(accepted, file.name), Format.MARKDOWN).text.rstrip() + "\n"


def _has_tokens(settings: Settings) -> bool:
    return ENGINE_OPERATIONS[settings.token_engine or settings.engine] >= TOKENS

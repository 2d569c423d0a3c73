"""`lightdom-ocr model fetch|check|info`: checkpoints on this machine. Only `fetch` uses the network."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from ocr_tasks.contract import NOTICES
from ocr_tasks.errors import OcrError
from ocr_tasks.exits import Exit
from ocr_tasks.outputs import emit, emit_facts, emit_json, say
from ocr_tasks.settings import Settings, get_settings
from workers.engine.deepseek.families import CheckpointError

if TYPE_CHECKING:
    from workers.engine.deepseek.checkpoint import Examined

P = ParamSpec("P")
MOST_ERROR = 0.1
LEAST_WHOLE_PAGE = 512  # pixels of a view; smaller ones show the model a small page
MODES_SHOWN_FOR = (1654, 2339)  # A4 at 200 dpi


def with_checkpoint(command: Callable[Concatenate[Settings, P], Exit]) -> Callable[P, None]:
    """Give a command its model and revision as settings, and an end without tracebacks."""

    @click.argument("model", required=False)
    @click.option("--revision", metavar="REVISION", help="Commit, branch or tag of a hub id.  [default: a pinned one]")
    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        settings = get_settings()
        model, revision = kwargs.pop("model"), kwargs.pop("revision")
        # A revision that is configured belongs to the model that is configured.
        chosen: dict[str, Any] = {"model_path": model, "model_revision": revision} if model else {}
        if revision:
            chosen["model_revision"] = revision
        click.get_current_context().exit(_ended(lambda: command(settings.model_copy(update=chosen), *args, **kwargs)))

    return run


def _ended(command: Callable[[], Exit]) -> Exit:
    try:
        return command()
    except CheckpointError as error:
        for line in str(error).splitlines():
            say(f"Error: {line}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("ocr_tasks", "workers"):
            raise
        say(f"Error: {error.name} is not installed; it comes with pip install 'lightdom-ocr[gpu]'")
    except (OcrError, OSError) as error:
        say(f"Error: {error}")
    except KeyboardInterrupt:
        say("Interrupted.")
        return Exit.INTERRUPTED
    return Exit.FAILED


@click.command()
@with_checkpoint
def fetch(settings: Settings) -> Exit:
    """Bring MODEL, a hub id, to this machine.

    Goes on where an earlier try stopped. MODEL is that of DEEPSEEK_OCR_MODEL_PATH unless given. Prints the folder.
    """
    from workers.engine.deepseek import hub

    if not hub.is_hub_id(settings.model_path) or Path(settings.model_path).is_dir():
        raise click.UsageError(f"{settings.model_path!r} is no hub id like deepseek-ai/DeepSeek-OCR.")
    emit(str(hub.fetch(settings.model_path, settings.model_revision)))
    return Exit.FINE


@click.command()
@click.option("--smoke", is_flag=True, help="Load it and read a page, too; prints the character error rate.")
@with_checkpoint
def check(settings: Settings, smoke: bool) -> Exit:
    """Check that MODEL, a folder, a fetched hub id or nano, is whole and fits its model.

    Reads no weights: config, tokenizer, the files' headers and sizes, and every tensor's name and shape. With --smoke,
    ends with 1 as well when more than one character in ten is read wrong.
    """
    found = _examine(settings)
    emit(f"{settings.model_path}: {found.family}, {len(found.tensors)} tensors, whole; revision {found.revision}")
    if found.name in NOTICES:
        emit(NOTICES[found.name])
    return _smoke(settings) if smoke else Exit.FINE


def _smoke(settings: Settings) -> Exit:
    from workers.engine.deepseek.engine import load_deepseek
    from workers.engine.deepseek.smoke import PAGE, SMALL, read_sample

    engine = load_deepseek(settings)
    page = SMALL if engine.checkpoint.resolutions.of("tiny").side < LEAST_WHOLE_PAGE else PAGE
    try:
        result, wrong, seconds = read_sample(engine, settings, page)
    finally:
        engine.close()
    flags = f", flags: {', '.join(result.flags)}" if result.flags else ""
    emit(f"{page.name}: character error rate {wrong:.2%}, mode {result.mode}, {seconds:.1f} s{flags}")
    if wrong <= MOST_ERROR:
        return Exit.FINE
    say(f"Error: more than {MOST_ERROR:.0%} of the characters are wrong: this model does not read")
    return Exit.FAILED


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The same as a JSON object.")
@with_checkpoint
def info(settings: Settings, as_json: bool) -> Exit:
    """Show what MODEL, a folder, a fetched hub id or nano, is."""
    facts = _facts(_examine(settings))
    if as_json:
        emit_json(facts)
    else:
        emit_facts({name: _shown(value) for name, value in facts.items()})
    return Exit.FINE


def _examine(settings: Settings) -> Examined:
    from workers.engine.deepseek.checkpoint import examine
    from workers.engine.deepseek.hub import locate

    return examine(locate(settings.model_path, settings.model_revision))


def _facts(found: Examined) -> dict[str, Any]:
    from workers.engine.deepseek.modes import layout_of

    text: Any = found.config.text_config
    files = {tensor.file for tensor in found.tensors.values()}
    return {
        **({"notice": NOTICES[found.name]} if found.name in NOTICES else {}),
        "family": str(found.family),
        "folder": str(found.folder),
        "revision": found.revision,
        "parameters": sum(tensor.numbers for tensor in found.tensors.values()),
        "bytes": sum(file.stat().st_size for file in files),
        "dtypes": sorted({tensor.dtype for tensor in found.tensors.values()}),
        "layers": text.num_hidden_layers,
        "hidden": text.hidden_size,
        "experts": text.n_routed_experts,
        "vocabulary": text.vocab_size,
        "context": text.max_position_embeddings,
        "vision tokens of an A4 page": {
            mode: layout_of(MODES_SHOWN_FOR, mode, found.resolutions).vision_tokens for mode in found.resolutions.modes
        },
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:,}" if isinstance(value, int) else str(value)

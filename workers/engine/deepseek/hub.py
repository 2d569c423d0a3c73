"""Where a checkpoint lies: a folder, or the hub's cache. Only `fetch` goes to the network. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from workers.engine.deepseek.families import PINNED, CheckpointError

FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors.index.json",
    "*.safetensors",
)
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def locate(name: str | Path, revision: str | None = None) -> Path:
    """The folder of a checkpoint: `name` itself, or the snapshot that a fetched hub id has at a revision.

    Raises CheckpointError when neither is there; never asks the network.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if not is_hub_id(str(name)):
        raise CheckpointError(f"{name}: there is no such folder, and it is no hub id like deepseek-ai/DeepSeek-OCR")
    wanted = revision or PINNED.get(str(name), "main")
    try:
        return Path(snapshot_download(str(name), revision=wanted, local_files_only=True))
    except LocalEntryNotFoundError:
        advice = f"lightdom-ocr model fetch {name}{f' --revision {revision}' if revision else ''}"
        raise CheckpointError(f"{name}: not on this machine at revision {wanted}. Fetch it first: {advice}") from None


def fetch(name: str, revision: str | None = None) -> Path:
    """Bring a hub id's files to the cache, those that are missing, from where an earlier try stopped; its snapshot.

    Raises CheckpointError when the hub has no such thing or cannot be reached.
    """
    wanted = revision or PINNED.get(name, "main")
    try:
        return Path(snapshot_download(name, revision=wanted, allow_patterns=list(FILES)))
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise CheckpointError(f"{name}: the hub has no such model, or not at revision {wanted}") from None
    except LocalEntryNotFoundError:
        raise CheckpointError(f"{name}: the hub cannot be reached") from None
    except (HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{name}: not fetched; what has come is kept for the next try: {reason}") from None


def is_hub_id(name: str) -> bool:
    return HUB_ID.fullmatch(name) is not None and not name.startswith(".")

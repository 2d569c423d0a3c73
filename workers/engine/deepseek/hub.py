"""Where a checkpoint lies: a folder, or the hub's cache. Only `fetch` goes to the network. No torch."""

from __future__ import annotations

import fcntl
import hashlib
import re
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, get_hf_file_metadata, get_token, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get, repo_folder_name

from workers.engine.deepseek import nano
from workers.engine.deepseek.families import PINNED, CheckpointError

FILES = [
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors.index.json",
    "*.safetensors",
]
# That of the HTTP client which the library was built with: httpx, or a fork of it.
NetworkError: type[Exception] = HfHubHTTPError.__bases__[0]
LARGE = 1 << 20  # bytes from which on it is worth while to go on where an earlier try stopped
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def locate(name: str | Path, revision: str | None = None) -> Path:
    """The folder of a checkpoint: `name` itself, the packaged `nano`, or a fetched hub id's snapshot at a revision.

    Raises CheckpointError when none is there; never asks the network.
    """
    if str(name) == nano.NANO:
        if not nano.has_weights():
            raise CheckpointError(f"nano: its weights are missing from this installation: {nano.FOLDER}")
        return nano.FOLDER
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if not is_hub_id(str(name)):
        raise CheckpointError(
            f"{name}: there is no such folder, and it is no hub id like deepseek-ai/DeepSeek-OCR, nor nano"
        )
    wanted = revision or PINNED.get(str(name), "main")
    try:
        return Path(snapshot_download(str(name), revision=wanted, local_files_only=True))
    except LocalEntryNotFoundError:
        advice = f"lightdom-ocr model fetch {name}{f' --revision {revision}' if revision else ''}"
        raise CheckpointError(f"{name}: not on this machine at revision {wanted}. Fetch it first: {advice}") from None


def fetch(name: str, revision: str | None = None) -> Path:
    """Bring a hub id's files to the cache, those that are missing, from where an earlier try stopped; its snapshot.

    Raises CheckpointError when the hub has no such thing, cannot be reached, or sends something else than it promised.
    """
    wanted = revision or PINNED.get(name, "main")
    try:
        found = HfApi().model_info(name, revision=wanted, files_metadata=True)
        for file in found.siblings or ():
            if (file.size or 0) >= LARGE and any(fnmatch(file.rfilename, pattern) for pattern in FILES):
                _fetch_large(name, str(found.sha), file.rfilename)
        return Path(snapshot_download(name, revision=wanted, allow_patterns=FILES))
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise CheckpointError(f"{name}: the hub has no such model, or not at revision {wanted}") from None
    except (NetworkError, OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"{name}: not fetched; what has come is kept for the next try: {reason}") from None


def _fetch_large(name: str, commit: str, file: str) -> None:
    """Put a file where `snapshot_download` looks for it, with a part file that outlives this process.

    The library itself goes on after a broken connection, but begins again in a new process
    (https://github.com/huggingface/huggingface_hub/pull/4228).
    """
    url = hf_hub_url(name, file, revision=commit)
    remote = get_hf_file_metadata(url)
    blobs = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model") / "blobs"
    if (blobs / str(remote.etag)).exists():
        return
    blobs.mkdir(parents=True, exist_ok=True)
    part = blobs / f"{remote.etag}.part"
    # The token is for the hub; its files lie on other hosts, behind addresses that are signed.
    token = get_token() if urlsplit(remote.location).netloc == urlsplit(url).netloc else None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with part.open("ab") as target:
        fcntl.flock(target, fcntl.LOCK_EX)  # another fetch goes on with it at this moment: wait
        if (blobs / str(remote.etag)).exists():
            return
        have = target.tell()
        http_get(remote.location, target, resume_size=have, headers=headers, expected_size=remote.size)
        target.flush()
        if re.fullmatch(r"[0-9a-f]{64}", str(remote.etag)) and _sha256(part) != remote.etag:
            part.unlink()
            raise OSError(f"{file} came damaged: its sha256 is not {remote.etag}")
        part.rename(blobs / str(remote.etag))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_hub_id(name: str) -> bool:
    return HUB_ID.fullmatch(name) is not None and not name.startswith(".")

"""Virtual environments with older releases of Celery, made once and kept beside the one that runs the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def python_with_celery(release: str) -> Path:
    """The interpreter of an environment with `celery[redis]` of a release such as 5.4.

    Without a package registry the test is skipped, in CI it fails.
    """
    folder = Path(sys.prefix) / "old-clients" / f"celery-{release}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        # pip is run from outside: an environment without one of its own is made in a moment.
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        # With the kombu of its time: a newer one wants a newer client of Redis than this Celery allows.
        wanted = [f"celery[redis]=={release}.*", f"kombu[redis]=={release}.*"]
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *wanted]
        installed = subprocess.run(pip, capture_output=True, text=True, timeout=240, check=False)
        if installed.returncode != 0:
            assert not os.environ.get("CI"), f"pip could not install Celery {release}:\n{installed.stderr[-2000:]}"
            pytest.skip(f"Celery {release} could not be installed: no package registry?")
        complete.touch()
    return python

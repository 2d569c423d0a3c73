"""The folder of one browser: its profile, its temporary files and all else that it writes."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import tempfile
import time
from pathlib import Path

from workers.children import Account

PREFIX = "lightdom-ocr-browser-"
STALE_S = 60


class Folder:
    """Made for one browser, locked while its maker lives, and removed with it."""

    def __init__(self, account: Account | None) -> None:
        remove_stale()
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.profile, self.home = self.path / "profile", self.path / "home"
        for folder in (self.profile, self.home):
            folder.mkdir(mode=0o700)
        if account is not None:
            for folder in (self.path, self.profile, self.home):
                os.chown(folder, account.uid, account.gid)

    def environment(self) -> dict[str, str]:
        """Of our own environment a browser gets what it needs; it holds passwords."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "TZ")}
        places = ("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
        return {"LANG": "C.UTF-8", **kept, **dict.fromkeys(places, str(self.home))}

    def launcher(self, browser: Path) -> Path:
        """A program that starts the browser so that it dies with its chromedriver, which dies with us."""
        tied = "setpriv --pdeathsig KILL " if shutil.which("setpriv") else ""
        program = self.path / browser.name
        # The headless shell opens no page of its own where it is given a profile, and chromedriver waits for one.
        page = " about:blank" if "headless-shell" in browser.name else ""
        program.write_text(f'#!/bin/sh\nexec {tied}{shlex.quote(str(browser.absolute()))} "$@"{page}\n')
        program.chmod(0o755)
        return program

    def remove(self) -> None:
        """Delete it with all that is in it. May be called again."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def remove_stale() -> None:
    """Delete what browsers left whose maker was killed: nobody holds the lock of such a folder any more."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if path.stat().st_mtime > time.time() - STALE_S:  # its maker may be about to lock it
                continue
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)

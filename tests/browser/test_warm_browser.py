"""One browser for many renders: nothing piles up, an old one is replaced, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest

from ocr_tasks.errors import BrowserUnavailable
from ocr_tasks.rendering import parse_render_options
from tests.browser.conftest import LIMITS, SMALL
from tests.browser.watching import Held, held_by
from tests.processes import alive, descendants
from tests.stack import until
from workers.sources.browser import Browser, Html
from workers.sources.browser.folder import PREFIX

OPTIONS = parse_render_options({**SMALL, "javascript": True})
PAGE = "<title>{n}</title><p>page {n}</p><script>window.kept = new Array(1e6).fill({n}); open('about:blank')</script>"


def test_forty_renders_in_a_row_leave_nothing_behind(programs: None) -> None:
    with Browser(LIMITS) as browser:
        seen = []
        for n in range(10):
            browser.render(Html(PAGE.format(n=n)), OPTIONS)
            seen.append(held_by(browser))
        # Renderers end a moment after their page: what counts is the most that was seen once the browser was warm.
        before = Held(*map(max, zip(*map(astuple, seen[4:]), strict=True)))
        group = browser.group
        for n in range(30):
            assert browser.render(Html(PAGE.format(n=n)), OPTIONS).text == f"page {n}"
        until(lambda: held_by(browser).processes <= before.processes, 10, "the end of renderers")
        after = held_by(browser)
        assert browser.group == group
        assert after.browser_mb < before.browser_mb * 1.2 + 30
        assert after.own_mb < before.own_mb + 10
        assert after.files <= before.files
        assert after.folders <= before.folders
        assert after.written_mb < before.written_mb + 5
    gone = held_by(browser)
    assert gone.folders == before.folders - 1
    assert group is not None
    assert not alive(group)


def test_a_browser_is_replaced_after_its_share_of_renders(programs: None) -> None:
    others = zombies()  # of other tests' stacks: what is orphaned below this process is its child from then on
    with Browser(replace(LIMITS, renders=2)) as browser:
        groups = []
        for n in range(3):
            browser.render(Html(PAGE.format(n=n)), OPTIONS)
            groups.append(browser.group)
    assert groups[0] is not None
    assert groups[1] is None
    assert groups[2] not in (None, groups[0])
    assert zombies() <= others


def zombies() -> set[int]:
    """Children of this process that nobody has buried."""
    return {pid for pid in descendants(os.getpid()) - {os.getpid()} if not alive(pid)}


def test_a_browser_dies_with_its_worker_and_its_folder_is_swept(programs: None, tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom tests.browser.conftest import *\nfrom workers.sources.browser import *\n"
        "b = Browser(LIMITS)\nb.render(Html('<p>x'), parse_render_options(SMALL))\nprint(b.group, flush=True)\n"
        "time.sleep(60)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    group = int(worker.stdout.readline())
    family = descendants(worker.pid) - {worker.pid}
    assert len(family) > 4
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    until(lambda: not any(map(alive, family)), what="the browser's end")
    assert not alive(group)
    left = list(Path(tempfile.gettempdir()).glob(f"{PREFIX}{worker.pid}-*"))
    for path in left:  # as if a while had passed
        os.utime(path, (0, 0))
    with Browser(LIMITS) as browser:
        browser.render(Html("<p>x"), OPTIONS)
    assert left
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize("name", ["browser_path", "chromedriver_path"])
def test_a_missing_browser_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths: dict[str, Any] = {name: str(tmp_path / "none")}
    with pytest.raises(BrowserUnavailable, match=f"OCR_{name.upper()}"):
        Browser(replace(LIMITS, **paths)).render(Html(""), OPTIONS)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrowserUnavailable, match="apt-get install chromium chromium-driver"):
        Browser(LIMITS).render(Html(""), OPTIONS)

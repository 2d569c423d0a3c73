"""The browser's processes: started by Selenium in a group and a folder of their own, and ended with both."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import structlog
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from urllib3.exceptions import HTTPError

from ocr_tasks.errors import BrowserUnavailable
from workers.children import become_subreaper, identity, tie_to, unprivileged
from workers.sources.browser.folder import Folder
from workers.sources.browser.limits import BrowserLimits
from workers.sources.browser.programs import browser_program, driver_program, switches

log = structlog.get_logger()

START_S = 60
SHARES = re.compile(r"^Pss_(?:Anon|Shmem): +(\d+) kB", re.MULTILINE)
# chromedriver's own choices that let pages do more than they should, or write more than is read.
UNWANTED = ["disable-popup-blocking", "enable-logging", "enable-automation", "enable-unsafe-extension-debugging"]


class BrowserProcess:
    """Chromium with its chromedriver. Its folder holds profile, temporary files and all else that it writes."""

    def __init__(self, limits: BrowserLimits) -> None:
        browser, driver = browser_program(limits), driver_program(limits)
        become_subreaper()  # what a killed group leaves behind becomes ours to bury
        self.account = unprivileged()
        self._folder = Folder(self.account)
        # Bound, and never listened on: the port of a proxy that refuses everything, and that nobody else can take.
        self._dead = socket.socket()
        self._dead.bind(("127.0.0.1", 0))
        self.dead_port: int = self._dead.getsockname()[1]
        self._service: Service | None = None
        self._strays: list[int] = []
        try:
            self._start(browser, driver)
        except BaseException:
            self.kill()
            raise
        self.endpoint = self._endpoint()
        self._strays = orphans_with(str(self._folder.path))

    def _start(self, browser: Path, driver: Path) -> None:
        self._service = Service(
            str(driver),
            env=self._folder.environment(),
            popen_kw={
                "start_new_session": True,
                "preexec_fn": tie_to(os.getpid(), signal.SIGKILL),
                **identity(self.account),
            },
        )
        options = Options()
        options.binary_location = str(self._folder.launcher(browser))
        options.add_experimental_option("excludeSwitches", UNWANTED)
        for switch in switches(self._folder.profile, self.dead_port, self.account):
            options.add_argument(switch)
        with self._killed_after(START_S):
            try:
                self._driver = webdriver.Chrome(options=options, service=self._service)
            except (WebDriverException, HTTPError, OSError) as error:
                log.error("browser_not_started", browser=str(browser), driver=str(driver), error=str(error)[:2000])
                raise BrowserUnavailable(
                    f"{browser.name} could not be started by {driver.name}; the log of this process says why."
                ) from None
        self._browser_pid = int(self._driver.capabilities["goog:processID"])
        self.version = f"{browser.name} {self._driver.capabilities['browserVersion']}"

    def _endpoint(self) -> str:
        """The address of the browser's own DevTools socket."""
        port, path = (self._folder.profile / "DevToolsActivePort").read_text().split()
        return f"ws://127.0.0.1:{port}{path}"

    @contextmanager
    def _killed_after(self, seconds: float) -> Iterator[None]:
        timer = threading.Timer(seconds, self.kill_group)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    # -- what it is ---------------------------------------------

    @property
    def group(self) -> int | None:
        """Its process group, which is its session as well; None before it was started."""
        process = self._service.process if self._service is not None else None
        return process.pid if process is not None else None

    @property
    def alive(self) -> bool:
        """Whether the browser itself runs."""
        return self.group is not None and alive(self._browser_pid)

    def memory_bytes(self) -> int:
        """What its processes hold, memory that several of them share counted once."""
        return sum(map(own_bytes, members(self.group))) if self.group else 0

    # -- its end ---------------------------------------------

    def kill(self) -> None:
        """End all of its processes at once, bury them and remove its folder. May be called again."""
        self.kill_group()
        if self._service is not None:
            if self._service.process is not None:
                self._service.process.wait()
                _bury(self._service.process.pid, self._strays)
            self._service.process = None  # type: ignore[assignment]  # else Selenium would wait for it on its way out
        self._dead.close()
        self._folder.remove()

    def kill_group(self) -> None:
        """End all of its processes, whoever has to bury them; for any thread."""
        if self.group is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.group, signal.SIGKILL)
        for pid in self._strays:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process runs and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def members(group: int) -> list[int]:
    """The processes of a group that are there, zombies included."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(int(process.name)) == group:
                found.append(int(process.name))
    return found


def orphans_with(word: str) -> list[int]:
    """Children of this process that have a word in their command line and a group of their own.

    Chromium's crash handlers leave its group; they end with it, and want to be buried as well.
    """
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(child.pid) != os.getpgid(0) and child.ppid() == os.getpid():
                command = " ".join(child.cmdline())
                if word in command and "chromedriver" not in command:
                    found.append(child.pid)
    return found


def _bury(group: int, strays: list[int], patience_s: float = 5) -> None:
    """Wait for the orphans of a killed group, which are our children now."""
    deadline = time.monotonic() + patience_s
    waiting = set(strays)
    while left := {*members(group), *waiting}:
        for pid in left:
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    waiting.discard(pid)
            except ChildProcessError:  # not ours: its own parent, dying as well, still has it, or it is gone
                waiting.discard(pid)
        if time.monotonic() > deadline:
            log.warning("browser_not_buried", group=group, processes=sorted(left))
            return
        time.sleep(0.01)


def own_bytes(pid: int) -> int:
    """The memory that a process has for itself, and its share of what it shares, without the files that it maps.

    Those are the program: how much of them counts as its own depends on whether another browser runs.
    """
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return sum(map(int, SHARES.findall(rollup))) * 1024
    except OSError:  # it is gone, or a sandboxed one that nobody may look into
        try:
            info = psutil.Process(pid).memory_info()
            return int(info.rss - info.shared)
        except psutil.Error:
            return 0

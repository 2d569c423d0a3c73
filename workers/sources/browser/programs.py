"""Which Chromium is started, as whom and with which switches."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import structlog

from ocr_tasks.errors import BrowserUnavailable
from workers.children import Account, identity
from workers.sources.browser.limits import BrowserLimits

log = structlog.get_logger()

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
INSTALL = "Install them (Debian: apt-get install chromium chromium-driver)"
ROOM_IN_SHM = 512 * 1024 * 1024

# Nothing that the browser does on its own account may reach out, and nothing but the proxy is ever asked for a name.
ALONE = (
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-extensions-with-background-pages",
    "--disable-component-update",
    "--disable-crash-reporter",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-field-trial-config",
    "--disable-notifications",
    "--disable-sync",
    "--dns-prefetch-disable",
    "--metrics-recording-only",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
    "--password-store=basic",
    "--disable-quic",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--proxy-bypass-list=<-loopback>",
)
# One process for all frames of a page: a context lives for one page and holds nobody's secrets, and one snapshot sees
# all of its frames.
OFF = (
    "AsyncDns,DnsOverHttps,NetworkPrediction,OptimizationHints,Translate,MediaRouter,InterestFeedContentSuggestions,"
    "AutofillServerCommunication,CertificateTransparencyComponentUpdater,Prerender2,PreconnectToSearch,WebUSB,"
    "IsolateOrigins,site-per-process,IsolateSandboxedIframes,OriginKeyedProcessesByDefault,OriginIsolationHeader,"
    "SpareRendererForSitePerProcess,GlobalMediaControls,DialMediaRouteProvider,LazyFrameLoading,WebTransport"
)
QUIET = (
    "--headless=new",
    "--disable-gpu",
    "--disable-site-isolation-trials",
    "--disable-backgrounding-occluded-windows",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-hang-monitor",
    "--disable-ipc-flooding-protection",
    "--disable-lcd-text",
    "--disable-prompt-on-repost",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--mute-audio",
    f"--disable-features={OFF}",
)


def browser_program(limits: BrowserLimits) -> Path:
    """The browser to start; raises BrowserUnavailable, which says what to install."""
    return _program(limits.browser_path, BROWSERS, "OCR_BROWSER_PATH", "Chromium")


def driver_program(limits: BrowserLimits) -> Path:
    """The `chromedriver` to start it with; raises BrowserUnavailable."""
    return _program(limits.chromedriver_path, ("chromedriver",), "OCR_CHROMEDRIVER_PATH", "chromedriver")


def _program(explicit: str | None, names: tuple[str, ...], setting: str, title: str) -> Path:
    if explicit is not None:
        if not os.access(explicit, os.X_OK) or Path(explicit).is_dir():
            raise BrowserUnavailable(f"{setting} names no program that can be run. Mend it, or leave it unset.")
        return Path(explicit)
    for name in names:
        if found := shutil.which(name):
            return Path(found)
    raise BrowserUnavailable(
        f"{title} is not on PATH ({', '.join(names)}). {INSTALL}, or name the program in {setting}."
    )


def switches(profile: Path, dead_port: int, account: Account | None) -> list[str]:
    """The command line. Whatever belongs to no context of ours goes to a port where nobody listens."""
    chosen = [*ALONE, *QUIET, f"--user-data-dir={profile}", f"--proxy-server=http://127.0.0.1:{dead_port}"]
    if not sandbox_works(account):
        chosen.append("--no-sandbox")
    shm = os.statvfs("/dev/shm") if Path("/dev/shm").is_dir() else None
    if shm is None or shm.f_bavail * shm.f_frsize < ROOM_IN_SHM:  # a container's usual 64 MB
        chosen.append("--disable-dev-shm-usage")
    return chosen


@cache
def sandbox_works(account: Account | None) -> bool:
    """Whether the kernel lets this user make the namespaces of which Chromium builds its sandbox."""
    try:
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--pid", "--net", "--fork", "true"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=10,
            check=False,
            **identity(account),
        )
        works = done.returncode == 0
    except (OSError, subprocess.SubprocessError):
        works = False
    if not works:
        log.warning("browser_without_sandbox", reason="no user namespaces for this user")
    return works

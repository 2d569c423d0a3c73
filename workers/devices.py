"""The CUDA devices of this machine, seen through NVML: nobody here loads CUDA, which would take memory on each."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import structlog

from ocr_tasks.settings import Settings

log = structlog.get_logger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"


@lru_cache(maxsize=1)
def nvml() -> Any:
    """NVML (the module pynvml), initialised; None where there is no driver, or nvidia-ml-py is not installed."""
    try:
        module = importlib.import_module("pynvml")
        module.nvmlInit()
    except ImportError:
        log.info("no_devices_seen", reason="nvidia-ml-py is not installed")
        return None
    except Exception as error:  # noqa: BLE001 - whatever NVML says: without it there is no device for us
        log.info("no_devices_seen", reason=str(error))
        return None
    return module


def visible_devices(env: Mapping[str, str] = os.environ, library: Any = None) -> list[str]:
    """The devices that this process may use, as CUDA_VISIBLE_DEVICES takes them.

    Those that the variable names, in its order: numbers, UUIDs or MIG names; without it all there are, by UUID, the
    instances of a partitioned card (MIG) instead of the card. As in CUDA, a list ends at the first entry that names no
    device.
    """
    library = library or nvml()
    if library is None:
        return []
    cards = [library.nvmlDeviceGetHandleByIndex(n) for n in range(library.nvmlDeviceGetCount())]
    if env.get(VISIBLE) is None:
        return [name for card in cards for name in _instances(library, card) or [_uuid(library, card)]]
    chosen: dict[str, None] = {}
    for word in env[VISIBLE].split(","):
        if not _is_device(word.strip(), len(cards)):
            break
        chosen[word.strip()] = None
    return list(chosen)


def _is_device(word: str, cards: int) -> bool:
    return int(word) < cards if word.isdecimal() else word.startswith(("GPU-", "MIG-"))


def _instances(library: Any, card: Any) -> list[str]:
    """The UUIDs of a card's MIG instances; none for a card that is not partitioned."""
    try:
        if not library.nvmlDeviceGetMigMode(card)[0]:
            return []
        count = library.nvmlDeviceGetMaxMigDeviceCount(card)
    except library.NVMLError:  # a card that cannot be partitioned
        return []
    found = []
    for n in range(count):
        with suppress(library.NVMLError):  # a place without an instance
            found.append(_uuid(library, library.nvmlDeviceGetMigDeviceHandleByIndex(card, n)))
    return found


def _uuid(library: Any, handle: Any) -> str:
    uuid = library.nvmlDeviceGetUUID(handle)
    return uuid.decode() if isinstance(uuid, bytes) else str(uuid)


@dataclass(frozen=True)
class DeviceReading:
    """How busy a device is (0..1; None where it does not say, as MIG instances) and how full."""

    utilisation: float | None
    used_bytes: int
    total_bytes: int


def reader_of_engine(settings: Settings) -> DeviceReader | None:
    """Of the device that an engine of this process uses: the first that it sees, if it uses any."""
    devices = visible_devices() if settings.engine == "deepseek" and settings.gpu_enabled else []
    return DeviceReader(devices[0]) if devices else None


class DeviceReader:
    """Looks at one device. `name`: as CUDA_VISIBLE_DEVICES has it; a number is taken in the order of the PCI bus."""

    def __init__(self, name: str, library: Any = None) -> None:
        self.name = name
        self._nvml = library or nvml()
        self._handle = self._find() if self._nvml else None

    def read(self) -> DeviceReading | None:
        """What the device says now; None when it says nothing."""
        if self._handle is None:
            return None
        try:
            memory = self._nvml.nvmlDeviceGetMemoryInfo(self._handle)
        except self._nvml.NVMLError as error:
            log.warning("device_not_read", device=self.name, error=str(error))
            return None
        return DeviceReading(self._utilisation(), int(memory.used), int(memory.total))

    def _utilisation(self) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu) / 100
        except self._nvml.NVMLError:
            return None

    def _find(self) -> Any:
        try:
            if self.name.isdecimal():
                return self._nvml.nvmlDeviceGetHandleByIndex(int(self.name))
            return self._nvml.nvmlDeviceGetHandleByUUID(self.name)
        except self._nvml.NVMLError as error:
            log.warning("device_not_found", device=self.name, error=str(error))
            return None

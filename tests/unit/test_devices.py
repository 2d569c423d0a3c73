"""Which devices a pool sees, and what they say: against a stand-in for NVML, which needs a driver."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from workers.devices import DeviceReader, DeviceReading, visible_devices


class NVMLError(Exception):
    pass


@dataclass
class Card:
    uuid: str
    instances: list[str] = field(default_factory=list)  # of MIG; "" is a place without one


class Nvml:
    """The calls of NVML that are used, on cards that are made up. Handles are cards, or UUIDs of instances."""

    NVMLError = NVMLError

    def __init__(self, *cards: Card) -> None:
        self.cards = cards

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        if index >= len(self.cards):
            raise NVMLError("Invalid Argument")
        return self.cards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> object:
        known = {card.uuid: card for card in self.cards} | {
            name: name for card in self.cards for name in card.instances
        }
        if uuid not in known:
            raise NVMLError("Not Found")
        return known[uuid]

    def nvmlDeviceGetUUID(self, handle: Card | str) -> str:
        return handle if isinstance(handle, str) else handle.uuid

    def nvmlDeviceGetMigMode(self, card: Card) -> list[int]:
        if not card.instances:
            raise NVMLError("Not Supported")
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, card: Card) -> int:
        return len(card.instances)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: Card, index: int) -> str:
        if not card.instances[index]:
            raise NVMLError("Not Found")
        return card.instances[index]

    def nvmlDeviceGetUtilizationRates(self, handle: Card | str) -> SimpleNamespace:
        if isinstance(handle, str):
            raise NVMLError("Not Supported")
        return SimpleNamespace(gpu=37, memory=11)

    def nvmlDeviceGetMemoryInfo(self, handle: Card | str) -> SimpleNamespace:
        return SimpleNamespace(used=3 * 2**30, free=2**30, total=4 * 2**30)


TWO = Nvml(Card("GPU-a"), Card("GPU-b"))
MIXED = Nvml(Card("GPU-a"), Card("GPU-b", ["MIG-x", "", "MIG-y"]))


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (None, ["GPU-a", "GPU-b"]),
        ("", []),
        ("-1", []),
        ("1", ["1"]),
        ("1, 0", ["1", "0"]),
        ("0,0", ["0"]),
        ("0,2,1", ["0"]),
        ("0,-1,1", ["0"]),
        ("GPU-b", ["GPU-b"]),
        ("MIG-x,GPU-a", ["MIG-x", "GPU-a"]),
        ("NoDevFiles", []),
    ],
)
def test_a_list_of_devices_is_read_as_cuda_reads_it(given: str | None, seen: list[str]) -> None:
    assert visible_devices({} if given is None else {"CUDA_VISIBLE_DEVICES": given}, TWO) == seen


def test_the_instances_of_a_partitioned_card_stand_for_it() -> None:
    assert visible_devices({}, MIXED) == ["GPU-a", "MIG-x", "MIG-y"]


def test_without_a_driver_there_is_no_device_whatever_the_list_says() -> None:
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "0,1"}) == []


@pytest.mark.parametrize("name", ["GPU-b", "1"])
def test_a_device_says_how_busy_and_how_full_it_is(name: str) -> None:
    assert DeviceReader(name, TWO).read() == DeviceReading(0.37, 3 * 2**30, 4 * 2**30)


def test_an_instance_says_how_full_it_is_only() -> None:
    assert DeviceReader("MIG-y", MIXED).read() == DeviceReading(None, 3 * 2**30, 4 * 2**30)


def test_a_device_that_nvml_does_not_know_says_nothing() -> None:
    assert DeviceReader("GPU-z", TWO).read() is None
    assert DeviceReader("7", TWO).read() is None

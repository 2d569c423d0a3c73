"""A node's measurements as they lie in its row: written by the node, rendered by web, so that no node opens a port."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

PREFIX = "lightdom_ocr_"


class _Frozen(BaseModel):
    # A newer node may say more than an older web understands.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Sample(_Frozen):
    """One number. `name` with its suffix, such as `..._bucket`."""

    name: str
    labels: dict[str, str] = {}
    value: float


class Family(_Frozen):
    """The samples of one metric, without the labels that say whose they are."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    samples: tuple[Sample, ...] = ()


class Rates(_Frozen):
    """What a node did in the last minute, or since it started, a second: for people who look at its row."""

    pages: float = 0.0
    vision_tokens: float = 0.0
    text_tokens: float = 0.0


class NodeSnapshot(_Frozen):
    """Everything that a node measures. Counters start at 0 when the node does. `device`: what it runs on."""

    device: str = "cpu"
    last_minute: Rates = Rates()
    families: tuple[Family, ...] = ()

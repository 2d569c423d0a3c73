"""The options of each kind of job."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationInfo, field_validator

from ocr_tasks.contract import Format, Kind, OcrOptions, Operation, Priority, Wire, page_spans, validated
from ocr_tasks.kinds.sources import CallersId
from ocr_tasks.rendering import RenderOptions, check_viewport

ModeOption = Literal["tiny", "small", "base", "large", "gundam", "auto"]
Dtype = Literal["bf16", "int8", "int4"]


class LaneOptions(Wire):
    """What every kind has; `reading` is what an engine is told of it."""

    priority: Priority = Priority.INTERACTIVE

    @property
    def result_format(self) -> Format:
        return Format.JSON

    @property
    def page_range(self) -> str | None:
        return None

    def operations(self) -> frozenset[Operation]:
        """What an engine must be able to do for this job."""
        return frozenset()

    def reading(self) -> OcrOptions:
        return OcrOptions(priority=self.priority)

    def sent(self) -> dict[str, Any]:
        """The options that were set, as a request or a message carries them."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class RenderJobOptions(RenderOptions, LaneOptions):
    """How a page is rendered."""


class TokenOptions(Wire):
    """How vision tokens are made and stored.

    compression_ratio: text tokens per vision token to aim at; picks the mode when that is `auto`. min_quality: the
    smallest mode is taken whose vision tokens decode to the page's text so well. verify: decode them and say how well.
    """

    mode: ModeOption = "auto"
    compression_ratio: float | None = Field(None, gt=0, le=100)
    min_quality: float | None = Field(None, gt=0, le=1)
    dtype: Dtype = "int8"
    verify: bool = False

    @field_validator("compression_ratio", "min_quality")
    @classmethod
    def _one_way_to_a_mode(cls, given: float | None, info: ValidationInfo) -> float | None:
        before = [
            name
            for name, is_set in (
                ("mode", info.data.get("mode", "auto") != "auto"),
                ("compressionRatio", info.data.get("compression_ratio") is not None),
            )
            if is_set
        ]
        if given is not None and before:
            raise ValueError(f"{before[0]} picks the mode already; give one of the two")
        return given

    @property
    def decodes(self) -> bool:
        """Whether the vision tokens are decoded at once, to see what they are worth."""
        return self.verify or self.min_quality is not None


class CompressOptions(RenderOptions, TokenOptions, LaneOptions):
    """How a page is rendered, and turned into vision tokens. pages: of a file."""

    pages: str | None = Field(None, max_length=1000)

    @property
    def page_range(self) -> str | None:
        return self.pages

    def operations(self) -> frozenset[Operation]:
        return frozenset({Operation.ENCODE, Operation.DECODE} if self.decodes else {Operation.ENCODE})

    def reading(self) -> OcrOptions:
        return OcrOptions(priority=self.priority, mode=self.mode, compression_ratio=self.compression_ratio)


class DecompressOptions(LaneOptions):
    """What vision tokens are to become: `format` is that of `domSnapshot`."""

    format: Literal["markdown", "html", "text"] = "html"

    def operations(self) -> frozenset[Operation]:
        return frozenset({Operation.DECODE})


class CrawlOptions(RenderOptions, TokenOptions, LaneOptions):
    """How a page is rendered, read, and turned into vision tokens.

    session_id: the crawler's own. compress: whether there are vision tokens; None: where an engine can make them.
    """

    session_id: CallersId | None = None
    compress: bool | None = None

    def operations(self) -> frozenset[Operation]:
        if not self.compress:
            return frozenset({Operation.READ})
        return frozenset({Operation.READ, Operation.ENCODE, *({Operation.DECODE} if self.decodes else ())})

    def reading(self) -> OcrOptions:
        return OcrOptions(priority=self.priority, mode=self.mode, compression_ratio=self.compression_ratio)


JobOptions = OcrOptions | RenderJobOptions | CompressOptions | DecompressOptions | CrawlOptions

OPTIONS: dict[Kind, type[JobOptions]] = {
    Kind.OCR: OcrOptions,
    Kind.RENDER: RenderJobOptions,
    Kind.COMPRESS: CompressOptions,
    Kind.DECOMPRESS: DecompressOptions,
    Kind.CRAWL: CrawlOptions,
}


def options_of(kind: str, stored: dict[str, Any]) -> JobOptions:
    """The options in a job's row."""
    return OPTIONS[Kind(kind)].model_validate(stored)


_Options = TypeVar("_Options", bound=Wire)


def parse_job_options(model: type[_Options], given: dict[str, Any]) -> _Options:
    """Options as a caller gave them (camelCase); raises UnknownField, InvalidOption or InvalidPageRange."""
    options = validated(model, given)
    if isinstance(options, RenderOptions):
        check_viewport(options)
    spec = getattr(options, "pages", None)
    if spec is not None:
        page_spans(spec)
    return options

"""What crosses a boundary: kinds, statuses, sources, options, page results, names of tasks and queues."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel

from ocr_tasks.errors import (
    InvalidId,
    InvalidOption,
    InvalidPageRange,
    InvalidRequest,
    TooManyPages,
    UnknownField,
)


class Wire(BaseModel):
    """A frozen model: camelCase in JSON, snake_case in Python, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    def wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)


class Kind(StrEnum):
    OCR = "ocr"
    RENDER = "render"
    COMPRESS = "compress"
    DECOMPRESS = "decompress"
    CRAWL = "crawl"


class Status(StrEnum):
    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    FINISHING = "finishing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})


class Priority(StrEnum):
    """A job's lane: `interactive` goes before `bulk` wherever something waits."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


class Operation(StrEnum):
    """What an engine can do to a page."""

    READ = "read"
    ENCODE = "encode"
    DECODE = "decode"


class Format(StrEnum):
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    TEXT = "text"


MEDIA_TYPE_OF_FORMAT = {
    Format.JSON: "application/json",
    Format.MARKDOWN: "text/markdown; charset=utf-8",
    Format.HTML: "text/html; charset=utf-8",
    Format.TEXT: "text/plain; charset=utf-8",
}

# What each engine is able to do, known without importing it: web refuses early what no configured engine can do.
ENGINE_OPERATIONS: dict[str, frozenset[Operation]] = {
    "rapid": frozenset({Operation.READ}),
    "deepseek": frozenset({Operation.READ, Operation.ENCODE, Operation.DECODE}),
    "endpoint": frozenset({Operation.READ}),
    "nano": frozenset({Operation.READ, Operation.ENCODE, Operation.DECODE}),
}

NOTICES = {"nano": "nano: a small demonstration model; real documents go to rapid or to the published weights"}
"""What everybody has to know who sees a result of an engine or a model, by its name."""


def notice_of(revision: str | None) -> str | None:
    """What has to be said of a page, by the `revision` of what read it: the model's name, `@`, and more."""
    return NOTICES.get((revision or "").partition("@")[0])


# -- what comes in ---------------------------------------------


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("Characters that cannot be printed are not allowed")
    return name


FileName = Annotated[str, Field(max_length=255), AfterValidator(_printable)]
"""For people to read, and storable anywhere: it is never used as a path."""


class Source(Wire):
    """Where a job's pages come from: bytes in the blob store."""

    blob: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    media_type: str = Field(pattern=r"^[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+$", max_length=100)
    size_bytes: int = Field(ge=1, lt=2**63)
    filename: FileName | None = None


Prompt = Literal["document", "free", "figure", "describe", "locate"]
LONGEST_LOCATE = 500
# Models write their special tokens like tags. Looked for in what a caller wants found, where none may get in.
TOKEN_LIKE = re.compile(r"<(?=[^\s\d<=>])|[|｜]\s*>")


class OcrOptions(Wire):
    """How a document is to be read."""

    format: Format = Format.JSON
    mode: Literal["tiny", "small", "base", "large", "gundam", "auto"] = "auto"
    prompt: Prompt = "document"
    locate: str | None = Field(None, max_length=LONGEST_LOCATE, validate_default=True)
    pages: str | None = Field(None, max_length=1000)
    compression: bool = False
    compression_ratio: float | None = Field(None, gt=0, le=100)
    include_layout: bool = True
    extract_tables: bool = True
    priority: Priority = Priority.INTERACTIVE
    # Excluded from every dump: it travels in the entry task's message and nowhere else.
    password: SecretStr | None = Field(None, max_length=256, exclude=True, repr=False)

    @field_validator("password")
    @classmethod
    def _without_nul(cls, password: SecretStr | None) -> SecretStr | None:
        # PDFium would take what stands before it for the whole.
        if password is None or not password.get_secret_value():
            return None  # an empty field of a form
        if "\0" in password.get_secret_value():
            raise ValueError("NUL characters are not allowed")
        return password

    @field_validator("locate")
    @classmethod
    def _locatable(cls, locate: str | None, info: ValidationInfo) -> str | None:
        """Text that a prompt can hold, there if and only if the prompt is `locate`."""
        locate = (locate or "").strip() or None  # an empty field of a form is none
        prompt = info.data.get("prompt")  # missing when it was itself refused
        if locate is None and prompt == "locate":
            raise ValueError("The text to look for is needed with prompt=locate")
        if locate is not None and prompt not in ("locate", None):
            raise ValueError(f"Only prompt=locate takes a text to look for, and prompt is {prompt}")
        if locate is not None and not locate.isprintable():
            raise ValueError("Characters that cannot be printed are not allowed")
        if locate is not None and TOKEN_LIKE.search(locate):
            raise ValueError("'<' right before a letter or a mark, and '|>', are special to the model")
        return locate

    def sent(self) -> dict[str, Any]:
        """The options that were set as a request or a message carries them, the password included."""
        given = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return given | ({"password": self.password.get_secret_value()} if self.password else {})

    @property
    def result_format(self) -> Format:
        return self.format

    @property
    def page_range(self) -> str | None:
        return self.pages

    def operations(self) -> frozenset[Operation]:
        """What an engine must be able to do for this job."""
        return frozenset({Operation.READ, Operation.ENCODE} if self.compression else {Operation.READ})

    def reading(self) -> OcrOptions:
        """What an engine is told."""
        return self


def parse_options(given: dict[str, Any]) -> OcrOptions:
    """Options as a caller gave them (camelCase).

    Raises UnknownField, InvalidOption or InvalidPageRange, each naming the field and the value.
    """
    options = validated(OcrOptions, given)
    if options.pages is not None:
        page_spans(options.pages)
    return options


_Model = TypeVar("_Model", bound=Wire)


def validated(model: type[_Model], given: dict[str, Any]) -> _Model:
    """A model from what a caller gave (camelCase); raises UnknownField or InvalidOption, naming field and value."""
    if not isinstance(given, dict):
        raise InvalidRequest(f"An object with named fields is needed; got {_short(repr(given))}.")
    names = {field.alias or name for name, field in model.model_fields.items()}
    unknown = sorted(set(given) - names)
    if unknown:
        known = ", ".join(sorted(names))
        name = _short(str(unknown[0]))
        raise UnknownField(f"Unknown field {name!r}. Known fields: {known}.", field=name)
    try:
        return model.model_validate(given, by_alias=True, by_name=False)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> InvalidOption:
    """The first thing that is wrong, with the value that was given, unless that is secret."""
    first = error.errors(include_url=False)[0]
    field, said = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
    overstepped = [value for name, value in first.get("ctx", {}).items() if name in LIMITS]
    limits = {"limit": int(overstepped[0])} if overstepped else {}
    if first["loc"][:1] in SECRET:
        return InvalidOption(f"{field}: {said}.", field=field, **limits)
    given = first.get("input")
    return InvalidOption(
        f"{field}: {said}; got {_short(repr(given))}.", field=field, value=_short(str(given)), **limits
    )


SECRET = (("password",), ("headers",))
"""Fields whose values are told to nobody, the one who sent them included: what is said may be logged."""

LIMITS = ("max_length", "min_length", "le", "ge", "lt", "gt")
"""Where pydantic's errors hold the limit that was overstepped."""


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:199]}…"


def parse_id(given: str) -> UUID:
    """An id from an address; raises InvalidId."""
    try:
        return UUID(given)
    except ValueError:
        raise InvalidId(f"{given[:80]!r} is not a UUID.", value=given[:80]) from None


# -- what comes out ---------------------------------------------

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels of the page's image; x2 and y2 are the first that lie outside."""

BlockKind = Literal["heading", "paragraph", "table", "figure", "list", "formula", "other"]
Flag = Literal["no_eos", "repetition", "empty", "truncated"]
Mode = Literal["tiny", "small", "base", "large", "gundam"]
TokenDtype = Literal["bf16", "int8", "int4"]
"""How vision tokens are stored: exactly as they are decoded, or in a half or a quarter of the bits."""


class Block(Wire):
    """A piece of a page's layout. `box`: in the page's image, None where the engine did not say; `score` in 0..1."""

    kind: BlockKind
    text: str
    box: Box | None
    score: float | None = None


class PageResult(Wire):
    """What an engine made of a page. Blocks are in reading order; times in milliseconds.

    `figures`: boxes of the pictures that `markdown` shows as `figures/1`, `figures/2` ...; whoever stores the page cuts
    them out and puts their addresses in. Flags: `no_eos` (the model never said that it is done), `truncated` (it was
    stopped at its length limit while it still had something new to say), `repetition` (its end goes round in circles),
    `empty` (neither text nor figure).
    `mode` is the resolution mode it was read in, where the engine has such; `retried_from` the mode of a first reading
    that was flagged and therefore thrown away.
    """

    text: str
    markdown: str
    blocks: tuple[Block, ...] = ()
    figures: tuple[Box, ...] = ()
    flags: tuple[Flag, ...] = ()
    vision_tokens: int | None = None
    text_tokens: int | None = None
    mode: Mode | None = None
    retried_from: Mode | None = None
    inference_ms: int = 0


# -- names ---------------------------------------------

FIGURE_PATH = re.compile(r"/api/jobs/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/pages/[0-9]{1,9}/figures/[0-9]{1,4}")


def figure_path(job_id: UUID, page_no: int, figure_no: int) -> str:
    """Where the web service shows a picture cut out of a page; figures count from 1."""
    return f"/api/jobs/{job_id}/pages/{page_no}/figures/{figure_no}"


class TaskName(StrEnum):
    """Names of the Celery tasks.

    The first five are the entry tasks, one for each kind: their task id is the job's id. Callers send these and
    `CANCEL`.
    """

    OCR = "ocr_tasks.ocr"
    RENDER = "ocr_tasks.render"
    COMPRESS = "ocr_tasks.compress"
    DECOMPRESS = "ocr_tasks.decompress"
    CRAWL = "ocr_tasks.crawl"
    CANCEL = "ocr_tasks.cancel"
    PREPARE_RANGE = "ocr_tasks.prepare_range"
    READ_PAGE = "ocr_tasks.read_page"
    FINISH = "ocr_tasks.finish"


TASK_OF_KIND = {
    Kind.OCR: TaskName.OCR,
    Kind.RENDER: TaskName.RENDER,
    Kind.COMPRESS: TaskName.COMPRESS,
    Kind.DECOMPRESS: TaskName.DECOMPRESS,
    Kind.CRAWL: TaskName.CRAWL,
}
KIND_OF_TASK = {task: kind for kind, task in TASK_OF_KIND.items()}

HIDDEN = "(hidden)"
"""`argsrepr` and `kwargsrepr` of an entry task, as events, logs and Flower show it: its options may hold a password."""


def prepare_queue(priority: Priority) -> str:
    """The queue of the tasks that parse sources and assemble results."""
    return f"prepare.{priority}"


def browser_queue(priority: Priority) -> str:
    """The queue of the entry tasks that render a page."""
    return f"browser.{priority}"


def engine_queue(engine: str, priority: Priority) -> str:
    """The queue of the page tasks of one engine."""
    return f"{engine}.{priority}"


def queues() -> list[str]:
    """Every queue there is, the ones to be served first in front."""
    served = [prepare_queue, browser_queue, *(lambda p, e=e: engine_queue(e, p) for e in ENGINE_OPERATIONS)]
    return [queue(priority) for queue in served for priority in Priority]


def parse_pages(spec: str | None, page_count: int) -> list[int]:
    """The pages of `page_count` that a range such as `1-3,5,8-` names: ascending, each once, from 1.

    Raises InvalidPageRange, which names the part that is wrong.
    """
    if spec is None:
        return list(range(1, page_count + 1))
    chosen: set[int] = set()
    for low, high in page_spans(spec):
        highest = high if high is not None else max(low, page_count)
        if highest > page_count:
            raise InvalidPageRange(
                f"Page {highest} was asked for; the document has {page_count} page(s).",
                field="pages",
                value=spec[:100],
                limit=page_count,
            )
        chosen.update(range(low, highest + 1))
    return sorted(chosen)


def select_pages(spec: str | None, page_count: int, *, limit: int) -> list[int]:
    """Like `parse_pages`, for a job that may read `limit` pages; raises TooManyPages as well."""
    chosen = parse_pages(spec, page_count)
    if len(chosen) > limit:
        raise TooManyPages(
            f"{len(chosen)} pages are to be read; the limit is {limit}. "
            f"Choose some with `pages`, such as pages=1-{limit}.",
            value=len(chosen),
            limit=limit,
        )
    return chosen


def page_spans(spec: str) -> list[tuple[int, int | None]]:
    """The spans of a page range, first and last page each (None: to the end); raises InvalidPageRange."""
    return [_page_span(part.strip(), spec) for part in spec.split(",")]


def _page_span(part: str, spec: str) -> tuple[int, int | None]:
    matched = re.fullmatch(r"([0-9]{1,7})(?:\s*(-)\s*([0-9]{1,7})?)?", part)
    if not matched:
        raise InvalidPageRange(
            f"{part[:40]!r} is not a page or a range of pages; write them like 1-3,5 or 8-.",
            field="pages",
            value=spec[:100],
        )
    low, dash, last = matched.groups()
    high = int(last) if last else None if dash else int(low)
    if int(low) < 1 or (high is not None and high < int(low)):
        raise InvalidPageRange(
            f"{part[:40]!r} does not go upward from 1; write pages like 1-3,5 or 8-.", field="pages", value=spec[:100]
        )
    return int(low), high

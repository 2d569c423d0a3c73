"""One tree of errors: each has a stable code, an HTTP status and says whether trying again can help.

`detail` is public: it names the value and the limit, and nothing of the machine it happened on.
"""

from __future__ import annotations

from typing import Any, ClassVar

Problem = dict[str, Any]


class OcrError(Exception):
    """Base of every error a caller may see; `problem()` is its RFC 9457 form."""

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong inside the service"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str | None = None, **extensions: Any) -> None:
        self.detail = storable(detail or self.title)
        super().__init__(self.detail)
        self.extensions = {
            name: storable(value) if isinstance(value, str) else value for name, value in extensions.items()
        }

    def problem(self) -> Problem:
        """The error as a problem document (RFC 9457), extensions such as `value` and `limit` included."""
        return {
            "type": f"urn:lightdom-ocr:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.extensions,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.detail, self.extensions)


def storable(text: str) -> str:
    """Text that JSON, UTF-8 and Postgres all take: without NUL and without halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _rebuild(cls: type[OcrError], detail: str, extensions: dict[str, Any]) -> OcrError:
    return cls(detail, **extensions)


# -- what the caller sent ---------------------------------------------


class InvalidRequest(OcrError):
    code, title, status = "invalid_request", "The request is not valid", 400


class UnknownField(InvalidRequest):
    code, title = "unknown_field", "The request has a field that this route does not know"


class InvalidOption(InvalidRequest):
    code, title, status = "invalid_option", "An option has a value that is not allowed", 422


class InvalidPageRange(InvalidOption):
    code, title = "invalid_page_range", "The page range is not valid"


class InvalidId(InvalidRequest):
    code, title = "invalid_id", "The id is not a UUID"


class InvalidUrl(InvalidRequest):
    code, title, status = "invalid_url", "The URL is not one that can be fetched", 422


class NotFound(OcrError):
    code, title, status = "not_found", "There is nothing at this address", 404


class MethodNotAllowed(OcrError):
    code, title, status = "method_not_allowed", "This address does not answer this method", 405


class NotAcceptable(OcrError):
    code, title, status = "unsupported_format", "The result cannot be given in this format", 406


class NotReady(OcrError):
    code, title, status, retryable = "not_ready", "It is not ready yet", 409, True


class Conflict(OcrError):
    code, title, status = "conflict", "The job is not in a state that allows this", 409


class Gone(OcrError):
    code, title, status = "gone", "It was here, and its retention time is over", 410


class TooLarge(OcrError):
    code, title, status = "body_too_large", "The request is larger than allowed", 413


class UnsupportedMediaType(OcrError):
    code, title, status = "unsupported_media_type", "This kind of file cannot be read", 415


class OperationUnavailable(OcrError):
    code, title, status = "operation_unavailable", "No configured engine can do this", 422


# -- what the source turned out to be ---------------------------------------------


class SourceError(OcrError):
    """The source itself is at fault: trying again cannot help."""

    code, title, status = "invalid_source", "The source cannot be read", 422


class EmptySource(SourceError):
    code, title = "empty_file", "The file is empty"


class BrokenSource(SourceError):
    code, title = "broken_file", "The file is damaged or cut off"


class EncryptedSource(SourceError):
    code, title = "password_required", "The document is encrypted and needs a password"


class WrongPassword(EncryptedSource):
    code, title = "wrong_password", "The given password does not open the document"


class TooManyPages(SourceError):
    code, title = "too_many_pages", "The document has more pages than allowed"


class NoPages(SourceError):
    code, title = "no_pages", "The document has no pages"


class PageTooLarge(SourceError):
    code, title = "page_too_large", "A page is larger than allowed"


class InvalidVisionTokens(SourceError):
    """Its extension `reason` is not_vision_tokens, version, header, truncated, damaged, other_model ..."""

    code, title = "invalid_vision_tokens", "The stored vision tokens cannot be used"


class ParserDied(SourceError):
    code, title = "parser_died", "The source made its parser crash or run out of time or memory"


class AddressForbidden(SourceError):
    code, title = "address_forbidden", "The URL leads to an address that may not be reached"


class UrlUnreachable(SourceError):
    code, title = "url_unreachable", "The URL's server could not be reached, or does not speak HTTP"


class UrlStatus(SourceError):
    code, title = "url_status", "The URL's server answered with something other than success"


class UrlTimeout(SourceError):
    code, title = "url_timeout", "The URL's server took too long"


class UrlTooLarge(SourceError):
    code, title = "url_too_large", "What the URL leads to is larger than allowed"


class RenderFailed(SourceError):
    code, title = "render_failed", "The page made its browser crash, or use too much memory"


class RenderTimeout(RenderFailed):
    code, title = "render_timeout", "The page took longer than its deadline"


# -- what happened to a page ---------------------------------------------


class PageError(OcrError):
    code, title, status = "page_failed", "The page could not be read", 422


class EngineFailed(PageError):
    code, title = "engine_failed", "The engine failed on this page"


class EngineCrashed(PageError):
    code, title = "engine_crashed", "The engine's process died on this page"


class PageTimeout(PageError):
    code, title = "page_timeout", "The page took longer than its deadline"


class WorkerLost(PageError):
    code, title = "worker_lost", "The workers that held this page died, again and again"


class NoPageRead(OcrError):
    code, title, status = "no_page_succeeded", "None of the pages could be read", 422


# -- the service itself ---------------------------------------------


class ServiceUnavailable(OcrError):
    code, title, status, retryable = (
        "service_unavailable",
        "A part of the service is not reachable",
        503,
        True,
    )


class BrowserUnavailable(OcrError):
    code, title, status = "browser_unavailable", "There is no browser that could render pages", 503


class StorageFull(OcrError):
    code, title, status, retryable = "storage_full", "The blob store has no room left", 507, True


class BlobMissing(OcrError):
    code, title, status = "blob_missing", "The stored bytes are gone", 500

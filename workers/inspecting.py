"""The first step of a job: what its source is, how many pages it has, and which of them the job is about."""

from __future__ import annotations

import tempfile
from uuid import UUID

import structlog
from pydantic import SecretStr

from ocr_tasks.contract import Kind, select_pages
from ocr_tasks.errors import InvalidOption, OcrError, ServiceUnavailable, StorageFull
from ocr_tasks.jobs.compressions import newest_compression
from ocr_tasks.jobs.finishing import renew_job
from ocr_tasks.jobs.harvests import find_harvest
from ocr_tasks.jobs.inspecting import (
    InspectClaim,
    Inspected,
    claim_inspect,
    fail_inspect,
    give_back_inspect,
    replace_source,
    set_pages,
)
from ocr_tasks.kinds.options import TokenOptions
from ocr_tasks.kinds.sources import StoredSource, entry_route
from workers.leases import renewed
from workers.prepare import stopping
from workers.runtime import Runtime
from workers.sources.documents import inspect, unlock
from workers.sources.limits import limits_of

log = structlog.get_logger(__name__)


def inspect_job(runtime: Runtime, job_id: UUID, password: SecretStr | None = None) -> str:
    """Find out how many pages a job has, and open its first ranges; returns what became of it, for the log."""
    settings = runtime.settings
    claim = claim_inspect(runtime.db, job_id, settings.lease_s)
    if claim is None:
        return "nothing to do"
    with renewed(lambda: renew_job(runtime.db, job_id, claim.attempt, settings.lease_s), settings.lease_s):
        try:
            if claim.source.is_fetched(claim.kind):
                return _passed_on(runtime, claim, password)
            found = inspected(runtime, claim, password)
        except (ServiceUnavailable, StorageFull) as error:
            return _given_back(runtime, claim, password, error)
        except OcrError as error:
            log.info("source_refused", code=error.code, detail=error.detail)
            fail_inspect(runtime.db, claim, error)
            return f"failed: {error.code}"
    progress = set_pages(runtime.db, claim, found)
    if progress is None:
        return "refused: the claim was lost"
    runtime.flow.after(progress)
    return f"{found.pages_total} page(s)"


def inspected(runtime: Runtime, claim: InspectClaim, password: SecretStr | None) -> Inspected:
    """Look into a source; raises what its parser, the browser or the web raises, and TooManyPages."""
    source = claim.source
    if source.is_rendered(claim.kind):
        from workers.harvesting import harvested  # only the browser pool has the browser's packages

        return harvested(runtime, claim)
    if claim.kind == Kind.DECOMPRESS:
        return _of_stored_tokens(runtime, claim)
    return _of_file(runtime, claim, password) if source.blob else _of_harvest(runtime, claim)


def _of_file(runtime: Runtime, claim: InspectClaim, password: SecretStr | None) -> Inspected:
    """Raises TooManyPages, SourceError, InvalidPageRange, InvalidOption."""
    source, fields = claim.source, dict[str, str]()
    if isinstance(claim.options, TokenOptions) and claim.options.min_quality is not None:
        raise InvalidOption(
            "minQuality: only of a rendered page is it known what stands on it; of a file, nobody can say.",
            field="minQuality",
            value=claim.options.min_quality,
        )
    limits = limits_of(runtime.settings)
    word = password.get_secret_value() if password else None
    assert source.blob is not None
    assert source.media_type is not None
    with runtime.blobs.as_path(source.blob) as path:
        source_pages = inspect(path, source.media_type, limits=limits, password=word)
        total = len(select_pages(claim.options.page_range, source_pages, limit=runtime.settings.max_pages))
        if word is None:
            return Inspected(source_pages, total, fields)
        # A file without a name: nothing decrypted is left behind, however this process ends.
        with tempfile.TemporaryFile() as copy:
            if unlock(path, source.media_type, copy, limits=limits, password=word):
                copy.seek(0)
                fields["prepared"] = runtime.blobs.put_stream(copy)[0]
        return Inspected(source_pages, total, fields)


def _of_harvest(runtime: Runtime, claim: InspectClaim) -> Inspected:
    """A harvest that is there already, by its dom_id; raises NotFound."""
    assert claim.source.dom_id is not None
    row = find_harvest(runtime.db, claim.source.dom_id)
    count = len(row["pages"])
    total = len(select_pages(claim.options.page_range, count, limit=runtime.settings.max_pages))
    return Inspected(count, total, {"harvestId": str(row["id"])})


def _of_stored_tokens(runtime: Runtime, claim: InspectClaim) -> Inspected:
    """The pages whose vision tokens are stored under a dom_id; raises NotFound."""
    assert claim.source.dom_id is not None
    rows = newest_compression(runtime.db, claim.source.dom_id)
    return Inspected(len(rows), len(rows), {"compressedBy": str(rows[0]["job_id"])})


def _passed_on(runtime: Runtime, claim: InspectClaim, password: SecretStr | None) -> str:
    """Fetch a file of the web, and let the pool look into it that is made for that."""
    from workers.fetching import fetched

    source = StoredSource.model_validate(claim.source.model_dump() | fetched(runtime, claim.source))
    if not replace_source(runtime.db, claim, source):
        return "refused: the claim was lost"
    runtime.dispatch.entry(claim.job_id, entry_route(claim.kind, source, claim.options.priority), password)
    return f"fetched {source.size_bytes} bytes"


def _given_back(runtime: Runtime, claim: InspectClaim, password: SecretStr | None, error: OcrError) -> str:
    """Queue a job again that no fault of its own kept from being inspected.

    The reconciler sends it, later; but it does not know the password, so that one goes out from here, after a pause.
    """
    if password is not None:
        stopping.wait(runtime.settings.resend_s)
    if give_back_inspect(runtime.db, claim) and password is not None:
        runtime.dispatch.entry(claim.job_id, entry_route(claim.kind, claim.source, claim.options.priority), password)
    return f"given back: {error.code}"

"""The first step of a job: what its source is, how many pages it has, and which of them the job is about."""

from __future__ import annotations

import tempfile
from uuid import UUID

import structlog
from pydantic import SecretStr

from ocr_tasks.contract import Kind, select_pages
from ocr_tasks.errors import OcrError, ServiceUnavailable, StorageFull
from ocr_tasks.jobs.compressions import newest_compression
from ocr_tasks.jobs.finishing import renew_job
from ocr_tasks.jobs.harvests import find_harvest
from ocr_tasks.jobs.inspecting import (
    InspectClaim,
    Inspected,
    claim_inspect,
    fail_inspect,
    give_back_inspect,
    set_pages,
)
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
    if source.needs_browser(claim.kind):
        from workers.harvesting import harvested  # only the browser pool has the browser's packages

        return harvested(runtime, claim)
    if claim.kind == Kind.DECOMPRESS:
        return _of_stored_tokens(runtime, claim)
    if source.url is not None:
        from workers.fetching import fetched

        found = fetched(runtime, source)
        return _of_file(runtime, claim, source.model_copy(update=found), password, found)
    if source.blob is None:
        return _of_harvest(runtime, claim)
    return _of_file(runtime, claim, source, password, {})


def _of_file(
    runtime: Runtime, claim: InspectClaim, source: StoredSource, password: SecretStr | None, known: dict[str, object]
) -> Inspected:
    """Raises TooManyPages, SourceError, InvalidPageRange. known: fields of the source that go into its row."""
    limits = limits_of(runtime.settings)
    word = password.get_secret_value() if password else None
    assert source.blob is not None
    assert source.media_type is not None
    fields = StoredSource.model_validate(known).model_dump(by_alias=True, exclude_none=True)
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


def _given_back(runtime: Runtime, claim: InspectClaim, password: SecretStr | None, error: OcrError) -> str:
    """Queue a job again that no fault of its own kept from being inspected.

    The reconciler sends it, later; but it does not know the password, so that one goes out from here, after a pause.
    """
    if password is not None:
        stopping.wait(runtime.settings.resend_s)
    if give_back_inspect(runtime.db, claim) and password is not None:
        runtime.dispatch.entry(claim.job_id, entry_route(claim.kind, claim.source, claim.options.priority), password)
    return f"given back: {error.code}"

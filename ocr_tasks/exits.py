"""How a light command ends: its exit code, and what it says on stderr of what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from ocr_tasks.contract import Status
from ocr_tasks.outputs import say
from ocr_tasks.rest import Job, ServiceProblem, ServiceUnreachable, describe


class Exit(IntEnum):
    """What the shell learns; `EXIT_CODES` tells people."""

    FINE = 0
    FAILED = 1
    USAGE = 2  # given by click
    PAGES_FAILED = 3
    UNREACHABLE = 4
    INTERRUPTED = 130  # as a shell reports SIGINT


EXIT_CODES = """\b
Exit codes:
  0    fine
  1    a job failed or was cancelled, or the service refused
  2    the command line is wrong
  3    succeeded, but some pages failed; they are named on stderr
  4    no service could be reached
  130  interrupted; submitted jobs go on
"""

_BY_SEVERITY = (Exit.FINE, Exit.PAGES_FAILED, Exit.FAILED, Exit.UNREACHABLE, Exit.USAGE, Exit.INTERRUPTED)


def worst(*codes: Exit) -> Exit:
    """The one that a shell must not miss."""
    return max(codes, key=_BY_SEVERITY.index)


def exit_of(command: Callable[[], Exit]) -> Exit:
    """Run a command; what it raises becomes one line on stderr and an exit code, never a traceback."""
    try:
        return command()
    except ServiceProblem as problem:
        say(f"Error: {problem}")
        return Exit.FAILED
    except ServiceUnreachable as error:
        say(f"Error: {error}")
        return Exit.UNREACHABLE
    except KeyboardInterrupt:
        say("Interrupted.")
        return Exit.INTERRUPTED
    except OSError as error:
        say(f"Error: {reason_of(error)}")
        return Exit.FAILED


def reason_of(error: OSError) -> str:
    """What the system said, with the file it was about when there is one."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def report(job: Job, prefix: str = "") -> Exit:
    """Name on stderr what went wrong with a job so far, and what is to be known of it; the exit code that says it."""
    if job.notice:
        say(f"{prefix}{' '.join(job.notice.split())}")
    if job.status == Status.CANCELLED:
        say(f"{prefix}the job was cancelled")
        return Exit.FAILED
    if job.status == Status.FAILED:
        say(f"{prefix}{describe(job.error or {'title': 'The job failed', 'code': 'unknown'})}")
    failed = [page for page in job.flagged_pages if page.status == Status.FAILED]
    for page in failed:
        error = page.error or {}
        said = error.get("detail") or error.get("title") or "no reason is known"
        say(f"{prefix}page {page.page_no}: {error.get('code', 'page_failed')}: {' '.join(str(said).split())}")
    if job.pages.failed > len(failed):
        say(f"{prefix}{job.pages.failed - len(failed)} more pages failed")
    if job.status == Status.FAILED:
        return Exit.FAILED
    return Exit.PAGES_FAILED if job.pages.failed else Exit.FINE

"""Damaged files of every kind: whatever is wrong with them, what comes out is a page or an error meant for a caller."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocr_tasks.errors import OcrError, SourceError
from tests.documents import PdfPage, born_digital, encoded, encrypted_pdf, multi_page, pdf_file, scan, stream
from tests.pages import grain, halves, stored
from workers.sources.documents import Limits, PageFailure, PageImage, inspect, rasterise, unlock

ROOT = Path(__file__).parents[2]
ANSWER_S = 20
# Small, so that most examples cost milliseconds.
LIMITS = Limits(max_pages=1000, max_page_pixels=300_000, pdf_dpi=36)
WORD = "Rosebud"


def whole_files() -> dict[str, bytes]:
    frames = [halves((32, 24)), grain((32, 24)), halves((32, 24))]
    mark = stream(b"1 0 0 rg 0 0 50 50 re f", "/Type/XObject/Subtype/Form/BBox[0 0 50 50]")
    stamp = b"<</Type/Annot/Subtype/Stamp/F 4/Rect[10 10 60 60]/AP<</N 4 0 R>>>>"
    files = {
        "pdf": pdf_file([born_digital(["one", "two"])] * 2),
        "pdf, scan": pdf_file([scan(encoded(grain((60, 80)), "JPEG"))]),
        "pdf, annotation": pdf_file([PdfPage(entries="/Annots[5 0 R]")], objects=[mark, stamp]),
        "pdf, encrypted": encrypted_pdf([born_digital(["secret"])], user="", owner="x"),
        "pdf, password": encrypted_pdf([born_digital(["secret"])] * 2, user=WORD, owner="x"),
    }
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000", "HEIF"):
        files[kind] = encoded(grain((48, 40)), kind)
    for kind in ("PNG", "WEBP", "TIFF", "GIF", "AVIF", "HEIF"):
        files[f"{kind}, frames"] = multi_page(frames, kind)
    for compression in ("group4", "tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate"):
        picture = grain((48, 40)).convert("1" if compression == "group4" else "RGB")
        files[f"TIFF, {compression}"] = encoded(picture, "TIFF", compression=compression)
    return files


FILES = whole_files()

# Where (a share of the file), what is done, with which bytes. Numbers at their limits break more than noise does.
BYTES = st.sampled_from(
    [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"-1", b"999999999999", b"0 R", b"<<", b"]"]
) | st.binary(min_size=1, max_size=12)
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1), st.sampled_from(["overwrite", "overwrite", "insert", "cut", "repeat", "truncate"]), BYTES
    ),
    min_size=1,
    max_size=6,
)


def mutated(content: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    for share, edit, new in edits:
        at = int(share * len(content))
        if edit == "overwrite":
            content = content[:at] + new + content[at + len(new) :]
        elif edit == "insert":
            content = content[:at] + new + content[at:]
        elif edit == "cut":
            content = content[:at] + content[at + len(new) :]
        elif edit == "repeat":
            content = content[:at] + content[max(0, at - 100) :]
        else:
            content = content[: max(at, 8)]
    return content


def verdict(path: Path) -> str:
    """What went wrong; nothing if all is well."""
    try:
        count = inspect(path, "application/pdf", limits=LIMITS, password=WORD)
        asked = range(1, min(count, 4) + 1)
        made = list(rasterise(unlocked(path), "application/pdf", asked, limits=LIMITS))
    except SourceError as error:
        return "" if error.detail and str(path) not in error.detail else f"not fit for a caller: {error.detail}"
    except BaseException:  # noqa: BLE001 - that is what is looked for
        return traceback.format_exc()
    if [page.page_no for page in made] != list(asked):
        return f"pages {[page.page_no for page in made]} for {list(asked)}"
    wrong = [page for page in made if not is_sound(page)]
    return f"unsound: {wrong}" if wrong else ""


def unlocked(path: Path) -> Path:
    """The file that pages are made from: a decrypted copy of one that needs a password."""
    copy = path.with_name("unlocked")
    with copy.open("wb") as target:
        locked = unlock(path, "application/pdf", target, limits=LIMITS, password=WORD)
    return copy if locked else path


def is_sound(page: PageImage | PageFailure) -> bool:
    if isinstance(page, PageFailure):
        return isinstance(page.error, OcrError) and bool(page.error.detail)
    return page.content.startswith(b"\x89PNG") and 0 < page.width * page.height <= LIMITS.max_page_pixels


class Child:
    """A process that parses files, since a parser that crashes takes its process along."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "source"
        self.died: list[bytes] = []
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "tests.unit.test_mutated_documents"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def verdict(self, content: bytes) -> str:
        self.path.write_bytes(content)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{self.path}\n")
        self._process.stdin.flush()
        if select.select([self._process.stdout], [], [], ANSWER_S)[0] and (line := self._process.stdout.readline()):
            return line.strip().encode().decode("unicode_escape")
        self.close()
        self.died.append(content)
        self._start()
        return f"the parser died or took more than {ANSWER_S} s (exit status {self._process.returncode})"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        print(verdict(Path(line.strip())).encode("unicode_escape").decode(), file=answers, flush=True)


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    child = Child(tmp_path_factory.mktemp("mutated"))
    yield child
    child.close()


@pytest.mark.parametrize("name", FILES)
def test_the_whole_file_is_read(tmp_path: Path, name: str) -> None:
    path = stored(tmp_path, FILES[name])
    pages = list(rasterise(unlocked(path), "application/pdf", [1], limits=LIMITS))
    assert [type(page) for page in pages] == [PageImage]


@settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(name=st.sampled_from(sorted(FILES)), edits=EDITS)
def test_a_damaged_file_gives_pages_or_errors_meant_for_a_caller(
    child: Child, name: str, edits: list[tuple[float, str, bytes]]
) -> None:
    assert child.verdict(mutated(FILES[name], edits)) == ""


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_off_anywhere_in_its_head_gives_pages_or_errors(child: Child, name: str) -> None:
    for size in range(1, 120, 7):
        assert child.verdict(FILES[name][:size]) == ""


if __name__ == "__main__":
    serve()

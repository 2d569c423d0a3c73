"""A process that parses one file for `isolated`, and may die of it:  python -m workers.sources.child

Takes JSON lines on stdin: first what to parse (`isolated.Request`), then the numbers of the pages to make. Answers on
stdout: {"pages": count}, then for each page a line {"pageNo", "mediaType", "width", "height", "dpi", "sizeBytes"} with
so many bytes behind it, or {"pageNo", "error"}; in place of any line {"error"}, about the whole file, is the last.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import IO, Any

from ocr_tasks.errors import OcrError, ParserDied
from workers.sources.documents import PageFailure, inspect, rasterise
from workers.sources.encode import PageImage
from workers.sources.limits import Limits


def main() -> None:
    # What parsers print must not be taken for an answer.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        try:
            _answer(json.loads(sys.stdin.readline()), answers)
        except MemoryError:
            _say(answers, {"error": ParserDied("it needed more memory than a parser is given").problem()})
        except OcrError as error:
            _say(answers, {"error": error.problem()})


def _answer(request: dict[str, Any], answers: IO[bytes]) -> None:
    path, media_type, password = Path(request["path"]), request["mediaType"], request["password"]
    limits = Limits(**request["limits"])
    resource.setrlimit(resource.RLIMIT_AS, (request["memoryBytes"], resource.getrlimit(resource.RLIMIT_AS)[1]))
    _say(answers, {"pages": inspect(path, media_type, limits=limits, password=password)})
    page_nos = json.loads(sys.stdin.readline() or "[]")
    for page in rasterise(path, media_type, page_nos, limits=limits, password=password) if page_nos else ():
        _send(answers, page)


def _send(answers: IO[bytes], page: PageImage | PageFailure) -> None:
    if isinstance(page, PageFailure):
        _say(answers, {"pageNo": page.page_no, "error": page.error.problem()})
        return
    head = {"pageNo": page.page_no, "mediaType": page.media_type, "width": page.width, "height": page.height}
    _say(answers, head | {"dpi": page.dpi, "sizeBytes": len(page.content)}, page.content)


def _say(answers: IO[bytes], head: dict[str, Any], content: bytes = b"") -> None:
    answers.write(json.dumps(head).encode() + b"\n" + content)
    answers.flush()


if __name__ == "__main__":
    main()

"""A direct caller with nothing but an older Celery: run in an environment of its own, prints what it saw as JSON.

python -I tests/old_client.py REDIS_URL < base64 of a small TIFF and of a long one, a line each
"""

import importlib.util
import json
import sys
import time
import uuid
from typing import Any

import celery
from celery import Celery, signature
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

OCR, QUEUE = "ocr_tasks.ocr", "prepare.interactive"


def main() -> None:
    assert importlib.util.find_spec("ocr_tasks") is None, "this client must not have the package"
    url, small, long = sys.argv[1], sys.stdin.readline().strip(), sys.stdin.readline().strip()
    app = Celery(broker=url, backend=url)
    app.conf.update(broker_connection_timeout=5, redis_socket_timeout=10)

    def send(source: Any, options: Any = None, task_id: str | None = None, **how: Any) -> AsyncResult:
        task_id = task_id or str(uuid.uuid4())
        kwargs = {"source": source, "options": options or {}}
        return app.send_task(OCR, kwargs=kwargs, task_id=task_id, queue=QUEUE, **how)

    def outcome(result: AsyncResult) -> dict[str, Any]:
        try:
            return {"id": result.id, "state": "SUCCESS", "result": result.get(timeout=40, interval=0.1)}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the caller would see
            # Asked again: what another client finds, later.
            state = app.AsyncResult(result.id).state
            return {"id": result.id, "state": state, "error": type(error).__name__, "text": str(error)}

    seen = {"version": celery.__version__}
    text = {"format": "text"}
    running = send({"bytes": long}, text)
    succeeded = send({"bytes": small}, text)
    refused = {
        "option": send({"bytes": small}, {"mode": "huge"}),
        "field": send({"bytes": small}, {"colour": "red"}),
        "source": send({"path": "/etc/passwd"}),
        "task id": send({"bytes": small}, task_id="no-uuid"),
        "link": send({"bytes": small}, link=signature("nobody", queue=QUEUE)),
        "blob": send({"blob": "0" * 64}),
    }
    misnamed = app.send_task("ocr_tasks.orc", kwargs={}, queue=QUEUE)
    seen["success"] = outcome(succeeded)
    seen["refused"] = {name: outcome(result) for name, result in refused.items()}
    seen["misnamed"] = outcome(misnamed)
    deadline = time.monotonic() + 20
    while running.state != "PROGRESS" and time.monotonic() < deadline:
        time.sleep(0.1)
    seen["progress"] = {"state": running.state, "info": running.info}
    running.revoke()
    try:
        running.get(timeout=20)
        seen["revoked"] = "not revoked"
    except TaskRevokedError as error:
        seen["revoked"] = str(error)
    seen["revoked id"] = running.id
    print(json.dumps(seen))


if __name__ == "__main__":
    main()

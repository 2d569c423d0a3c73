"""`up` with real servers and stand-ins for web and the workers: `python -m tests.standin_up FOLDER PORT [KIND ...]`.

Kinds: `stubborn` ignores SIGTERM and has a child that does so too; `broken` dies at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ocr_tasks.settings import Settings
from workers.programs import Layout
from workers.stack import Stack
from workers.supervisor import Program
from workers.up import run, tell

WEB = """
import http.server, json, os, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[2]))
        self.end_headers()
        self.wfile.write(json.dumps(dict(os.environ)).encode())
server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.serve_forever()
"""
KINDS = {
    "stubborn": "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.fork(); time.sleep(600)",
    "broken": "raise SystemExit('no engine on this machine')",
}


def programs(layout: Layout) -> list[Program]:
    web = [sys.executable, "-c", WEB, str(layout.listener), "503" if "broken" in sys.argv else "200"]
    started = [
        Program.command("web", web, log=layout.log_dir / "web.log", env=layout.env, pass_fds=(layout.listener,)),
    ]
    for kind in sys.argv[3:]:
        argv = [sys.executable, "-c", KINDS[kind]]
        started.append(Program.command(kind, argv, log=layout.log_dir / f"{kind}.log", env=layout.env))
    return started


if __name__ == "__main__":
    stack = Stack(
        Settings(),
        data_dir=Path(sys.argv[1]),
        port=int(sys.argv[2]),
        programs=programs,
        prepare_database=lambda _: None,
        tell=tell,
    )
    sys.exit(run(stack))

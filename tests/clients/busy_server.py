"""A server of three answers: it is busy, it breaks the connection, it is busy again; then it does what it is asked.

The first token that it issues has ended before it is used.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = {"job_id": "77", "state": "PENDING", "message": "Job submitted successfully"}


class Busy(BaseHTTPRequestHandler):
    """What each attempt of a client finds."""

    server: BusyServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/oauth/token":
            self.server.asked.append(body.decode())
            self.reply(
                200, {"access_token": f"token-{len(self.server.asked)}", "token_type": "Bearer", "expires_in": 3600}
            )
            return
        self.server.keys.append(self.headers["idempotency-key"])
        attempt = len(self.server.keys)
        if attempt == 1:
            self.refuse(429, "RATE_LIMIT_EXCEEDED", 0)
        elif attempt == 2:
            self.close_connection = True
        elif attempt == 3:
            self.refuse(503, "SLURM_ERROR", 0)
        else:
            self.reply(201, ANSWER)

    def do_GET(self) -> None:
        if self.path == "/v1/jobs/2/script":
            if self.headers["authorization"] == "Bearer token-2":
                # A newer server may know other words, and tell more.
                self.reply(200, {"job_id": "2", "script": "true", "source": "archive", "size_bytes": 4})
            else:
                self.refuse(401, "AUTHENTICATION_FAILED", 0)
            return
        self.server.reads += 1
        self.refuse(429, "RATE_LIMIT_EXCEEDED", 3600)

    def refuse(self, status: int, code: str, wait_s: int) -> None:
        """Say why not, in the document's shape."""
        error = {
            "code": code,
            "message": "Wait",
            "details": {},
            "request_id": "req_1",
            "timestamp": "2023-12-15T14:30:00Z",
        }
        self.reply(status, {"error": error}, {"retry-after": str(wait_s)})

    def reply(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        """Answer with JSON."""
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "content-type": "application/json",
            "content-length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_line: object) -> None:
        pass


class BusyServer(ThreadingHTTPServer):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Busy)
        self.keys: list[str] = []
        self.reads = 0
        self.asked: list[str] = []  # the forms that tokens were asked for with


@contextlib.contextmanager
def being_busy() -> Iterator[BusyServer]:
    """The server, which ends with the block."""
    server = BusyServer()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""A receiver of webhooks for tests: HTTPS on this machine, with a certificate of an authority made for the test.

What it does follows from the path: /ok takes it, /500 and other numbers answer so, /hang never answers, /drip answers
so slowly that nobody waits, /huge answers without end, /redirect sends elsewhere, /held waits until `release` is set.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import trustme


class Receiver:
    """Listens until closed. `got` has every request that arrived whole: path, headers and the JSON of its body."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.got: list[dict[str, Any]] = []
        self.release, self.ended = threading.Event(), threading.Event()
        self.connections = 0
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(self.context)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"https://localhost:{self.port}"
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Stop listening, and let hanging answers go."""
        self.ended.set()
        self.release.set()
        self.listener.close()

    def count_events(self) -> Counter[str]:
        """Count how often each event arrived, by its Idempotency-Key."""
        return Counter(request["headers"]["idempotency-key"] for request in list(self.got))

    def _listen(self) -> None:
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with plain, self.context.wrap_socket(plain, server_side=True) as connection:
                self._answer(connection, self._read(connection))
        except (OSError, ValueError, LookupError):
            return  # whoever called has gone, or does not trust us

    def _read(self, connection: ssl.SSLSocket) -> str:
        with connection.makefile("rb") as lines:
            path = lines.readline().decode().split()[1]
            headers = {}
            while (line := lines.readline().decode().strip()) != "":
                key, _, value = line.partition(":")
                headers[key.lower()] = value.strip()
            body = lines.read(int(headers["content-length"]))
        self.got.append({"path": path, "headers": headers, "body": json.loads(body)})
        return path.partition("?")[0].rpartition("/")[2]

    def _answer(self, connection: ssl.SSLSocket, what: str) -> None:
        if what == "held":
            self.release.wait(300)
            what = "ok"
        if what == "hang":
            self.ended.wait(300)
        elif what == "drip":
            for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: yes\r\n" * 1000:
                connection.sendall(bytes([byte]))
                if self.ended.wait(0.2):
                    return
        elif what == "huge":
            connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\n\r\n")
            while not self.ended.is_set():
                connection.sendall(b"x" * 65_536)
        elif what == "redirect":
            connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {self.url}/ok\r\nContent-Length: 0\r\n\r\n".encode())
        elif what == "slack":
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nno_service")
        elif what == "busy":
            connection.sendall(b"HTTP/1.1 429 Slow\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n")
        elif what == "cut":
            time.sleep(0)  # the connection is closed without an answer
        elif what.isdigit():
            connection.sendall(f"HTTP/1.1 {what} Oops\r\nContent-Length: 6\r\n\r\nsecret".encode())
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

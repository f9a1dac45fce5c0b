"""Rendering templates in a child process.

So that no template can take this process's time, memory or secrets. The child runs worker.py: Jinja's sandbox, an empty
environment, limits on CPU time and memory. It starts with the first request that holds a template, serves one request
at a time, and is ended and replaced when it reaches a limit. It ends by itself when this process is gone, since its
standard input then ends.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from store.deadlines import spend_computing
from store.errors import Invalid, from_os_error, make_problem
from store.jsons import dump_json, load_json
from store.rules.fields import is_template, walk_leaves

WORKER = Path(__file__).with_name("worker.py")
START_S = 30.0
MAX_ANSWER_BYTES = 16_000_000
KEPT_ANSWERS = 1000
KEPT_BYTES = 8_000_000
CHUNK_BYTES = 65_536

# Messages for the template's author.
LIMITS = {
    "cpu": "rendering took more than {cpu_s:g} s of computing",
    "wall": "rendering took more than {wall_s:g} s",
    "memory": "rendering needed more than {memory_mb} MB of memory",
    "output": "the rendered text is larger than 1 MB",
    "died": "rendering ended its process",
}


class RenderStopped(Exception):
    """The child gave no answer; the text is a key of LIMITS."""


class Renderer:
    """Renders trees of plain values in any thread.

    Each call blocks, at most about `wall_s`.
    """

    def __init__(self, cpu_s: float = 2, memory_mb: int = 256, wall_s: float = 10) -> None:
        self.cpu_s = cpu_s
        self.memory_mb = memory_mb
        self.wall_s = wall_s
        self._child: _Child | None = None
        self._answers: OrderedDict[bytes, bytes] = OrderedDict()
        self._answers_bytes = 0
        self._lock = threading.Lock()

    def set_limits(self, cpu_s: float, memory_mb: int) -> None:
        """Set the limits of the next child; `wall_s` is five times the CPU time."""
        self.cpu_s, self.memory_mb, self.wall_s = cpu_s, memory_mb, 5 * cpu_s

    def render(self, tree: Any, context: dict[str, Any]) -> Any:
        """Render the templates in the tree's texts.

        A text that is one expression gives its value's own type. Raises Invalid with the place in the tree and Jinja's
        reason for each text that cannot be rendered.
        """
        if not has_template(tree):
            return tree
        return self._request({"tree": tree, "context": context})

    def find_names(self, trees: dict[str, Any]) -> dict[str, list[str]]:
        """Return the names that the templates in each tree need."""
        marked = {name: tree for name, tree in trees.items() if has_template(tree)}
        found: dict[str, list[str]] = self._request({"uses": marked}) if marked else {}
        return {name: found.get(name, []) for name in trees}

    def render_workflow(self, args: Sequence[tuple[str, Any]], jobs: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Render a workflow's args and jobs in one request.

        Returns `{"args": {name: value}, "jobs": [{"exports": {…}, "body": …}]}`. Each arg sees those before it. A job
        is `{"name", "loc", "deps": [name], "exports": {…}, "body": tree}`; it sees the args and, as `deps`, what the
        jobs before it export. Raises Invalid with loc `["args", …]` or `[*loc, …]`.
        """
        if not has_template([[list(arg) for arg in args], list(jobs)]):
            return {"args": dict(args), "jobs": [{"exports": job["exports"], "body": job["body"]} for job in jobs]}
        answer: dict[str, Any] = self._request({"args": list(args), "jobs": list(jobs)})
        return answer

    def close(self) -> None:
        """End the child; the next request starts another."""
        with self._lock:
            self._end_child()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is no child."""
        child = self._child
        return child.process.pid if child else None

    def _request(self, request: dict[str, Any]) -> Any:
        """Return the answer to a request, kept or from the child."""
        try:
            data = dump_json(request)
        except orjson.JSONEncodeError as error:
            raise Invalid([make_problem(f"cannot be rendered: {error}", type="template_error")]) from error
        with self._lock:
            answer = self._answers.get(data)
            if answer is None:
                answer = self._get_answer(data)
                self._keep_answer(data, answer)
            else:
                self._answers.move_to_end(data)
        # Parsed for each caller, so that no caller's changes reach another.
        found = load_json(answer)
        if "problems" in found:
            raise Invalid([make_problem(item.pop("msg"), **item) for item in found["problems"]])
        return found["answer"]

    def _get_answer(self, data: bytes) -> bytes:
        """Ask the child; raise Invalid when it had to be ended."""
        try:
            answer = self._try_once(data)
        except RenderStopped as stopped:
            limit = str(stopped)
            self._end_child()
            if limit == "died":  # try again: somebody else may have ended it
                try:
                    answer = self._try_once(data)
                except RenderStopped as second:
                    limit = str(second)
                    self._end_child()
                    raise self._make_limit_error(limit) from second
            else:
                raise self._make_limit_error(limit) from stopped
        found = load_json(answer)
        if "over" in found:
            self._end_child()
            raise self._make_limit_error(found["over"], found["loc"])
        spend_computing(found["spent_s"])
        return answer

    def _make_limit_error(self, limit: str, loc: Sequence[str | int] = ()) -> Invalid:
        message = LIMITS[limit].format(cpu_s=self.cpu_s, wall_s=self.wall_s, memory_mb=self.memory_mb)
        return Invalid([make_problem(message, loc, type="template_limit")])

    def _try_once(self, data: bytes) -> bytes:
        """Ask the child, starting one if there is none. Raises RenderStopped."""
        if self._child is None or self._child.process.poll() is not None:
            self._end_child()
            try:
                self._child = _Child(self.memory_mb, self.cpu_s)
            except OSError as error:
                raise from_os_error(error, "start the process that renders templates") from error
        return self._child.ask(data, self.wall_s)

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def _keep_answer(self, data: bytes, answer: bytes) -> None:
        """Keep the answer, dropping old ones beyond the bounds."""
        if len(data) + len(answer) > KEPT_BYTES // 4:
            return
        self._answers[data] = answer
        self._answers_bytes += len(data) + len(answer)
        while len(self._answers) > KEPT_ANSWERS or self._answers_bytes > KEPT_BYTES:
            old, gone = self._answers.popitem(last=False)
            self._answers_bytes -= len(old) + len(gone)


class _Child:
    """One worker process, talked to over its standard input and output."""

    def __init__(self, memory_mb: int, cpu_s: float) -> None:
        found = importlib.util.find_spec("jinja2")
        folder = str(Path(found.origin).parents[1]) if found and found.origin else ""
        command = [sys.executable, "-I", str(WORKER), str(memory_mb * 1_000_000), str(cpu_s), folder]
        # No PR_SET_PDEATHSIG: it is tied to the thread that starts the child, which may belong to a pool.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={},
            close_fds=True,
            start_new_session=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.to_child, self.from_child = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.to_child, False)
        os.set_blocking(self.from_child, False)
        self.received = bytearray()
        try:
            self._exchange(b"", START_S)
        except RenderStopped:
            self.end()
            raise

    def ask(self, data: bytes, wall_s: float) -> bytes:
        """Return the child's answer to one request. Raises RenderStopped."""
        return self._exchange(struct.pack("!I", len(data)) + data, wall_s)

    def _exchange(self, message: bytes, wall_s: float) -> bytes:
        """Send one message and wait for one.

        Both directions at once, so that neither side waits for the other's pipe.
        """
        deadline_s = time.monotonic() + wall_s
        left = memoryview(message)
        poll = select.poll()
        poll.register(self.from_child, select.POLLIN)
        if left:
            poll.register(self.to_child, select.POLLOUT)
        while (answer := self._take_message()) is None:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise RenderStopped("wall")
            for descriptor, _ in poll.poll(left_s * 1000 + 1):
                if descriptor == self.from_child:
                    self._receive()
                    continue
                left = left[self._send(left[:CHUNK_BYTES]) :]
                if not left:
                    poll.unregister(self.to_child)
        return answer

    def _receive(self) -> None:
        try:
            chunk = os.read(self.from_child, CHUNK_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            raise RenderStopped(self._find_cause())
        self.received += chunk

    def _send(self, chunk: memoryview) -> int:
        try:
            return os.write(self.to_child, chunk)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise RenderStopped(self._find_cause()) from None

    def _take_message(self) -> bytes | None:
        """Take a whole message out of what was received; None if there is none."""
        if len(self.received) < 4:
            return None
        (size,) = struct.unpack_from("!I", self.received)
        if size > MAX_ANSWER_BYTES:
            raise RenderStopped("output")
        if len(self.received) < 4 + size:
            return None
        message = bytes(self.received[4 : 4 + size])
        del self.received[: 4 + size]
        return message

    def _find_cause(self) -> str:
        """Return why the child closed its pipes: its CPU timer, or another."""
        try:
            return "cpu" if self.process.wait(1) == -signal.SIGPROF else "died"
        except subprocess.TimeoutExpired:
            return "died"

    def end(self) -> None:
        """End the process and close its pipes."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # unbuffered, so nothing is lost
                pipe.close()  # type: ignore[union-attr]


def has_template(tree: Any) -> bool:
    """Tell whether any text in the tree holds a template."""
    return any(is_template(leaf) for _, leaf in walk_leaves(tree))

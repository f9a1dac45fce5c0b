"""What a task says of itself, in a file and by messages.

The file lies beside the task's folder; messages go to the server where nodes reach it.
"""

import contextlib
import datetime
import json
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, Callable, Dict, Optional

if __package__:
    from . import pages
else:  # a plain file on a cluster
    import pages  # type: ignore[import-not-found,no-redef]

WRITE_EVERY_S = 2.0
POST_TIMEOUT_S = 5.0


def read_clock() -> datetime.datetime:
    """Read the time in UTC."""
    return datetime.datetime.now(datetime.timezone.utc)


def format_time(moment: datetime.datetime) -> str:
    """Format a moment in UTC as RFC 3339.

    >>> format_time(datetime.datetime(2026, 11, 21, 16, 39, 17, 250000))
    '2026-11-21T16:39:17.250000Z'
    """
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def format_posted_time(text: str) -> str:
    """Format a time of ours as messages have it.

    >>> format_posted_time("2026-11-21T16:39:17.250000Z")
    '2026-11-21 16:39:17.250000'
    """
    return text.replace("T", " ").rstrip("Z")


def read_update_key(work: Path) -> Optional[str]:
    """Read the key that lets this simulation's messages in."""
    try:
        return (work / "update_key").read_text(encoding="ascii").strip() or None
    except OSError:
        return None


class Messenger:
    """Sends messages beside the work; what cannot be sent is left out."""

    def __init__(self, url: Optional[str], key: Optional[str], path: str) -> None:
        self.target = url.rstrip("/") + path if url and key else None
        self.key = key
        self.body: Optional[Dict[str, Any]] = None
        self.closed = False
        self.changed = threading.Condition()
        self.thread: Optional[threading.Thread] = None
        # Straight to the server: the key is not for a proxy.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def send(self, body: Dict[str, Any]) -> None:
        """Send the message soon; one that still waits is replaced."""
        if not self.target:
            return
        with self.changed:
            self.body = body
            self.changed.notify()
        if self.thread is None:
            self.thread = threading.Thread(target=self._send_all, daemon=True)
            self.thread.start()

    def close(self, patience_s: float = POST_TIMEOUT_S) -> None:
        """Wait a little for the last message."""
        if self.thread is not None:
            with self.changed:
                self.closed = True
                self.changed.notify()
            self.thread.join(patience_s)

    def _send_all(self) -> None:
        while True:
            with self.changed:
                while self.body is None and not self.closed:
                    self.changed.wait()
                body, self.body = self.body, None
            if body is None:
                return
            data = json.dumps(dict(body, update_key=self.key)).encode()
            request = urllib.request.Request(  # noqa: S310 - the address is the server's own
                str(self.target), data, {"Content-Type": "application/json"}
            )
            # The file says the same, so a message that is lost costs nothing.
            with contextlib.suppress(Exception):
                self.opener.open(request, timeout=POST_TIMEOUT_S).close()


class TaskReport:
    """The state of one task, written and sent when it changes.

    At most every two seconds, until it ends.
    """

    def __init__(
        self,
        path: Path,
        task: Dict[str, Any],
        messenger: Messenger,
        simulation_id: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime.datetime] = read_clock,
    ) -> None:
        self.path, self.messenger, self.simulation_id = path, messenger, simulation_id
        self.clock, self.now = clock, now
        self.written_at: Optional[float] = None
        self.changed = False
        self.fields: Dict[str, Any] = {
            "task_id": task["task_id"], "task_state": "PENDING", "requested_primaries": task["primaries"],
            "simulated_primaries": 0, "estimated_s": None, "start_time": None, "end_time": None,
            "exit_code": None, "reason": None,
        }  # fmt: skip

    def update(self, **changes: Any) -> None:
        """Take over the changes; write them when it is time."""
        self.changed |= any(self.fields[name] != value for name, value in changes.items())
        begins = self.fields["start_time"] is None and changes.get("task_state") == "RUNNING"
        self.fields.update(changes)
        if begins:
            self.fields["start_time"] = format_time(self.now())
        self.write(at_once=begins)

    def end(self, state: str, reason: Optional[str] = None, exit_code: Optional[int] = None) -> None:
        """Write how the task ended, at once."""
        self.fields.update(task_state=state, reason=reason, exit_code=exit_code, estimated_s=None)
        self.fields["end_time"] = format_time(self.now())
        if state == "COMPLETED" and self.fields["requested_primaries"]:
            self.fields["simulated_primaries"] = self.fields["requested_primaries"]
        self.changed = True
        self.write(at_once=True)

    def write(self, at_once: bool = False) -> None:
        """Write and send what changed, if enough time has passed or at once."""
        moment = self.clock()
        early = self.written_at is not None and moment - self.written_at < WRITE_EVERY_S
        if not self.changed or (early and not at_once):
            return
        self.written_at, self.changed = moment, False
        try:
            pages.write_json(self.path, self.fields)
        except OSError as problem:
            # A disk that is full for a while is no reason to end a simulation.
            print(f"{self.path}: {problem}", file=sys.stderr)
            self.changed = True
        self.messenger.send(
            {
                "simulation_id": self.simulation_id,
                "task_id": self.fields["task_id"],
                "update_dict": self._build_update(),
            }
        )

    def _build_update(self) -> Dict[str, Any]:
        update = {name: self.fields[name] for name in ("task_state", "requested_primaries", "simulated_primaries")}
        if self.fields["estimated_s"] is not None:
            update["estimated_time"] = self.fields["estimated_s"]
        for name in ("start_time", "end_time"):
            if self.fields[name] is not None:
                update[name] = format_posted_time(self.fields[name])
        # Nothing is heard of a task after its end, not even from its file: so all of it is said here.
        update.update({name: self.fields[name] for name in ("exit_code", "reason") if self.fields[name] is not None})
        return update

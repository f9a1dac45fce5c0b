"""rsync: copies a local folder to a remote one through ssh.

With a dry run on request. Blocking.

Additive unless told to delete. Remote paths travel in rsync's own protocol (-s), never through a shell. Links that
lead out of the folder are not taken along (--safe-links), nor are pipes, sockets, devices, owners and groups. Under
LC_ALL=C rsync writes every byte of a name that is not printable ASCII as `\\#ooo`, so a name never breaks a line.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from slurm_shim.errors import SyncFailed
from slurm_shim.programs import DESCRIPTORS, make_start_error
from slurm_shim.remote import reasons
from slurm_shim.starting.starter import STARTER, Program, Request, StartError
from slurm_shim.starting.starts import STARVED, describe
from slurm_shim.threads import require_memory

# Hidden files stay here, as in listings: they hold secrets and the state of tools. The rest is made anew over there.
EXCLUDES = (".*", "__pycache__/", "*.pyc", "*.egg-info/", "node_modules/")
SILENT_S = 120
LONGEST_S = 24 * 3600.0
KILL_S = 5.0
# At most so many changes of a dry run are listed; all are counted.
CHANGES = 10_000
_MARK = "~change~"
_PARTIAL = 24  # rsync(1): files vanished here while they were read; the rest is over there
_ENVIRONMENT = ("PATH", "HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "TZ")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII)
_ESCAPED = re.compile(r"\\#([0-7]{3})")
_PROGRESS = re.compile(
    r"\s*(?P<bytes>[0-9,.]+)\s+(?P<percent>[0-9]{1,3})%\s+(?P<rate>[0-9.]+)(?P<unit>[kMGTP]?)B/s\s+\S+"
    r"(?:\s+\(xfr#(?P<sent>[0-9]+), (?:ir|to)-chk=(?P<left>[0-9]+)/(?P<of>[0-9]+)\))?\s*"
)
_UNITS = {unit: 1024**power for power, unit in enumerate(("", "k", "M", "G", "T", "P"))}
_TYPES = {"f": "file", "d": "directory", "L": "symlink"}


@dataclass(frozen=True)
class Folders:
    """What is copied where.

    `local` and `remote` are absolute; `excludes` are a mount's own patterns; of the folder `hidden` in it, the store,
    only `work` is copied.
    """

    local: str
    remote: str
    excludes: Sequence[str] = ()
    hidden: str | None = None

    def __post_init__(self) -> None:
        for name in ("local", "remote"):
            if not re.fullmatch(r"/[^\x00-\x1f\x7f]*", getattr(self, name)):
                raise ValueError(f"{name} is no absolute path")
        for pattern in self.excludes:
            if not re.fullmatch(r"[^\x00-\x1f\x7f]+", pattern):
                raise ValueError("an exclude pattern is one line of text")


def build_argv(
    folders: Folders, rsh: Sequence[str], host: str, *, delete: bool = False, dry_run: bool = False
) -> list[str]:
    """Build the arguments of one call of rsync.

    `rsh` are those of ssh without its host (see `ssh.build_options`).
    """
    words = [
        "rsync",
        "-rlptz",
        "-s",
        "--outbuf=N",
        "--no-h",
        "--no-inc-recursive",
        "--safe-links",
        f"--timeout={SILENT_S}",
    ]
    words += ["--delete"] if delete else []
    words += ["--dry-run", f"--out-format={_MARK} %i %l %n"] if dry_run else ["--info=progress2"]
    words += ["-e", " ".join(map(_quote_word, rsh))]
    words += [f"--exclude={pattern}" for pattern in (*EXCLUDES, *folders.excludes)]
    if folders.hidden is not None:
        # Both are patterns, where a backslash escapes; in a plain word it would not.
        store = re.sub(r"([*?[\\])", r"\\\1", folders.hidden)
        words += [f"--include=/{store}/wor[k]", f"--exclude=/{store}/*"]
    address = f"[{host}]" if ":" in host else host
    return [*words, "--", f"{folders.local.rstrip('/')}/", f"{address}:{folders.remote.rstrip('/')}/"]


def _quote_word(word: str) -> str:
    # rsync splits the command itself: quotes keep blanks, a doubled quote within quotes is one (rsync(1), --rsh).
    return word if _PLAIN.fullmatch(word) else "'" + word.replace("'", "''") + "'"


@dataclass
class Progress:
    """The progress of a transfer, and the changes of a dry run.

    `files_done` of `files_total` files have been looked at.
    """

    percent: int = 0
    size_bytes: int = 0
    rate_bytes_s: int = 0
    files_done: int = 0
    files_total: int = 0
    changes: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"create": 0, "update": 0, "delete": 0})
    _rest: str = ""

    def feed(self, text: str) -> None:
        """Take the next text that rsync wrote, cut anywhere."""
        *lines, self._rest = re.split(r"[\r\n]", self._rest + text)
        if len(self._rest) > 100_000:
            self._rest = ""
        for line in lines:
            if line.startswith(_MARK):
                self._add_change(line.removeprefix(f"{_MARK} "))
            else:
                self._parse_progress(line)
        self._parse_progress(
            self._rest
        )  # rsync begins its lines of progress with a carriage return, and ends none of them

    def _parse_progress(self, line: str) -> None:
        if match := _PROGRESS.fullmatch(line):
            self.percent = max(self.percent, min(100, int(match["percent"])))
            self.size_bytes = int(re.sub("[,.]", "", match["bytes"]))
            self.rate_bytes_s = int(float(match["rate"]) * _UNITS[match["unit"]])
            if match["of"]:
                self.files_total = int(match["of"])
                self.files_done = self.files_total - int(match["left"])

    def _add_change(self, line: str) -> None:
        found = parse_change(line)
        if found is not None:
            self.counts[found["change"]] += 1
            if len(self.changes) < CHANGES:
                self.changes.append(found)


def parse_change(line: str) -> dict[str, Any] | None:
    """Parse one line `%i %l %n` to `{path, type, change, size}`.

    None for what nobody would call a change.

    That is a folder whose time differs. `size` is that of a file to be written, else None.

    >>> parse_change("<f+++++++++ 12 a\\\\#012b")
    {'path': 'a\\nb', 'type': 'file', 'change': 'create', 'size': 12}
    >>> parse_change("*deleting   0 old/")
    {'path': 'old', 'type': 'directory', 'change': 'delete', 'size': None}
    """
    match = re.fullmatch(r"(\*deleting|[<>ch.][fdLDS]\S*)\s+([0-9,]+) (.*)", line, re.DOTALL)
    if match is None:
        return None
    what, size, name = match.groups()
    path = unescape_name(name)
    if what == "*deleting":
        kind = "directory" if path.endswith("/") else "file"
        return {"path": path.rstrip("/"), "type": kind, "change": "delete", "size": None}
    kind = _TYPES.get(what[1], "file")
    if kind == "directory" and what[0] == ".":
        return None
    verb = "create" if what[2:3] == "+" else "update"
    return {
        "path": path.rstrip("/") or ".",
        "type": kind,
        "change": verb,
        "size": int(size.replace(",", "")) if kind == "file" else None,
    }


def unescape_name(name: str) -> str:
    """Decode a name as rsync wrote it; invalid UTF-8 becomes U+FFFD.

    >>> unescape_name("caf\\\\#303\\\\#251 \\\\#134#303 \\\\#377")
    'café \\\\#303 �'
    """
    data = _ESCAPED.sub(lambda match: chr(int(match[1], 8) & 0xFF), name)
    return data.encode("latin-1", "replace").decode("utf-8", "replace")


def explain_failure(stderr: str, exit_code: int, local: str) -> str:
    """Explain in one line why rsync failed, without the local folder."""
    lines = []
    for raw in stderr.splitlines():
        line = _hide_folder(local, re.sub(r"^rsync: (\[\w+\] )?", "", unescape_name(raw.strip())))
        if line and not line.startswith(("rsync error:", "connection unexpectedly closed")) and line not in lines:
            lines.append(line[:500])
    # When ssh fails, rsync ends with ssh's own code, or, if it sees the closed connection first, with another.
    failure = reasons.find_failure(stderr) if exit_code == 255 else None
    if said := _hide_folder(local, failure.text if failure else reasons.explain_host_key(stderr)):
        return said
    if "is your shell clean?" in stderr:
        return (
            "the start files of the account (.bashrc, .cshrc) print something: let them do so only where somebody types"
        )
    more = f"; and {len(lines) - 3} more" if len(lines) > 3 else ""
    return ("; ".join(lines[:3]) or f"rsync ended with exit code {exit_code}")[:1500] + more


def _hide_folder(local: str, text: str) -> str:
    """Shorten paths below the folder so that they begin there."""
    hidden = local.rstrip("/")
    return text.replace(f"{hidden}/", "").replace(hidden, "the mount's folder") if hidden else text


class Transfer:
    """One call of rsync; any thread may read `progress` at any time."""

    def __init__(self, words: Sequence[str], local: str, path: str | None = None) -> None:
        self.words, self.local = list(words), local
        self.path = path or os.environ.get("PATH", os.defpath)
        self.progress = Progress()
        self._lock = threading.Lock()
        self._started: Program | None = None
        self._stopped: str | None = None

    def run(self, longest_s: float = LONGEST_S) -> Progress:
        """Run rsync to its end and return the progress; call it once.

        SyncFailed with rsync's reason; SlurmUnreachable where it could not be started for lack of something.
        """
        program = shutil.which(self.words[0], path=self.path)
        if program is None:
            raise SyncFailed("rsync is not installed (not on PATH)")
        environment = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
        environment |= {"PATH": self.path, "LC_ALL": "C"}
        try:
            return self._run(program, environment, longest_s)
        except StartError as problem:
            if problem.unfit:
                raise SyncFailed(f"rsync could not be started: {problem.text}") from None
            raise make_start_error("rsync", problem) from None
        except STARVED as problem:
            raise make_start_error("rsync", StartError(describe(problem), uncertain=True)) from None

    def _run(self, program: str, environment: dict[str, str], longest_s: float) -> Progress:
        with tempfile.TemporaryFile() as err, contextlib.ExitStack() as opened:
            require_memory()
            reading, writing = os.pipe()
            progress = opened.enter_context(os.fdopen(reading, "rb", buffering=0))
            with os.fdopen(writing, "wb") as out, self._lock:
                if self._stopped:
                    raise SyncFailed(self._stopped)
                started = self._started = opened.enter_context(self._start(program, environment, out, err))
            timer = threading.Timer(longest_s, self.stop, [f"not done within {longest_s:g} s"])
            timer.daemon = True
            timer.start()
            try:
                while data := progress.read(65_536):
                    self.progress.feed(data.decode("latin-1"))
                code = started.wait() or 0  # there is a code: it waits to the end
            finally:
                timer.cancel()
            self.progress.feed("\n")
            err.seek(0)
            said = err.read(1_000_000).decode("utf-8", "replace")
        if self._stopped:
            raise SyncFailed(self._stopped)
        if code not in (0, _PARTIAL):
            raise SyncFailed(explain_failure(said, code, self.local))
        self.progress.percent = 100
        return self.progress

    def stop(self, why: str) -> None:
        """Stop the transfer; `why` becomes its reason.

        What was sent stays, no file is half written.
        """
        with self._lock:
            self._stopped = self._stopped or why
            started = self._started
        if started is None:
            return
        started.send_signal(signal.SIGTERM)
        timer = threading.Timer(KILL_S, started.send_signal, [signal.SIGKILL])
        timer.daemon = True
        timer.start()

    def _start(self, program: str, environment: dict[str, str], out: IO[bytes], err: IO[bytes]) -> Program:
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - no path of ours
            files = nothing.fileno(), out.fileno(), err.fileno()
            return STARTER.start(Request(program, self.words[1:], environment, DESCRIPTORS), files)

"""One row of the table of behaviours, the steps it is made of, and how they are played against a cluster.

A row is data: why it is there, and steps that are tried one after the other. Texts may hold <name>: what an earlier
step kept under that name, or one of the names every row knows (see `RowFolder`). An expected text is compared as it is,
a compiled pattern must match the whole of it; one newline at the end never counts.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

Text = str | re.Pattern[str] | None
# Far more than a busy machine takes: a limit only ends what would never come true.
DEADLINE_S = 240.0
ANY: Text = None


@dataclass
class RowFolder:
    """Where one row is played: a cluster's environment, a folder of its own, and what its steps kept.

    Known from the start: <dir>, <host>, <user>, <uid>, <hold> (the reason `scontrol hold` gives this caller).
    """

    cluster: str
    env: Mapping[str, str]
    folder: Path
    kept: dict[str, str]
    jobs: list[str] = field(default_factory=list)

    def fill(self, text: str) -> str:
        """The text with every known <name> replaced."""
        return re.sub(r"<(\w+)>", lambda found: self.kept.get(found[1], found[0]), text)

    def words(self, argv: str | Sequence[str]) -> list[str]:
        """The words of a command: a string is split as a shell splits it, and only then filled."""
        return [self.fill(word) for word in (shlex.split(argv) if isinstance(argv, str) else argv)]

    def run(
        self,
        argv: Sequence[str],
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        timeout_s: float = DEADLINE_S,
    ) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of one command; bytes that are no UTF-8 come as lone surrogates."""
        done = subprocess.run(
            [os.fsencode(word) for word in argv],
            input=stdin.encode(errors="surrogateescape"),
            env={**self.env, **(env or {})},
            cwd=self.folder,
            capture_output=True,
            timeout=timeout_s,
        )
        return done.returncode, as_text(done.stdout), as_text(done.stderr)

    def differs(self, expected: Text, got: str) -> bool:
        """Whether a text is not what was expected; None expects nothing in particular."""
        if expected is None:
            return False
        got = got.removesuffix("\n")
        if isinstance(expected, str):
            return got != self.fill(expected).removesuffix("\n")
        filled = re.sub(r"<(\w+)>", lambda found: re.escape(self.kept.get(found[1], found[0])), expected.pattern)
        return re.fullmatch(filled, got, expected.flags) is None


def as_text(data: bytes) -> str:
    """The text of bytes, losing nothing."""
    return data.decode("utf-8", "surrogateescape")


def like(pattern: str) -> re.Pattern[str]:
    """A text that must match as a whole; a dot matches line ends too."""
    return re.compile(pattern, re.DOTALL)


def look_until(look: Callable[[], None], timeout_s: float = DEADLINE_S, longest_pause_s: float = 1.0) -> None:
    """Look again and again until it is as expected; raises what `look` raised last."""
    deadline = time.monotonic() + timeout_s
    pause_s = 0.1
    while True:
        try:
            return look()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(pause_s)
        pause_s = min(longest_pause_s, pause_s * 1.5)


class Step(Protocol):
    """One thing that is done or looked at; it raises AssertionError when the cluster does otherwise."""

    def play(self, place: RowFolder) -> None:
        """Play the step; raises AssertionError."""


@dataclass(frozen=True)
class Do:
    """A command that is run once. `keep` names the job id in its stdout, or all of stdout when there is none."""

    argv: str | Sequence[str]
    out: Text = ""
    err: Text = ""
    rc: int = 0
    keep: str = ""
    stdin: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = DEADLINE_S

    def play(self, place: RowFolder) -> None:
        words = place.words(self.argv)
        env = {name: place.fill(value) for name, value in self.env.items()}
        code, out, err = place.run(words, place.fill(self.stdin), env, self.timeout_s)
        made = re.match(r"(?:Submitted batch job )?(\d+)\s*$", out)
        if words[0] == "sbatch" and made:
            place.jobs.append(made[1])
        if self.keep:
            place.kept[self.keep] = made[1] if made else out.strip()
        if code != self.rc or place.differs(self.out, out) or place.differs(self.err, err):
            raise AssertionError(explain_difference(words, (self.rc, self.out, self.err), (code, out, err)))


@dataclass(frozen=True)
class Until:
    """A command that is repeated until its stdout is as expected."""

    argv: str | Sequence[str]
    out: Text
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = DEADLINE_S

    def play(self, place: RowFolder) -> None:
        words = place.words(self.argv)

        def look() -> None:
            code, out, err = place.run(words, env=self.env)
            if place.differs(self.out, out):
                raise AssertionError(explain_difference(words, ("any", self.out, "any"), (code, out, err)))

        look_until(look, self.timeout_s)


@dataclass(frozen=True)
class Reads:
    """A file below the row's folder that comes to hold a text."""

    path: str
    text: Text

    def play(self, place: RowFolder) -> None:
        path = place.folder / place.fill(self.path)

        def look() -> None:
            got = as_text(path.read_bytes()) if path.is_file() else "(no such file)"
            if place.differs(self.text, got):
                beside = sorted(entry.name for entry in place.folder.iterdir())
                raise AssertionError(f"{path}\nexpected {self.text!r}\ngot      {got!r}\nbeside it {beside}")

        look_until(look, longest_pause_s=0.2)


@dataclass(frozen=True)
class Writes:
    """A file that is put into the row's folder."""

    path: str
    text: str

    def play(self, place: RowFolder) -> None:
        (place.folder / place.fill(self.path)).write_text(place.fill(self.text))


@dataclass(frozen=True)
class Looks:
    """A check in Python, for what a text comparison cannot say."""

    at: Callable[[RowFolder], None]

    def play(self, place: RowFolder) -> None:
        self.at(place)


def queue(job: str, out: Text, form: str = "%T|%r") -> Until:
    """The wait until squeue tells this about a job, finished ones included."""
    return Until(("squeue", "-h", "-t", "all", "-j", job, "-o", form), out)


def await_end(job: str, state: str, exit_code: str = "0:0") -> Until:
    """The wait until accounting tells this about a job."""
    return Until(("sacct", "-X", "-n", "-P", "-j", job, "-o", "State,ExitCode"), f"{state}|{exit_code}")


def submit(options: str, keep: str = "a", stdin: str = "", env: Mapping[str, str] | None = None) -> Do:
    """A submission that is taken without a word on stderr; its id is kept."""
    return Do(f"sbatch --parsable {options}", like(r"\d+"), keep=keep, stdin=stdin, env=env or {})


def explain_difference(words: Sequence[str], expected: Sequence[object], got: Sequence[object]) -> str:
    """Say what failed: the command, and what was expected beside what came."""
    lines = [shlex.join(words)]
    for name, want, have in zip(("exit code", "stdout", "stderr"), expected, got, strict=True):
        lines.append(f"  {name}: expected {getattr(want, 'pattern', want)!r}\n  {' ' * len(name)}       got {have!r}")
    return "\n".join(lines)


# Beside this id squeue takes ids that it does not know (any more) without complaint.
NO_JOB = "99999999"


@dataclass(frozen=True)
class Row:
    """One behaviour. Rows that need a node to themselves share a lane: they never run beside each other."""

    why: str
    steps: tuple[Step, ...]
    lane: str = ""
    on: str = "both"  # or "embedded", "real": for what the other one cannot be made to show
    slow: bool = False


def row(why: str, *steps: Step, lane: str = "", on: str = "both", slow: bool = False) -> Row:
    """A row, with its steps written one after the other."""
    return Row(why, steps, lane, on, slow)


def play(row: Row, place: RowFolder) -> None:
    """Play all steps of a row, then cancel whatever it submitted."""
    place.folder.mkdir(parents=True)
    try:
        for step in row.steps:
            step.play(place)
    finally:
        if place.jobs:
            place.run(["scancel", *place.jobs])
            if row.lane:
                Until(("squeue", "-h", "-j", ",".join([*place.jobs, NO_JOB]), "-o", "%i"), "").play(place)

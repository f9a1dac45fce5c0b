"""Run one task of a simulation: `python3 run_task.py WORK NUMBER`.

Works in WORK/tasks/NNNN/, with the input files linked or copied there, the primaries and the seed put into them as
WORK/simulator.json says. Follows the simulator's log and keeps WORK/tasks/NNNN.json up to date (reports.py). Ends as
the simulator does; 1 when the task failed for another reason.

SIGTERM and SIGINT end the simulator and all that it started (CANCELED); so does SIGUSR1, by which SLURM can be told to
say that the time limit is near (FAILED).
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

if __package__:
    from . import convert, progress, reports
else:  # plain files on a cluster
    import convert  # type: ignore[import-not-found,no-redef]
    import progress  # type: ignore[import-not-found,no-redef]
    import reports  # type: ignore[import-not-found,no-redef]

LOOK_EVERY_S = 0.5
# What a simulator has to end by itself before it is killed; all is over before SLURM loses patience.
GRACE_S = 3.0
OUTPUT = "output.log"
SIGNALS = {signal.SIGTERM: "CANCELED", signal.SIGINT: "CANCELED", signal.SIGUSR1: "FAILED"}
PLACEHOLDER = re.compile(r"\{(seed|primaries|work|input|programs|python)\}")


class Failed(Exception):
    """The task failed, with a reason for people and an exit code."""

    def __init__(self, reason: str, exit_code: int = 1) -> None:
        super().__init__(reason)
        self.reason, self.exit_code = reason, exit_code


class Signaled(BaseException):
    """This task is to end now."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)


def main(arguments: List[str]) -> int:
    """Run the task and report on it; return the exit code."""
    work, number = Path(arguments[0]).resolve(), int(arguments[1])
    simulation = json.loads((work / "simulation.json").read_text(encoding="utf-8"))
    simulator = json.loads((work / "simulator.json").read_text(encoding="utf-8"))
    task = next(task for task in simulation["tasks"] if task["task_id"] == number)
    (work / "tasks").mkdir(exist_ok=True)
    messenger = reports.Messenger(simulation.get("report_url"), reports.read_update_key(work), "/tasks")
    report = reports.TaskReport(work / "tasks" / f"{number:04d}.json", task, messenger, simulation["id"])
    run = TaskRun(work, task, simulator, report)
    try:
        heed_signals()
        run.run_simulator()
        convert_task(simulator, run.folder)
        ignore_signals()
        report.end("COMPLETED", exit_code=0)
        code = 0
    except Signaled as signaled:
        run.end_group()
        reason = "the time limit is near" if signaled.number == signal.SIGUSR1 else f"ended by {signaled.number.name}"
        report.end(SIGNALS[signaled.number], reason)
        code = 128 + signaled.number
    except Exception as problem:  # whatever it is, the simulator must not run on alone
        failed = problem if isinstance(problem, Failed) else Failed(f"{type(problem).__name__}: {problem}")
        ignore_signals()
        run.end_group()
        report.end("FAILED", failed.reason, failed.exit_code)
        code = failed.exit_code
    if report.fields["reason"]:
        print(f"task {number}: {report.fields['reason']}", file=sys.stderr)
    messenger.close()
    return code


def heed_signals() -> None:
    """End the task when SLURM or a person asks for it."""
    for known in SIGNALS:
        signal.signal(known, raise_signal)


def raise_signal(number: int, _frame: Any) -> None:
    """Leave what is being done, once."""
    ignore_signals()
    raise Signaled(number)


def ignore_signals() -> None:
    """Let nothing come between what is being ended."""
    for known in SIGNALS:
        signal.signal(known, signal.SIG_IGN)


def convert_task(simulator: Dict[str, Any], folder: Path) -> None:
    """Bring the results into the form that is merged."""
    try:
        convert.convert_results(simulator["results"], folder)
    except convert.NoReader as problem:
        # Who merges may have it.
        print(f"the results are left as they are: {problem}", file=sys.stderr)
    except convert.NoResults as problem:
        raise Failed(str(problem)) from problem


# --- input -----------------------------------------------------------------------------------------------------------


def prepare_folder(work: Path, folder: Path, simulator: Dict[str, Any], task: Dict[str, Any]) -> None:
    """Put the input into the task's folder, with its primaries and its seed."""
    shutil.rmtree(str(folder), ignore_errors=True)  # of an earlier attempt
    shutil.copytree(
        str(work / "input"), str(folder), copy_function=copy_file if simulator.get("copies_input") else link_file
    )
    primaries, seed = simulator.get("primaries") or {}, simulator.get("seed") or {}
    if seed.get("file"):
        path = find_file(folder, seed["file"])
        place = primaries.get("pattern") if primaries.get("file") == seed["file"] else None
        text = set_number(read_text(path), seed["pattern"], task["seed"], seed.get("missing_line"), place)
        replace_file(path, text)
    if primaries.get("file"):
        path = find_file(folder, primaries["file"])
        replace_file(path, set_number(read_text(path), primaries["pattern"], task["primaries"]))


def link_file(source: str, target: str) -> None:
    """Link a file of the input."""
    Path(target).symlink_to(Path(source).resolve())


def copy_file(source: str, target: str) -> None:
    """Copy a file of the input."""
    shutil.copyfile(source, target)


def find_file(folder: Path, pattern: str) -> Path:
    """Find the first file of the input with this name or pattern."""
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not found:
        raise Failed(f"the input has no file {pattern}")
    return found[0]


def read_text(path: Path) -> str:
    """Read a file of the input, byte for byte."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def replace_file(path: Path, text: str) -> None:
    """Put a file of the task's own in place of a link."""
    path.unlink()
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def set_number(
    text: str, pattern: str, number: int, missing_line: Optional[str] = None, before: Optional[str] = None
) -> str:
    """Replace group 1 of the pattern wherever it is found.

    Columns stay as wide as they were.
    A line that is missing is added, above the line that `before` finds, or at the end.

    >>> set_number("NSTAT  10000 ! all", r"NSTAT\\s+(\\d+)", 250)
    'NSTAT    250 ! all'
    >>> set_number("START 10\\nSTOP\\n", r"RANDOMIZ (.*)", 3, "RANDOMIZ {seed}", "START")
    'RANDOMIZ 3\\nSTART 10\\nSTOP\\n'
    """

    def replace(match: Any) -> str:
        start, end = match.span(1)
        whole, offset = match.group(0), match.start(0)
        return str(whole[: start - offset] + str(number).rjust(end - start) + whole[end - offset :])

    changed, count = re.compile(pattern, re.MULTILINE).subn(replace, text)
    if count:
        return changed
    if missing_line is None:
        raise Failed(f"the input has no line for {pattern}")
    line = missing_line.replace("{seed}", str(number)).rstrip("\n") + "\n"
    place = re.compile(before, re.MULTILINE).search(text) if before else None
    if place is None:
        return text + ("" if text.endswith("\n") or not text else "\n") + line
    begin = text.rfind("\n", 0, place.start(1) if place.re.groups else place.start()) + 1
    return text[:begin] + line + text[begin:]


def build_command(simulator: Dict[str, Any], work: Path, folder: Path, task: Dict[str, Any]) -> List[str]:
    """Build the argv of the simulator."""
    inputs = [path for pattern in simulator.get("recognise") or [] for path in sorted(folder.glob(pattern))]
    values = {
        "seed": str(task["seed"]), "primaries": str(task["primaries"]), "work": str(folder),
        "input": str(inputs[0] if inputs else folder), "programs": str(Path(__file__).resolve().parent),
        "python": sys.executable or "python3",
    }  # fmt: skip
    words = [PLACEHOLDER.sub(lambda match: values[match.group(1)], word) for word in simulator["command"]]
    if shutil.which(words[0]) is None:
        raise Failed(f"there is no program {words[0]} here; simulators/*.yaml says what is called", 127)
    return words


# --- the simulator ---------------------------------------------------------------------------------------------------


class TaskRun:
    """One task from its input to the end of its simulator."""

    def __init__(
        self,
        work: Path,
        task: Dict[str, Any],
        simulator: Dict[str, Any],
        report: reports.TaskReport,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.work, self.task, self.simulator, self.report, self.clock = work, task, simulator, report, clock
        self.folder = work / "tasks" / f"{task['task_id']:04d}"
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.copier: Optional[threading.Thread] = None

    def run_simulator(self) -> None:
        """Run the simulator to its end; raise Failed when it failed."""
        try:
            prepare_folder(self.work, self.folder, self.simulator, self.task)
            self._start_simulator(build_command(self.simulator, self.work, self.folder, self.task))
        except OSError as problem:
            raise Failed(f"the task cannot begin: {problem}") from problem
        self.report.update(task_state="RUNNING")
        code = self._follow_simulator()
        if code:
            raise Failed(self._tell_end(code), code if code > 0 else 128 - code)

    def end_group(self) -> None:
        """End the simulator and all that it started."""
        if self.process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(OSError):  # all of them are gone
                os.killpg(self.process.pid, number)
            if number == signal.SIGTERM:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(GRACE_S)
        self.process.wait()
        self._end_copying()

    def _start_simulator(self, words: List[str]) -> None:
        # A signal that comes before we know the process waits until then.
        early: List[int] = []
        for known in SIGNALS:
            signal.signal(known, lambda number, _frame: early.append(number))
        # In a group of its own, so that all of it can be ended; in our session, where SLURM finds it.
        self.process = process = subprocess.Popen(
            words, cwd=str(self.folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=os.setpgrp,
        )  # fmt: skip
        self.copier = threading.Thread(target=self._copy_output, args=(process.stdout,), daemon=True)
        self.copier.start()
        heed_signals()
        if early:
            raise_signal(early[0], None)

    def _copy_output(self, source: Any) -> None:
        """Copy what the simulator prints to our output, and into a file."""
        with source, (self.folder / OUTPUT).open("wb", buffering=0) as file:
            for data in iter(lambda: os.read(source.fileno(), 65536), b""):
                with contextlib.suppress(OSError):  # a disk that is full ends no simulator
                    file.write(data)
                with contextlib.suppress(OSError):
                    os.write(sys.stdout.fileno(), data)

    def _end_copying(self) -> None:
        if self.copier is not None:
            # Somebody who left the group may hold the other end for ever.
            self.copier.join(1.0)

    def _follow_simulator(self) -> int:
        """Report progress until the simulator ends; return its exit code."""
        assert self.process is not None
        parser = progress.ProgressParser(self.simulator.get("progress") or {})
        follower = progress.LogFollower(self.folder, self.simulator.get("log") or OUTPUT, parser, self.clock)
        idle_s = self.simulator.get("idle_s")
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(LOOK_EVERY_S)
            code = self.process.poll()
            found = follower.read_progress()
            if found.pop("ended", False):
                found.update(simulated_primaries=self.report.fields["requested_primaries"], estimated_s=0)
            self.report.update(**found)
            if code is not None:
                self._end_copying()
                return code
            if idle_s and follower.count_idle_s() > idle_s:
                raise Failed(f"the simulator's log did not grow for {idle_s} s")

    def _tell_end(self, code: int) -> str:
        """Tell how the simulator ended, with the last line that it printed."""
        program = Path(self.simulator["command"][0]).name
        try:
            how = f"with exit code {code}" if code > 0 else f"by {signal.Signals(-code).name}"
        except ValueError:
            how = f"by signal {-code}"
        lines = (self.folder / OUTPUT).read_bytes()[-4096:].decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return "{} ended {}{}".format(program, how, ": " + last[:200] if last else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Run one task of a simulation: `python3 run_task.py WORK NUMBER`.

Works in WORK/tasks/NNNN/, with the input files linked or copied there, the primaries and the seed put into them as
WORK/simulator.json says. Follows the simulator's log and keeps WORK/tasks/NNNN.json up to date (reports.py). Ends as
the simulator does; 1 when the task failed for another reason.

SIGTERM, SIGINT and SIGUSR1 end the simulator and all that it started; the task is CANCELED then, and SLURM knows why.
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
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set

if __package__:
    from . import convert, progress, reports
else:  # plain files on a cluster
    import convert  # type: ignore[import-not-found,no-redef]
    import progress  # type: ignore[import-not-found,no-redef]
    import reports  # type: ignore[import-not-found,no-redef]

LOOK_EVERY_S = 0.5
# What a simulator has to end by itself before it is killed; with its report, all is over within 5 seconds.
GRACE_S = 3.0
OUTPUT = "output.log"
END_BYTES = 4096
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
PLACEHOLDER = re.compile(r"\{(seed|primaries|work|input|programs|python)\}")


class Spot(NamedTuple):
    """Where a value stands: a line (from 0) of a file, and columns of it."""

    path: Path
    line: int
    begin: int
    end: int


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
    simulator["name"] = simulation["sim_type"]
    task = next(task for task in simulation["tasks"] if task["task_id"] == number)
    (work / "tasks").mkdir(exist_ok=True)
    messenger = reports.Messenger(simulation.get("report_url"), reports.read_update_key(work), "/tasks")
    report = reports.TaskReport(work / "tasks" / f"{number:04d}.json", task, messenger, simulation["id"])
    run = TaskRun(work, task, simulator, report)
    try:
        heed_signals()
        run.run_simulator()
        convert_task(work, simulator, run.folder, report.fields["requested_primaries"])
        ignore_signals()
        report.end("COMPLETED", exit_code=0)
        code = 0
    except Signaled as signaled:
        run.end_group()
        report.end("CANCELED", f"ended by {signaled.number.name}")
        code = 128 + signaled.number
    except Exception as problem:  # whatever it is, the simulator must not run on alone
        failed = problem if isinstance(problem, Failed) else Failed(f"{type(problem).__name__}: {problem}")
        ignore_signals()
        run.end_group()
        report.end("FAILED", failed.reason, failed.exit_code)
        code = failed.exit_code
    if report.fields["reason"]:
        print(f"task {number}: {report.fields['reason']}", file=sys.stderr)
    messenger.close(1.0 if report.fields["task_state"] == "CANCELED" else reports.POST_TIMEOUT_S)
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


def convert_task(work: Path, simulator: Dict[str, Any], folder: Path, primaries: int) -> None:
    """Bring the results into the form that is merged."""
    try:
        convert.convert_results(simulator["results"], folder, list_input(work), primaries)
    except convert.NoReader as problem:
        # Who merges may have it.
        print(f"the results are left as they are: {problem}", file=sys.stderr)
    except convert.NoResults as problem:
        raise Failed(str(problem)) from problem


def list_input(work: Path) -> Set[str]:
    """List the names of the input's files."""
    return {path.name for path in (work / "input").iterdir()}


# --- input -----------------------------------------------------------------------------------------------------------


def prepare_folder(work: Path, folder: Path, simulator: Dict[str, Any], task: Dict[str, Any]) -> None:
    """Put the input into the task's folder, with its primaries and its seed."""
    shutil.rmtree(str(folder), ignore_errors=True)  # of an earlier attempt
    shutil.copytree(
        str(work / "input"), str(folder), copy_function=copy_file if simulator.get("copies_input") else link_file
    )
    main = find_main_file(simulator, folder)
    place, seed = simulator.get("primaries"), simulator.get("seed") or {}
    if place and task["primaries"] > 0:
        set_value(place, folder, task["primaries"], main)
    elif place:
        print(f"no line matches {place['pattern']} (primaries): this task simulates all of them", file=sys.stderr)
    if seed.get("pattern"):
        set_value(seed, folder, task["seed"], main)


def link_file(source: str, target: str) -> None:
    """Link a file of the input."""
    Path(target).symlink_to(Path(source).resolve())


def copy_file(source: str, target: str) -> None:
    """Copy a file of the input."""
    shutil.copyfile(source, target)


def find_main_file(simulator: Dict[str, Any], folder: Path) -> Optional[str]:
    """Find the file that is given to the program.

    The one with the number of primaries; else the first that is recognised.
    """
    place = simulator.get("primaries")
    spot = find_spot(place, folder, None) if place else None
    if spot is not None:
        return spot.path.name
    return next((name for glob in simulator["recognise"] for name in list_names(folder, glob)), None)


def list_names(folder: Path, pattern: str) -> List[str]:
    """List the files of the input with such a name."""
    return sorted(path.name for path in folder.iterdir() if path.is_file() and fnmatchcase(path.name, pattern))


def find_spot(place: Dict[str, Any], folder: Path, main: Optional[str]) -> Optional[Spot]:
    """Find the first line that the place's pattern matches."""
    pattern = re.compile(place["pattern"])
    for name in list_names(folder, place["file"]) if place.get("file") else [main] if main else []:
        for number, line in enumerate(read_lines(folder / name)):
            match = pattern.search(line[:-1] if line.endswith("\r") else line)
            if match is None:
                continue
            begin, end = (place["columns"][0] - 1, place["columns"][1]) if place.get("columns") else match.span(1)
            if begin >= 0:
                return Spot(folder / name, number, begin, end)
    return None


def set_value(place: Dict[str, Any], folder: Path, value: int, main: Optional[str]) -> None:
    """Put the value into its place; add the line where it is missing."""
    spot = find_spot(place, folder, main)
    if spot is None and place.get("missing_line") is not None:
        add_line(place, folder, main)
        spot = find_spot(place, folder, main)
    if spot is None:
        print(f"no line matches {place['pattern']}, so {value} is not put into the input", file=sys.stderr)
        return
    text = place.get("form", "{value}").replace("{value}", str(value))
    lines = read_lines(spot.path)
    line = lines[spot.line]
    if place.get("columns"):
        end = "\r" if line.endswith("\r") else ""
        line = line[: len(line) - len(end)].ljust(spot.end) + end
        if len(text) > spot.end - spot.begin:
            raise Failed(f"{text} does not fit columns {spot.begin + 1} to {spot.end} of {spot.path.name}")
        text = text.rjust(spot.end - spot.begin)
    lines[spot.line] = line[: spot.begin] + text + line[spot.end :]
    replace_file(spot.path, lines)


def add_line(place: Dict[str, Any], folder: Path, main: Optional[str]) -> None:
    """Add the line in which the value will stand."""
    names = list_names(folder, place["file"]) if place.get("file") else []
    name = next(iter(names), main)
    if name is None:
        return
    lines = read_lines(folder / name)
    end = "\r" if lines[0].endswith("\r") else ""
    at = len(lines) - (lines[-1] == "")
    if place.get("before"):
        before = re.compile(place["before"])
        found = (
            number for number, line in enumerate(lines) if before.search(line[:-1] if line.endswith("\r") else line)
        )
        at = next(found, at)
    lines.insert(at, place["missing_line"] + end)
    replace_file(folder / name, lines)


def read_lines(path: Path) -> List[str]:
    """Read a file of the input, byte for byte."""
    return path.read_bytes().decode("utf-8", "surrogateescape").split("\n")


def replace_file(path: Path, lines: List[str]) -> None:
    """Put a file of the task's own in place of a link."""
    path.unlink()
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))


def build_command(simulator: Dict[str, Any], work: Path, folder: Path, task: Dict[str, Any]) -> List[str]:
    """Build the argv of the simulator."""
    values = {
        "seed": str(task["seed"]), "primaries": str(task["primaries"]), "work": str(folder),
        "input": find_main_file(simulator, folder) or ".", "programs": str(Path(__file__).resolve().parent),
        "python": sys.executable or "python3",
    }  # fmt: skip
    words = [PLACEHOLDER.sub(lambda match: values[match.group(1)], word) for word in simulator["command"]]
    if shutil.which(words[0]) is None:
        raise Failed(
            "there is no program {} here: install it, or correct `command` in simulators/{}.yaml".format(
                words[0], simulator.get("name", "*")
            ),
            127,
        )
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
        names = [Path(word).name for word in self.simulator["command"]]
        program = next((name for name in names if not PLACEHOLDER.search(name)), names[0])
        try:
            how = f"with exit code {code}" if code > 0 else f"by {signal.Signals(-code).name}"
        except ValueError:
            how = f"by signal {-code}"
        lines = self._read_output_end().split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return "{} ended {}{}".format(program, how, ": " + last[:200] if last else "")

    def _read_output_end(self) -> str:
        """Read the end of what the simulator printed, which may be gigabytes."""
        try:
            with (self.folder / OUTPUT).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - END_BYTES))
                return file.read(END_BYTES).decode("utf-8", "replace")
        except OSError:  # the simulator removed it
            return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

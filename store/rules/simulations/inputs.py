"""What the input of a simulation says. Pure.

Where things stand in the files is told by the definition of the simulator. Lines end with a line feed; a carriage
return before it belongs to the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from store.documents import SimulationTask
from store.errors import Invalid, make_problem
from store.rules.simulations.simulators import VALUE, Place, Seed, Simulator

Files = Mapping[str, str]  # name -> text

MOST_FILES = 1000
LONGEST_NAME_BYTES = 200
LARGEST_PRIMARIES = 10**15
# Names that the work folder of a task has for itself.
OWN_NAMES = frozenset({"output.log", "pages", ".pages", ".", ".."})
BODY = ("body", "input_files")
PLAIN = ": names are plain ones without a folder, such as beam.dat"


class Input(NamedTuple):
    """An input that was looked through.

    `file` is the one that is given to the program, `primaries` the number of all of them, None where it is not said.
    """

    file: str
    primaries: int | None


class Spot(NamedTuple):
    """Where a value stands: a line (from 0) of a file, and columns of it."""

    file: str
    line: int
    begin: int
    end: int


def check_input(sim_type: str, simulators: Mapping[str, Simulator], files: Files) -> Input:
    """Look through the files of a simulation. Raises Invalid.

    `sim_type` is one of the simulators.
    """
    refuse_file_names(files)
    simulator = simulators[sim_type]
    if not _list_recognised(simulator, files):
        likely = [name for name in list_fitting(simulators, files) if name != sim_type]
        near = f"; these files look like input for {' or '.join(likely)}" if likely else ""
        wanted = " or ".join(simulator.recognise)
        hint = f" ({simulator.input_hint})" if simulator.input_hint not in ("", wanted) else ""
        raise Invalid([make_problem(f"{sim_type} needs a file {wanted}{hint}{near}", BODY)])
    refuse_lines(sim_type, simulator, files)
    return Input(find_main_file(simulator, files), find_primaries(simulator, files))


def list_fitting(simulators: Mapping[str, Simulator], files: Files) -> list[str]:
    """List the simulators that these files may be input for."""
    return [name for name, simulator in sorted(simulators.items()) if _list_recognised(simulator, files)]


def refuse_file_names(files: Files) -> None:
    """Raise Invalid unless each file can lie in a task's folder.

    No program takes one of the names for an option or a path.
    """
    if not files or len(files) > MOST_FILES:
        raise Invalid([make_problem(f"an input has 1 to {MOST_FILES} files", BODY)])
    for name, text in files.items():
        if not name or len(name.encode(errors="replace")) > LONGEST_NAME_BYTES:
            raise Invalid([make_problem(f"file names have 1 to {LONGEST_NAME_BYTES} bytes", BODY, input=name[:200])])
        if name in OWN_NAMES or name.startswith("-") or re.search(r"[/\\\x00-\x1f\x7f\ud800-\udfff]", name):
            raise Invalid([make_problem(f"no name that a file of an input may have{PLAIN}", (*BODY, name[:200]))])
        if not text.isascii() and re.search("[\ud800-\udfff]", text):
            raise Invalid([make_problem("must not hold half a surrogate pair", (*BODY, name))])


def refuse_lines(sim_type: str, simulator: Simulator, files: Files) -> None:
    """Raise Invalid for a line that the simulator's definition refuses."""
    patterns = [re.compile(pattern) for pattern in simulator.refuse]
    for name, text in files.items() if patterns else ():
        for number, line in enumerate(_split_lines(text), 1):
            if any(pattern.search(line) for pattern in patterns):
                message = (
                    f"line {number} is not taken ({line.strip()[:80]}); see `refuse` in simulators/{sim_type}.yaml"
                )
                raise Invalid([make_problem(message, (*BODY, name))])


def find_main_file(simulator: Simulator, files: Files) -> str:
    """Find the file that is given to the program.

    The one with the number of primaries; else the first that was recognised.
    """
    spots = list_spots(simulator.primaries, files) if simulator.primaries else iter(())
    spot = next(spots, None)
    return spot.file if spot else _list_recognised(simulator, files)[0]


def find_primaries(simulator: Simulator, files: Files) -> int | None:
    """Find the number of primaries; None where the input does not say it.

    Raises Invalid for what is no number, and where two lines say one.
    """
    spots = list(list_spots(simulator.primaries, files)) if simulator.primaries else []
    if not spots:
        return None
    places = [f"line {spot.line + 1} of {spot.file}" for spot in spots]
    if len(spots) > 1:
        raise Invalid([make_problem(f"{places[0]} and {places[1]} both say how many primaries there are", BODY)])
    text = _split_lines(files[spots[0].file])[spots[0].line][spots[0].begin : spots[0].end]
    try:
        number = float(re.sub("[dD]", "e", text.strip()))
        primaries = int(number)
    except (ValueError, OverflowError):
        raise Invalid([make_problem(f"{places[0]}: '{text.strip()[:40]}' is no number of primaries", BODY)]) from None
    if not 1 <= primaries <= LARGEST_PRIMARIES:
        raise Invalid([make_problem(f"{places[0]}: {text.strip()[:40]} is no number of primaries", BODY)])
    return primaries


def set_primaries(simulator: Simulator, files: Files, primaries: int) -> dict[str, str]:
    """Return the files with this number of primaries; with 0, as they are."""
    if simulator.primaries is None or not primaries:
        return dict(files)
    return set_value(simulator.primaries, files, primaries)


def set_seed(simulator: Simulator, files: Files, seed: int) -> dict[str, str]:
    """Return the files with this seed, where it stands in them."""
    if simulator.seed is None or simulator.seed.argument:
        return dict(files)
    return set_value(simulator.seed, files, seed, find_main_file(simulator, files))


def build_task_files(simulator: Simulator, files: Files, task: SimulationTask) -> dict[str, str]:
    """Build the files that a task works with.

    Raises Invalid where a value does not fit: of all tasks the first has most primaries, the last has the largest seed.
    """
    return set_seed(simulator, set_primaries(simulator, files, task.requested_primaries), task.seed)


def set_value(place: Place | Seed, files: Files, value: int, main: str | None = None) -> dict[str, str]:
    """Return the files with the value in its place.

    `main` is the file for a place that names none. Files without the place stay as they are. Raises Invalid for a value
    that is too long for its columns.
    """
    spot = next(list_spots(place, files, main), None)
    if spot is None and place.missing_line is not None:
        files = _add_line(place, files, main)
        spot = next(list_spots(place, files, main), None)
    if spot is None:
        return dict(files)
    text = place.form.replace(VALUE, str(value))
    lines = files[spot.file].split("\n")
    line = lines[spot.line]
    if place.columns is not None:
        end = "\r" if line.endswith("\r") else ""
        line = line.removesuffix("\r").ljust(spot.end) + end
        if len(text) > spot.end - spot.begin:
            raise Invalid([make_problem(f"{text} does not fit columns {spot.begin + 1} to {spot.end}", BODY)])
        text = text.rjust(spot.end - spot.begin)
    lines[spot.line] = line[: spot.begin] + text + line[spot.end :]
    return {**files, spot.file: "\n".join(lines)}


def list_spots(place: Place | Seed, files: Files, main: str | None = None) -> Iterator[Spot]:
    """List where the value stands, by file and line.

    Where two columns hold it, they may be beyond the end of the line.
    """
    pattern = re.compile(place.pattern or "")
    for name in sorted(files):
        if not (name == main if place.file is None else fnmatchcase(name, place.file)):
            continue
        for number, line in enumerate(_split_lines(files[name])):
            match = pattern.search(line)
            if match is None:
                continue
            begin, end = (place.columns[0] - 1, place.columns[1]) if place.columns else match.span(1)
            if begin >= 0:
                yield Spot(name, number, begin, end)


def _add_line(place: Place | Seed, files: Files, main: str | None) -> Files:
    """Add the line in which the value will stand."""
    name = next((name for name in sorted(files) if place.file and fnmatchcase(name, place.file)), main)
    if name is None or name not in files:
        return files
    lines = files[name].split("\n")
    end = "\r" if lines[0].endswith("\r") else ""
    at = len(lines) - (lines[-1] == "")
    if place.before is not None:
        before = re.compile(place.before)
        at = next((number for number, line in enumerate(_split_lines(files[name])) if before.search(line)), at)
    lines.insert(at, f"{place.missing_line}{end}")
    return {**files, name: "\n".join(lines)}


def _list_recognised(simulator: Simulator, files: Files) -> list[str]:
    """List the files that are input for the simulator, the surest first."""
    found = [name for glob in simulator.recognise for name in sorted(files) if fnmatchcase(name, glob)]
    return list(dict.fromkeys(found))


def _split_lines(text: str) -> list[str]:
    return [line.removesuffix("\r") for line in text.split("\n")]


# --- projects of the editor


def find_project_primaries(project: Mapping[str, Any]) -> int | None:
    """Find the number of primaries of an editor's project.

    Raises Invalid for what is no number.
    """
    beam = project.get("beam")
    number = beam.get("numberOfParticles") if isinstance(beam, Mapping) else None
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float) or not 1 <= number <= LARGEST_PRIMARIES:
        place = ("body", "input_json", "beam", "numberOfParticles")
        raise Invalid([make_problem("is no number of primaries", place, input=str(number)[:40])])
    return int(number)


def list_project_outputs(project: Mapping[str, Any]) -> list[str]:
    """List the names of the outputs of an editor's project, in its order."""
    scoring = project.get("scoringManager")
    outputs = scoring.get("outputs") if isinstance(scoring, Mapping) else None
    rows = outputs if isinstance(outputs, list) else []
    return [str(row["name"])[:200] for row in rows if isinstance(row, Mapping) and isinstance(row.get("name"), str)]

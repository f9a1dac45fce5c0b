"""simulators/NAME.yaml: how one program for simulations is used. Pure.

All that Sluice knows of a simulator stands in its file: how its input is recognised, where the number of primaries and
the seed stand in it, the command, how its log tells the progress, and where results lie. Patterns are regular
expressions of Python that are looked for in single lines. Programs on the nodes read the same definition, so patterns
keep to what Python 3.6 knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from store.documents import LINE, VERSION, UserFileModel, from_yaml
from store.errors import Invalid, make_problem, suggest_word

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
# What stands for something else in a word of a command.
TEMPLATES = ("seed", "primaries", "input", "work", "programs", "python")
TEMPLATE = re.compile(r"\{([^{}]*)\}")
VALUE = "{value}"
LARGEST_COLUMN = 1000
# Written by Python 3.11 and later only.
TOO_NEW = re.compile(r"\(\?>|(?<!\\)[*+?}]\+")


def check_pattern(pattern: str) -> str:
    """Check a regular expression. Raises ValueError."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"no regular expression: {error}") from None
    if TOO_NEW.search(pattern):
        raise ValueError("atomic groups and possessive quantifiers are not known to the Python of every node")
    return pattern


def check_glob(glob: str) -> str:
    """Check a pattern of file names in the folder itself."""
    if "/" in glob or glob in (".", ".."):
        raise ValueError("must be a name or a pattern such as *.inp, without a folder")
    return glob


def check_path_glob(glob: str) -> str:
    """Check a pattern of files in the folder or below it."""
    if glob.startswith("/") or ".." in glob.split("/"):
        raise ValueError("must be below the work folder of the task")
    return glob


def check_word(word: str) -> str:
    """Check one word of a command, and what stands in braces in it."""
    for name in TEMPLATE.findall(word):
        if name not in TEMPLATES:
            near = suggest_word(name, TEMPLATES) or f"; known are {', '.join(TEMPLATES)}"
            raise ValueError(f"{{{name[:40]}}} stands for nothing{near}")
    if re.search("[{}\0]", TEMPLATE.sub("", word)):
        raise ValueError("braces only stand around a name, such as {seed}")
    return word


Line = Annotated[str, Field(pattern=LINE, max_length=4096)]
Pattern = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(check_pattern)]
Glob = Annotated[str, Field(pattern=LINE, max_length=255), AfterValidator(check_glob)]
PathGlob = Annotated[str, Field(pattern=LINE, max_length=1000), AfterValidator(check_path_glob)]
CommandWord = Annotated[str, Field(max_length=4096), AfterValidator(check_word)]
Column = Annotated[int, Field(ge=1, le=LARGEST_COLUMN)]


def _check_place(place: Place | Seed) -> None:
    """Check that a value can be put there. Raises ValueError."""
    pattern, columns, line = place.pattern or "", place.columns, place.missing_line
    if columns is not None and columns[0] > columns[1]:
        raise ValueError("columns are the first and the last one, such as [11, 20]")
    if columns is None and re.compile(pattern).groups < 1:
        raise ValueError("pattern needs a group around the value, or columns")
    if place.form.count(VALUE) != 1 or re.search("[{}]", place.form.replace(VALUE, "")):
        raise ValueError(f"form has {VALUE} once and no other braces")
    if line is not None and re.search(pattern, line) is None:
        raise ValueError("missing_line must match the pattern itself, or the value would not find its place")
    if place.before is not None and line is None:
        raise ValueError("before says where missing_line goes; there is none")


class Place(UserFileModel):
    """Where a value stands in the input.

    The first line that `pattern` matches, in a file that `file` matches: there group 1 of the pattern, or what is
    between two columns (both counted from 1 and included). `missing_line` is added where no line matches: before the
    first one that `before` matches, else at the end.
    """

    file: Glob
    pattern: Pattern
    columns: Annotated[list[Column], Field(min_length=2, max_length=2)] | None = None
    form: Annotated[str, Field(max_length=100)] = VALUE
    missing_line: Line | None = None
    before: Pattern | None = None

    @model_validator(mode="after")
    def check_place(self) -> Self:
        """Check that a value can be put there."""
        _check_place(self)
        return self


class Seed(UserFileModel):
    """Where the seed goes: into the command, or to a place in the input.

    Without `file` the place is in the file of the primaries.
    """

    argument: bool = False
    file: Glob | None = None
    pattern: Pattern | None = None
    columns: Annotated[list[Column], Field(min_length=2, max_length=2)] | None = None
    form: Annotated[str, Field(max_length=100)] = VALUE
    missing_line: Line | None = None
    before: Pattern | None = None

    @model_validator(mode="after")
    def check_seed(self) -> Self:
        """Check that there is one way for the seed."""
        if self.argument and (self.file or self.pattern or self.columns or self.missing_line):
            raise ValueError("argument puts the seed into the command; a pattern would put it into a file")
        if not self.argument and self.pattern is None:
            raise ValueError("needs either 'argument: true' or a pattern")
        if not self.argument:
            _check_place(self)
        return self


def _require_groups(*names: str) -> AfterValidator:
    def check_groups(pattern: str) -> str:
        missing = [name for name in names if name not in re.compile(pattern).groupindex]
        if missing:
            raise ValueError(f"needs the group (?P<{missing[0]}>…)")
        return pattern

    return AfterValidator(check_groups)


class Progress(UserFileModel):
    """How lines of the log tell the progress.

    `starts` matches the line from which on they count. `done` may also have groups `remaining` (primaries), and
    `hours`, `minutes` and `seconds` that are still to go.
    """

    starts: Pattern | None = None
    requested: Annotated[Pattern, _require_groups("requested")] | None = None
    done: Annotated[Pattern, _require_groups("done")] | None = None
    ended: Pattern | None = None


class Results(UserFileModel):
    """Which files of a task are results, and in what form.

    `pages` is our own JSON, `convertmc` what pymchelper reads, the others are the CSV files of these programs.
    """

    form: Literal["pages", "convertmc", "geant4_csv", "topas_csv"]
    files: Annotated[list[PathGlob], Field(min_length=1, max_length=20)]


class Simulator(UserFileModel):
    """One program for simulations.

    `refuse` matches lines that no input may have, `prepare` are lines of the job's script before the tasks begin.
    Values of pages are averaged by primaries (`mean`), or added up where they are not per primary (`sum`).
    """

    version: int = VERSION
    title: Annotated[str, Field(pattern=LINE, max_length=200)]
    input_hint: Annotated[str, Field(max_length=200)] = ""
    recognise: Annotated[list[Glob], Field(min_length=1, max_length=20)]
    refuse: list[Pattern] = Field(default=[], max_length=20)
    primaries: Place | None = None
    seed: Seed | None = None
    first_seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 1
    prepare: list[Line] = Field(default=[], max_length=100)
    command: Annotated[list[CommandWord], Field(min_length=1, max_length=100)]
    copies_input: bool = False
    log: PathGlob | None = None
    progress: Progress = Progress()
    idle_s: Annotated[int, Field(ge=1, le=10_000_000)] = 3600
    results: Results
    merge: Literal["mean", "sum"] = "mean"

    @model_validator(mode="after")
    def check_command(self) -> Self:
        """Check that the command says the program and takes the seed."""
        if not self.command[0].strip():
            raise ValueError("the command begins with the name of a program")
        has_seed = any("{seed}" in word for word in self.command)
        if self.seed is not None and self.seed.argument and not has_seed:
            raise ValueError("the seed is an argument, but no word of the command has {seed}")
        if has_seed and (self.seed is None or not self.seed.argument):
            raise ValueError("the command has {seed}: say 'seed: {argument: true}'")
        if self.seed is not None and not self.seed.argument and self.seed.file is None and self.primaries is None:
            raise ValueError("the seed needs a file, since no primaries name one")
        return self


def parse_simulator(data: bytes, name: str) -> Simulator:
    """Parse the definition in a file of this name.

    Raises Invalid with line and column.
    """
    if not NAME.fullmatch(name):
        message = "simulators are called by small letters, digits, - and _, such as shieldhit.yaml"
        raise Invalid([make_problem(message, ["name"], line=1, column=1, input=name)])
    return from_yaml(Simulator, data, name)


def find_simulator(simulators: Mapping[str, Simulator], sim_type: str) -> Simulator:
    """Find the definition of a simulator; Invalid with the near name."""
    if sim_type in simulators:
        return simulators[sim_type]
    near = suggest_word(sim_type, simulators) or f"; known are {', '.join(sorted(simulators)) or 'none'}"
    message = f"there is no simulator '{sim_type[:100]}'{near}"
    raise Invalid([make_problem(message, ["body", "sim_type"], input=sim_type[:100])])


def get_program(simulator: Simulator) -> str | None:
    """Return the program that nodes need; None where it comes with us."""
    program = simulator.command[0]
    return None if TEMPLATE.search(program) else program


def describe_missing_program(name: str, program: str, cluster: str = "") -> str:
    """Describe that the program is not there, and what to do about it."""
    place = f" on cluster {cluster}" if cluster else ""
    what = f"the program {program} of simulator {name} was not found{place}"
    return f"{what}: install it, or correct `command` in simulators/{name}.yaml"

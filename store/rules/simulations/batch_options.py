"""What the owner of a simulation asks SLURM for. Pure.

Simulations run as the user of the server, whoever owns them. So only options that choose resources are taken, none
that names a file, changes the environment or says where the job works: those are ours, or could start other programs.
A header is a script's text in the real YAPTIDE; here it may have `#SBATCH` lines and `module load` lines.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from store.documents import BatchOptions
from store.errors import Invalid, make_problem, suggest_word

Options = dict[str, str | Literal[True]]

# As the real YAPTIDE has it.
DEFAULTS: Options = {"time": "00:59:59"}
LONGEST_VALUE, MOST_LINES, LONGEST_LINE = 1000, 200, 1000
# Options of sbatch(1) that are taken: "=" takes a value, "?" may take one; letters stand behind the slash.
TAKEN = """
account/A= acctg-freq= begin/b= cluster-constraint= comment= constraint/C= contiguous core-spec/S= cores-per-socket=
cpu-freq= cpus-per-gpu= cpus-per-task/c= deadline= delay-boot= distribution/m= exclude/x= exclusive?
extra-node-info/B= gpu-bind= gpu-freq= gpus/G= gpus-per-node= gpus-per-socket= gpus-per-task= gres= gres-flags= hint=
hold/H job-name/J= licenses/L= mail-type= mail-user= mem= mem-bind= mem-per-cpu= mem-per-gpu= mincpus= nice? no-kill/k?
no-requeue nodelist/w= nodes/N= ntasks/n= ntasks-per-core= ntasks-per-gpu= ntasks-per-node= ntasks-per-socket=
overcommit/O oversubscribe/s partition/p= prefer= priority= profile= qos/q= requeue reservation= signal=
sockets-per-node= spread-job switches= thread-spec= threads-per-core= time/t= time-min= tmp= use-min-nodes
wait-all-nodes= wckey=
"""
# Options of sbatch(1) that are not.
REFUSED = """
array/a= batch= bb= bbf= chdir/D= cluster= clusters/M= container= context= dependency/d= error/e= export= export-file=
get-user-env? gid= help/h ignore-pbs input/i= kill-on-invalid-dep= mcs-label= network= nodefile/F= ntasks-per-tres=
open-mode= output/o= parsable power= propagate? quiet/Q reboot tasks-per-node= test-only uid= usage verbose/v version/V
wait/W wrap=
"""
# Values that SLURM would take for the name of a file (--nodelist), or use in one.
WITHOUT_SLASH = frozenset({"nodelist", "exclude", "job-name"})
CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]")
DIRECTIVE = re.compile(r"#SBATCH(?:\s|$)")
# No word is a path, from which a module could be read that its owner wrote; and `ml` is written out, since behind it
# `use` and `source` would be commands that take one, such as that of the input.
MODULE = r"[A-Za-z0-9][\w.+-]*(?:/[A-Za-z0-9][\w.+-]*){0,4}"
MODULE_LINE = re.compile(
    rf"(?P<word>module|ml)(?P<verb>\s+(?:load|add|unload|swap|switch|purge))?(?P<names>(?:\s+{MODULE})*)"
)


def _read_table(table: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, letter and kind of each option; "" for what it has not."""
    for entry in table.split():
        name, _, letter = entry.rstrip("=?").partition("/")
        yield name, letter, entry[-1] if entry[-1] in "=?" else ""


KINDS = {name: kind for name, _, kind in _read_table(TAKEN)}
NOT_TAKEN = {name: kind for name, _, kind in _read_table(REFUSED)}
LETTERS = {letter: name for name, letter, _ in (*_read_table(TAKEN), *_read_table(REFUSED)) if letter}


def check_batch_options(given: Mapping[str, Any]) -> BatchOptions:
    """Check `batch_options` of a request. Raises Invalid.

    Later ones win: what is usual, `slurm_options`, the `#SBATCH` lines of a header, and the options of each job.
    """
    place = ("body", "batch_options")
    shared = DEFAULTS | check_options(given.get("slurm_options") or {}, (*place, "slurm_options"))
    options: dict[str, Any] = {}
    for job in ("array", "collect"):
        own, lines = parse_header(given.get(f"{job}_header") or "", (*place, f"{job}_header"))
        options[job] = shared | own | check_options(given.get(f"{job}_options") or {}, (*place, f"{job}_options"))
        options[f"{job}_lines"] = lines
    return BatchOptions(**options)


def check_options(given: Mapping[str, Any], place: tuple[str, ...]) -> Options:
    """Check options by their names; return them by their long names.

    Names may have their hyphens before them, and underscores inside. None and false leave an option out.
    """
    found: Options = {}
    for key, value in given.items():
        where = (*place, key[:100])
        name = resolve_option(key, where)
        checked = check_value(name, value, where)
        if checked is not None:
            found[name] = checked
    return found


def resolve_option(key: str, place: tuple[str, ...]) -> str:
    """Return the long name of an option. Raises Invalid with the near name."""
    word = key.removeprefix("--") if key.startswith("--") else key.removeprefix("-")
    name = LETTERS.get(word, word.replace("_", "-"))
    if name in KINDS:
        return name
    if name in NOT_TAKEN:
        message = f"the option --{name} of sbatch cannot be chosen for a simulation"
        raise Invalid([make_problem(message, place, input=key[:100])])
    message = f"sbatch has no option '{key[:100]}'{suggest_word(name, KINDS)}"
    raise Invalid([make_problem(message, place, input=key[:100])])


def check_value(name: str, value: Any, place: tuple[str, ...]) -> str | Literal[True] | None:
    """Check the value of an option; True for one without.

    None leaves it out.
    """
    kind = KINDS[name]
    if value is None or value is False:
        return None
    if kind != "=" and (value is True or value == ""):
        return True
    if kind == "":
        raise Invalid([make_problem(f"--{name} has no value: say true or false", place, input=str(value)[:100])])
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise Invalid([make_problem(f"--{name} needs a value", place)])
    text = str(value).strip() if not isinstance(value, float) or value % 1 else str(int(value))
    if len(text) > LONGEST_VALUE or CONTROL.search(text):
        raise Invalid([make_problem(f"the value is one line of at most {LONGEST_VALUE} characters", place)])
    if name in WITHOUT_SLASH and "/" in text:
        raise Invalid([make_problem(f"the value of --{name} has no slash here", place, input=text[:100])])
    return text


def parse_header(text: str, place: tuple[str, ...]) -> tuple[Options, list[str]]:
    """Parse a header to its options and its lines that load modules.

    Comments and empty lines are left out. Raises Invalid for any other line.
    """
    options: Options = {}
    lines: list[str] = []
    given = text.replace("\r\n", "\n").split("\n")
    if len(given) > MOST_LINES:
        raise Invalid([make_problem(f"a header has at most {MOST_LINES} lines", place)])
    for number, full in enumerate(given, 1):
        line = full.strip()
        if len(line) > LONGEST_LINE or CONTROL.search(line.replace("\t", " ")):
            raise Invalid([make_problem(f"line {number} is too long, or has control characters", place)])
        if DIRECTIVE.match(line):
            options |= _parse_directive(line, number, place)
        elif (module_line := parse_module_line(line)) is not None:
            lines.append(module_line)
        elif line and not line.startswith("#"):
            message = (
                f"line {number} is neither #SBATCH nor 'module load': what else a simulator needs before it starts, "
                "the server's owner writes into `prepare` of its file in simulators/"
            )
            raise Invalid([make_problem(message, place, input=line[:100])])
    return options, lines


def parse_module_line(line: str) -> str | None:
    """Parse a line that loads modules, written out; None for another line.

    >>> parse_module_line("ml  gcc/12.2 fluka"), parse_module_line("module purge"), parse_module_line("module use x")
    ('module load gcc/12.2 fluka', 'module purge', None)
    """
    match = MODULE_LINE.fullmatch(line)
    if match is None:
        return None
    names = match["names"].split()
    verb = (match["verb"] or "").strip() or ("load" if match["word"] == "ml" else "")
    if not verb or bool(names) == (verb == "purge"):
        return None
    return " ".join(["module", verb, *names])


def _parse_directive(line: str, number: int, place: tuple[str, ...]) -> Options:
    """Parse the options of one `#SBATCH` line."""
    try:
        words = shlex.split(line.removeprefix("#SBATCH"), comments=True)
    except ValueError as error:
        raise Invalid([make_problem(f"line {number}: {error}", place, input=line[:100])]) from None
    found: Options = {}
    while words:
        word = words.pop(0)
        if not re.match(r"--?[A-Za-z]", word):
            raise Invalid([make_problem(f"line {number}: '{word[:100]}' is no option", place, input=line[:100])])
        if word.startswith("--"):
            key, has_value, text = word.partition("=")
        else:
            key, text = word[:2], word[2:]
            has_value = text
        name = resolve_option(key, place)
        value: str | bool = text if has_value else KINDS[name] != "="
        if value is False:
            value = words.pop(0) if words else ""
        checked = check_value(name, value, place)
        if checked is not None:
            found[name] = checked
    return found

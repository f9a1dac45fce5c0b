"""Checks of the values in a workflow file.

Each check returns the value in the one form that the rest of Sluice knows, or raises ValueError with the reason. A
value that holds a template is passed through and checked again once it is rendered.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, PlainValidator, Tag, ValidationInfo

from store.errors import Invalid, make_problem

MARKS = ("{{", "{%", "{#")
# Context of a validation after rendering: text that still looks like a template then is meant literally.
RENDERED = {"rendered": True}

NAME = re.compile(r"[\w-]{1,128}")
PARTITION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,@+-]{0,1023}")
# No "/": sbatch takes a --nodelist with a slash for the name of a file to read (man sbatch).
NODE_LIST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,\[\]-]{0,4095}")
TIME = re.compile(r"(?:([0-9]{1,6})-)?([0-9]{1,9})(?::([0-9]{1,9}))?(?::([0-9]{1,9}))?")
MEMORY = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*(?:([KMGT])(?:I?B)?)?", re.IGNORECASE)
ENV_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Blanks and zero-width characters before the word or the colon are ignored.
PYTHON = re.compile(r"[\s\u200b-\u200d\u2060\ufeff]*python[\s\u200b-\u200d\u2060\ufeff]*:", re.IGNORECASE)
RESERVED_NAMES = frozenset({"new", "runs", "validate", "upload", "create"})
DEPENDENCY_TYPES = ("afterok", "after", "afterany", "afternotok")
MAX_COUNT = 1_000_000
FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400


def is_template(value: Any) -> bool:
    """Return whether the value is text with a template in it."""
    return isinstance(value, str) and any(mark in value for mark in MARKS)


def describe_kind(value: Any) -> str:
    """Describe a value's type in YAML's words."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def check_text(value: Any) -> str:
    """Check text.

    A number or a truth value becomes what a template would print for it.
    """
    if isinstance(value, bool | int | float):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {describe_kind(value)}")
    if "\0" in value:
        raise ValueError("must not hold NUL")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must not hold half a surrogate pair")
    return value


def check_line(value: Any) -> str:
    """Check one line: no control characters, at most 4,096 characters.

    Such text is safe in a line of a script.
    """
    value = check_text(value)
    if CONTROL.search(value):
        raise ValueError("must be one line without control characters")
    if len(value) > 4096:
        raise ValueError("must have at most 4096 characters")
    return value


def check_word(value: Any) -> str:
    """Check one line that is not empty."""
    if not check_line(value).strip():
        raise ValueError("must not be empty")
    return check_line(value)


def check_argument(value: Any) -> str:
    """Check a word that no program takes for an option."""
    if check_word(value).lstrip().startswith("-"):
        raise ValueError("must not begin with a hyphen, which would make it an option")
    return check_word(value)


def check_mount(value: Any) -> str:
    """Check a mount of a container, as SOURCE[:TARGET[:OPTIONS]].

    Pyxis and apptainer take a comma for the beginning of another one.
    """
    if "," in check_argument(value):
        raise ValueError("must not hold a comma, which would begin another one; write several as a list")
    return check_argument(value)


def check_folder(value: Any) -> str:
    """Check the path of a folder; empty stands for the usual one.

    A backslash switches off the symbols in a file name for logs (sbatch(1)).
    """
    value = check_line(value)
    if value.startswith("-") or value != value.strip() or "\\" in value:
        raise ValueError("must be a folder without a hyphen before it, blanks around it, or a backslash")
    if len(value.encode()) > 4096 or any(len(part.encode()) > 255 for part in value.split("/")):
        raise ValueError("must have at most 4096 bytes, and 255 between two slashes")
    return value


def check_name(value: Any) -> str:
    """Check a name: 1 to 128 letters, digits, hyphens and underscores."""
    if is_template(value):
        raise ValueError("a name cannot be a template")
    if not NAME.fullmatch(check_text(value)):
        raise ValueError("a name has only letters, digits, hyphens and underscores, 1 to 128 of them")
    return check_text(value)


def check_workflow_name(value: Any) -> str:
    """Check a name that is not also a word in the API's paths."""
    if check_name(value) in RESERVED_NAMES:
        raise ValueError(f"'{value}' is reserved; a workflow of that name could not be reached")
    return check_text(value)


def check_identifier(value: Any) -> str:
    """Check a name that templates can use."""
    if not isinstance(value, str) or not value.isidentifier():
        raise ValueError("must be an identifier (letters, digits, underscores), so that templates can name it")
    return value


def check_arg_name(value: Any) -> str:
    """Check an identifier other than `deps`.

    Templates use `deps` for the exports of other jobs.
    """
    if value == "deps":
        raise ValueError("the name 'deps' is reserved for the exports of other jobs")
    return check_identifier(value)


def check_env_key(value: Any) -> str:
    """Check the name of an environment variable.

    Names that SLURM or Sluice sets are refused.
    """
    if not isinstance(value, str) or not ENV_KEY.fullmatch(value):
        raise ValueError("the name of an environment variable has only letters, digits and underscores")
    if value.upper().startswith(("SLURM_", "SBATCH_", "SLUICE_")):
        raise ValueError("names that begin with SLURM_, SBATCH_ or SLUICE_ are set by SLURM and Sluice")
    return value


def make_integer_check(least: int) -> Callable[[Any], int]:
    """Make a check for whole numbers from `least` to a million.

    Digits as text are numbers too.
    """

    def check(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be a whole number, not {quote_value(value)}")
        if not least <= value <= MAX_COUNT:
            raise ValueError(f"must be between {least} and {MAX_COUNT}, not {str(value)[:24]}")
        return value

    return check


def check_flag(value: Any) -> bool:
    """Check true or false, also as text, in the words of YAML 1.1 too."""
    if isinstance(value, str) and (word := value.strip().lower()) in FLAGS:
        return FLAGS[word]
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {quote_value(value)}")
    return value


def quote_value(value: Any) -> str:
    """Shorten a value for messages: quote text, else name its kind."""
    return (
        f"'{value[:40]}'"
        if isinstance(value, str)
        else str(value)[:24]
        if isinstance(value, float)
        else describe_kind(value)
    )


def parse_time_limit_s(value: Any) -> int | None:
    """Parse a time limit as sbatch does, in seconds; None for no limit.

    A number is minutes; text is M, M:S, H:M:S, D-H, D-H:M, D-H:M:S or UNLIMITED. Zero means no limit. Source:
    sbatch(1), `--time`.
    """
    if isinstance(value, str) and value.strip().upper() in ("UNLIMITED", "INFINITE"):
        return None
    match = TIME.fullmatch(_strip_number(value))
    if not match:
        raise ValueError(
            f"{quote_value(value)} is not a time; "
            "write minutes, H:MM:SS, D-H, D-HH:MM:SS or UNLIMITED, for example 1:30:00"
        )
    days, *parts = (None if part is None else int(part) for part in match.groups())
    given = [part for part in parts if part is not None]
    units = (HOUR_S, MINUTE_S, 1) if days is not None or len(given) == 3 else (MINUTE_S, 1)
    total_s = (days or 0) * DAY_S + sum(count * unit_s for count, unit_s in zip(given, units, strict=False))
    return total_s or None


def _strip_number(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def check_time_limit(value: Any) -> str:
    """Check a time limit; write it as in `0:05:00` or `2-12:00:00`.

    No limit is `UNLIMITED`.
    """
    total_s = parse_time_limit_s(value)
    if total_s is None:
        return "UNLIMITED"
    days, rest_s = divmod(total_s, DAY_S)
    hours, minutes, left_s = rest_s // HOUR_S, rest_s % HOUR_S // MINUTE_S, rest_s % MINUTE_S
    return f"{days}-{hours:02}:{minutes:02}:{left_s:02}" if days else f"{hours}:{minutes:02}:{left_s:02}"


def check_memory(value: Any) -> str:
    """Check an amount of memory; write it as sbatch takes it.

    That is a whole number with K, M, G or T. `32GB`, `32 GiB` and `32g` are `32G`; a number without unit is megabytes;
    `1.5T` is `1536G`; 0 is all of a node. Source: sbatch(1), `--mem`.
    """
    match = (
        MEMORY.fullmatch(str(value).strip()) if isinstance(value, str | int) and not isinstance(value, bool) else None
    )
    if not match:
        raise ValueError(f"{quote_value(value)} is not an amount of memory; write for example 32G or 500M")
    amount, unit = Decimal(match[1]), (match[2] or "M").upper()
    while amount != amount.to_integral_value() and unit != "K":
        amount, unit = amount * 1024, "KMGT"["KMGT".index(unit) - 1]
    if amount != amount.to_integral_value():
        raise ValueError(f"{quote_value(value)} is not a whole number of kilobytes")
    return f"{int(amount)}{unit}" if amount else "0"


def check_partition(value: Any) -> str:
    """Check names of partitions, with commas, for an #SBATCH line."""
    if not PARTITION.fullmatch(check_text(value)):
        raise ValueError(f"{quote_value(check_text(value))} is not the name of a partition")
    return check_text(value)


def check_node_list(value: Any) -> str:
    """Check node names (`node[01-03],gpu1`) for an #SBATCH line."""
    if not NODE_LIST.fullmatch(check_text(value)):
        raise ValueError(f"{quote_value(check_text(value))} is not a list of nodes; write for example node[01-03],gpu1")
    return check_text(value)


def check_dependency(value: Any) -> str:
    """Check a dependency; write it as `TYPE:JOB`.

    The name of a job alone means afterok.
    """
    if is_template(value):
        raise ValueError("a dependency cannot be a template: the order of the jobs must be known before rendering")
    type_, colon, job = check_text(value).rpartition(":")
    if colon and type_ not in DEPENDENCY_TYPES:
        raise ValueError(f"Invalid dependency type '{type_[:40]}'. Valid types: {', '.join(DEPENDENCY_TYPES)}")
    return f"{type_ or 'afterok'}:{check_name(job)}"


def check_scalar(value: Any) -> Any:
    """Check text, a number or a truth value; return it unchanged."""
    if isinstance(value, str):
        return check_text(value)
    if not isinstance(value, bool | int | float):
        raise ValueError(f"must be text, a number, true or false, not {describe_kind(value)}")
    return value


def is_axis_value(value: Any) -> bool:
    """Return whether an axis may take the value: a scalar, null or a list."""
    if isinstance(value, list):
        return all(map(is_axis_value, value))
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def check_axis_value(value: Any) -> Any:
    """Check a value of an axis; return it unchanged."""
    if not is_axis_value(value):
        raise ValueError(f"must be text, a number, true, false, null or a list of these, not {describe_kind(value)}")
    return value


def _check_value(check: Callable[..., Any], written_as: Any = str) -> PlainValidator:
    """Check what people write in a file as this type."""
    return PlainValidator(check, json_schema_input_type=written_as)


def _check_later(check: Callable[[Any], Any], written_as: Any = str) -> PlainValidator:
    """Put off the check of a template until it is rendered."""

    def validate(value: Any, info: ValidationInfo) -> Any:
        rendered = (info.context or {}).get("rendered")
        if is_template(value) and not rendered:
            return check_text(value)
        if rendered and check is check_text and (value is None or isinstance(value, list)):
            return str(value)  # as it would stand in the middle of a text
        return check(value)

    return _check_value(validate, written_as)


def _to_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, _check_later(check_text)]
Line = Annotated[str, _check_later(check_line)]
Word = Annotated[str, _check_later(check_word)]
Argument = Annotated[str, _check_later(check_argument)]
Mount = Annotated[str, _check_later(check_mount)]
Folder = Annotated[str, _check_later(check_folder)]
Name = Annotated[str, _check_value(check_name)]
WorkflowName = Annotated[str, _check_value(check_workflow_name)]
TemplateName = Annotated[str, _check_later(check_name)]
Identifier = Annotated[str, _check_value(check_identifier)]
ArgName = Annotated[str, _check_value(check_arg_name)]
EnvKey = Annotated[str, _check_value(check_env_key)]
Count = Annotated[int | str, _check_later(make_integer_check(0), int)]
Positive = Annotated[int | str, _check_later(make_integer_check(1), int)]
Flag = Annotated[bool | str, _check_later(check_flag, bool)]
TimeLimit = Annotated[str, _check_later(check_time_limit)]
Memory = Annotated[str, _check_later(check_memory)]
Partition = Annotated[str, _check_later(check_partition)]
NodeList = Annotated[str, _check_later(check_node_list)]
Dependency = Annotated[str, _check_value(check_dependency)]
Dependencies = Annotated[list[Dependency], BeforeValidator(_to_list)]
Scalar = Annotated[Any, PlainValidator(check_scalar)]
Truth = Annotated[bool, _check_value(check_flag, bool)]
Whole = Annotated[int, _check_value(make_integer_check(1), int)]
Remark = Annotated[str, _check_value(check_text)]


def _choose_branch(value: Any) -> str:
    return "list" if isinstance(value, list) else "text"


def _check_filled(value: list[Any]) -> list[Any]:
    if not value:
        raise ValueError("must contain at least one value")
    return value


def _check_not_empty(value: Any) -> Any:
    if not value or (isinstance(value, str) and not value.strip()):
        raise ValueError("the command is empty")
    return value


# Two branches, chosen by the value, so that a problem in a list names the item.
Command = Annotated[
    Annotated[Text, AfterValidator(_check_not_empty), Tag("text")]
    | Annotated[list[Text], AfterValidator(_check_not_empty), Tag("list")],
    Discriminator(_choose_branch),
]
AxisValue = Annotated[Any, PlainValidator(check_axis_value)]
Axis = Annotated[list[AxisValue], AfterValidator(_check_filled)]


def walk_leaves(value: Any, loc: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield each value that is no mapping or list, with its place."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if pairs is None:
        yield loc, value
        return
    for key, child in pairs:
        yield from walk_leaves(child, (*loc, key))


def find_python_problems(value: Any, loc: tuple[str | int, ...]) -> list[dict[str, Any]]:
    """Find text that asks for Python to be evaluated.

    Sluice never evaluates any, so each is a problem.
    """
    leaves = ((place, leaf) for place, leaf in walk_leaves(value, loc) if isinstance(leaf, str) and PYTHON.match(leaf))
    return [
        make_problem(
            f"{loc[0]} at '{'.'.join(map(str, place[1:]))}' contains 'python:' prefix, which is not evaluated here",
            place,
            type="python_refused",
            input=leaf[:200],
        )
        for place, leaf in itertools.islice(leaves, 100)
    ]


def refuse_control_characters(value: Any, loc: tuple[str | int, ...]) -> None:
    """Raise Invalid if any text in the tree has control characters.

    Lines and tabs are let pass; a carriage return at a line's end comes from a file of another system.
    """
    problems = [
        make_problem(f"holds the control character U+{ord(match[0]):04X}", place, type="control", input=leaf[:200])
        for place, leaf in walk_leaves(value, loc)
        if isinstance(leaf, str) and (match := UNPRINTABLE.search(leaf))
    ]
    if problems:
        raise Invalid(problems[:100])


def refuse_python(value: Any, loc: tuple[str | int, ...]) -> None:
    """Raise Invalid if any text in the tree begins with `python:`.

    Also when blanks or invisible characters are put before the word or the colon.
    """
    if problems := find_python_problems(value, loc):
        raise Invalid(problems)

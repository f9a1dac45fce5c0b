"""Tables as SLURM's programs lay them out.

`-o '%.18i %j'`, `-O 'JobID:20,Name:|'` (squeue(1), sinfo(1)).

Widths count bytes, as in SLURM; a width may therefore cut a letter in two.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

Column = tuple[str, "int | None", bool, str]  # field name, width or None, right-justified, text after it


def pad_cell(text: str, width: int | None, right: bool) -> str:
    """Cut or pad the text to so many bytes; without a width leave it."""
    if width is None:
        return text
    raw = text.encode("utf-8", "surrogateescape")
    if len(raw) != len(text) or len(raw) > width:
        text = raw[:width].decode("utf-8", "surrogateescape")
        pad = " " * (width - min(width, len(raw)))
        return pad + text if right else text + pad
    return text.rjust(width) if right else text.ljust(width)


def parse_letters(pattern: str, names: dict[str, str], unknown: Callable[[str], None]) -> tuple[str, list[Column]]:
    """Parse a `-o` format: the text before the first field, the fields.

    `unknown` is called with letters that have no meaning.
    """
    head, index = "", 0
    columns: list[Column] = []
    while index < len(pattern):
        if pattern[index] != "%":
            if columns:
                name, width, right, after = columns[-1]
                columns[-1] = (name, width, right, after + pattern[index])
            else:
                head += pattern[index]
            index += 1
            continue
        end = index + 1
        right = pattern[end : end + 1] == "."
        end += right
        start = end
        while pattern[end : end + 1].isdigit():
            end += 1
        letter = pattern[end : end + 1]
        digits = pattern[start:end]
        if letter in names:
            columns.append((names[letter], int(digits) if digits else None, right, ""))
        else:
            unknown(letter)
            columns.append(("=" + pattern[index : end + 1], None, False, ""))
        index = end + 1
    return head, columns


def parse_names(pattern: str, known: dict[str, Any], unknown: Callable[[str], None]) -> list[Column]:
    """Parse a `-O` format; unknown fields are left out.

    `Name`, `Name:30`, `Name:.30`, `Name:suffix`.
    """
    columns: list[Column] = []
    for part in pattern.split(","):
        name, colon, rest = part.partition(":")
        field = name.strip().lower()
        right = rest.startswith(".")
        rest = rest[right:]
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        suffix = rest[len(digits) :]
        if field not in known:
            unknown(name)
            columns.append(("=", None, False, suffix))  # the field is left out, the text after it is not
            continue
        width = int(digits) if digits else (None if suffix else 20)
        columns.append((field, width, right, suffix if colon else ""))
    return columns

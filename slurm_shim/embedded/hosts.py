"""Node list expressions: `node[01-03,07],login` and back.

See hostlist of sinfo(1).
"""

from __future__ import annotations

from .units import is_number

MOST_NAMES = 65_536


def expand_hosts(expression: str) -> list[str]:
    """Expand a node list expression to names, in its order.

    ValueError when brackets do not match or a range is not made of numbers.
    """
    names: list[str] = []
    for part in _split_outside_brackets(expression):
        names += _expand_part(part, MOST_NAMES - len(names))
    return names


def fold_hosts(names: list[str]) -> str:
    """Fold node names into one expression: `node[01-02],x`.

    Names are sorted by prefix and number.
    """
    groups: dict[tuple[str, int], list[int]] = {}
    plain: list[str] = []
    for name in dict.fromkeys(names):
        stem = name.rstrip("0123456789")
        digits = name[len(stem) :]
        if digits:
            groups.setdefault((stem, len(digits)), []).append(int(digits))
        else:
            plain.append(name)
    parts = list(plain)
    for (stem, width), numbers in groups.items():
        ranges = _format_ranges(sorted(numbers), width)
        single = len(numbers) == 1
        parts.append(stem + ranges if single else f"{stem}[{ranges}]")
    return ",".join(parts)


def fold_names(names: str | None) -> str:
    """Fold a list with commas; "" for none."""
    return fold_hosts(names.split(",")) if names else ""


def _format_ranges(numbers: list[int], width: int) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{a:0{width}d}" if a == b else f"{a:0{width}d}-{b:0{width}d}" for a, b in runs)


def _split_outside_brackets(expression: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(expression):
        depth += (letter == "[") - (letter == "]")
        if depth not in (0, 1):
            raise ValueError(f"unmatched bracket in {expression!r}")
        if letter == "," and depth == 0:
            parts.append(expression[start:index])
            start = index + 1
    if depth:
        raise ValueError(f"unmatched bracket in {expression!r}")
    parts.append(expression[start:])
    return [part for part in parts if part]


def _expand_part(part: str, most: int) -> list[str]:
    head, bracket, rest = part.partition("[")
    if not bracket:
        return [part]
    inside, _, tail = rest.partition("]")
    names: list[str] = []
    for piece in inside.split(","):
        low, dash, high = piece.partition("-")
        high = high if dash else low
        if not (is_number(low) and is_number(high)) or int(high) - int(low) >= most - len(names):
            raise ValueError(f"bad range {piece[:60]!r}")
        names += [f"{head}{number:0{len(low)}d}{tail}" for number in range(int(low), int(high) + 1)]
    return names

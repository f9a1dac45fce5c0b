"""Editing YAML text by whole lines, leaving other lines as they were.

A round trip through a library keeps comments, but ties them to the value before: a heading would end above the wrong
key, or go with the key before it. So keys and list items that come and go are lines put in and cut out here; whatever
does not stand on lines of its own (`{…}`, `[…]`) is left to the round trip in store.yaml.reader. Pure.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Loc = tuple[str | int, ...]
# A place, and its new value: GONE removes it, a new place in a list is at its end.
Step = tuple[Loc, Any]
GONE = object()
# Each step parses the text twice, some 100,000 characters a second; the rest is left to the round trip.
MAX_CHARS_READ = 100_000


def diff_values(before: Any, wanted: Any, loc: Loc = ()) -> Iterator[Step]:
    """Yield the steps that lead from `before` to `wanted`.

    Each removes, adds or replaces a part.

    >>> steps = list(diff_values({"a": 1, "b": [1, 2]}, {"b": [1, 2, 3], "c": 4}))
    >>> steps == [(("b", 2), 3), (("c",), 4), (("a",), GONE)]
    True
    >>> list(diff_values({"a": {"x": 1}, "b": True}, {"a": {"x": 2}, "b": 1}))
    [(('a', 'x'), 2), (('b',), 1)]
    """
    if isinstance(before, dict) and isinstance(wanted, dict):
        for key, new in wanted.items():
            if key in before:
                yield from diff_values(before[key], new, (*loc, key))
            else:
                yield (*loc, key), new
        yield from (((*loc, key), GONE) for key in before if key not in wanted)
    elif isinstance(before, list) and isinstance(wanted, list):
        first_difference = next(
            (at for at, (old, new) in enumerate(zip(before, wanted, strict=False)) if old != new), None
        )
        if len(wanted) == len(before):
            for at, (old, new) in enumerate(zip(before, wanted, strict=True)):
                yield from diff_values(old, new, (*loc, at))
        elif first_difference is None and len(wanted) > len(before):
            yield from (((*loc, at), wanted[at]) for at in range(len(before), len(wanted)))
        else:
            at = len(wanted) if first_difference is None else first_difference
            one_gone = len(wanted) < len(before) and before[:at] + before[at + 1 :] == wanted
            yield ((*loc, at), GONE) if one_gone else (loc, wanted)
    elif type(before) is not type(wanted) or before != wanted:
        yield loc, wanted


def splice_lines(
    text: str, before: Any, wanted: Any, dump: Callable[[Any], bytes], says: Callable[[bytes, Any], bool]
) -> str:
    """Make those steps to `wanted` that can be made by whole lines.

    Returns the text after that. `dump` writes new values; `says` tells whether a text means a value, and is asked after
    each step.
    """
    value, left = before, MAX_CHARS_READ
    for loc, new in diff_values(before, wanted):
        left -= len(text)
        if left < 0:
            break
        try:
            after = _apply_step(value, loc, new)
            root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
            ways = map("\n".join, _try_edits(text, root, loc, new, after, dump))
            found = next((edited for edited in ways if says(edited.encode(), after)), None)
        except (LookupError, TypeError, ValueError, YAMLError):
            continue  # values from an alias or a merge key have no lines of their own
        if found is not None:
            text, value = found, after
    return text


def _try_edits(
    text: str, root: Node, loc: Loc, new: Any, after: Any, dump: Callable[[Any], bytes]
) -> Iterator[list[str]]:
    """Yield the lines after the step, then ever larger rewrites around it."""
    lines = text.split("\n")
    if _edit_lines(lines, root, loc, new, dump):
        yield lines
    for depth in range(len(loc) - 1, 0, -1):
        lines, part = text.split("\n"), after
        for key in loc[:depth]:
            part = part[key]
        if _replace_member(lines, _find_node(root, loc[: depth - 1]), loc[depth - 1], part, dump):
            yield lines


def _apply_step(value: Any, loc: Loc, new: Any) -> Any:
    """Return a copy of the value with the step made in it."""
    result = holder = copy.deepcopy(value)
    for part in loc[:-1]:
        holder = holder[part]
    if new is GONE:
        del holder[loc[-1]]
    elif isinstance(holder, list) and loc[-1] == len(holder):
        holder.append(new)
    else:
        holder[loc[-1]] = new
    return result


def _edit_lines(lines: list[str], root: Node, loc: Loc, new: Any, dump: Callable[[Any], bytes]) -> bool:
    """Make the step in the lines; return whether that was possible."""
    holder = _find_node(root, loc[:-1])
    if holder is None:
        return False
    if new is GONE:
        return _cut_member(lines, holder, loc[-1], top=len(loc) == 1)
    if not holder.value and loc[1:]:
        filled = [new] if isinstance(holder, SequenceNode) else {loc[-1]: new}
        return _replace_member(lines, _find_node(root, loc[:-2]), loc[-2], filled, dump)
    if _has_member(holder, loc[-1]):
        return _replace_scalar(lines, _find_node(root, loc), new, dump) or _replace_member(
            lines, holder, loc[-1], new, dump
        )
    return _insert_member(lines, holder, loc[-1], new, dump)


def _cut_member(lines: list[str], holder: Any, part: str | int, top: bool) -> bool:
    """Remove the lines of a key or item; return whether it was possible.

    A mapping or list that is empty then becomes `{}` or `[]`, except the whole document.
    """
    first, node = _find_member(holder, part)
    line = first.start_mark.line
    head = lines[line][: first.start_mark.column]
    if holder.flow_style or head.strip() != ("-" if isinstance(holder, SequenceNode) else ""):
        return False
    del lines[line : _find_last_line(lines, node, line) + 1]
    if len(holder.value) == 1 and not top:
        # A mapping without keys would read as null; the indent keeps `{}` below its key.
        indent = head.index("-") + 1 if isinstance(holder, SequenceNode) else len(head)
        lines.insert(line, " " * indent + ("[]" if isinstance(holder, SequenceNode) else "{}"))
    return True


def _replace_scalar(lines: list[str], node: Any, value: Any, dump: Callable[[Any], bytes]) -> bool:
    """Replace a one-line value by another; return whether possible."""
    first, last = node.start_mark, node.end_mark
    written = dump([value]).decode().strip().removeprefix("- ")
    if not isinstance(node, ScalarNode) or isinstance(value, dict | list) or "\n" in written or first.line != last.line:
        return False
    if first.index == last.index or node.anchor:
        return False
    line = lines[first.line]
    lines[first.line] = line[: first.column] + written + line[last.column :]
    return True


def _replace_member(lines: list[str], holder: Any, part: str | int, value: Any, dump: Callable[[Any], bytes]) -> bool:
    """Rewrite the lines of a key or item; return whether possible."""
    first, node = _find_member(holder, part)
    line, column = first.start_mark.line, first.start_mark.column
    in_list = isinstance(holder, SequenceNode)
    if holder.flow_style or lines[line][:column].strip() != ("-" if in_list else ""):
        return False
    indent = lines[line].index("-") if in_list else column
    lines[line : _find_last_line(lines, node, line) + 1] = _write_member(value, None if in_list else part, indent, dump)
    return True


def _write_member(value: Any, key: str | int | None, indent: int, dump: Callable[[Any], bytes]) -> list[str]:
    """Return the indented lines of a key with value, or of a list item.

    A list item has the key None.
    """
    body = dump([value] if key is None else {key: value}).decode()
    shift = len(body) - len(body.lstrip(" "))
    return [" " * indent + line[shift:] if line else line for line in body.removesuffix("\n").split("\n")]


def _insert_member(lines: list[str], holder: Any, part: str | int, value: Any, dump: Callable[[Any], bytes]) -> bool:
    """Add a key or item below the last one; return whether possible."""
    if holder.flow_style or not isinstance(holder.value, list) or not holder.value:
        return False
    if isinstance(holder, SequenceNode):
        first, last = holder.value[0], holder.value[-1]
        if lines[first.start_mark.line][: first.start_mark.column].strip() != "-":
            return False
        written = _write_member(value, None, lines[first.start_mark.line].index("-"), dump)
        since = last.start_mark.line
    else:
        (first, _), (key, last) = holder.value[0], holder.value[-1]
        written, since = _write_member(value, part, first.start_mark.column, dump), key.start_mark.line
    at = _find_last_line(lines, last, since) + 1
    if at == len(lines):
        lines.append("")
    lines[at:at] = written
    return True


def _has_member(holder: Any, part: str | int) -> bool:
    try:
        return bool(_find_member(holder, part))
    except (LookupError, TypeError):
        return False


def _find_node(node: Node, loc: Loc) -> Any:
    """Return the node at this place. Raises LookupError."""
    for part in loc:
        node = _find_member(node, part)[1]
    return node


def _find_member(holder: Any, part: str | int) -> tuple[Node, Node]:
    """Return the first node and the value node of a member.

    The first is the key, or in a list the value itself. Raises LookupError.
    """
    if not isinstance(holder, MappingNode | SequenceNode):
        raise LookupError(part)
    if isinstance(holder, MappingNode):
        found = next(((key, node) for key, node in holder.value if key.value == part), None)
        if found is None:
            raise LookupError(part)
        return found
    return (holder.value[part], holder.value[part])


def _find_last_line(lines: list[str], node: Any, since: int) -> int:
    """Return the last line (from 0) of a value.

    `since` is where it begins, for an empty one.
    """
    if isinstance(node, ScalarNode):
        if node.style in ("|", ">"):
            end = node.end_mark.line - 1
            while end > since and not lines[end].strip():
                end -= 1
            return max(end, since)
        return since if node.style is None and node.value == "" else int(node.end_mark.line)
    if node.flow_style:
        return int(node.end_mark.line)
    ends = [since]
    for member in node.value:
        first, inner = member if isinstance(node, MappingNode) else (member, member)
        ends.append(_find_last_line(lines, inner, first.start_mark.line))
    return max(ends)

"""Edits of YAML text by whole lines: what is added or taken away leaves every other line exactly as it was.

A round trip through a library keeps comments, but hangs them to the value before: a heading would end above the wrong
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
# A key or an item that goes (GONE), comes (in a list at its end), or gets another value.
Step = tuple[Loc, Any]
GONE = object()
# Each step reads the text twice, some 100,000 characters a second; what would take longer goes the other way.
MAX_CHARS_READ = 100_000


def diff_values(before: Any, wanted: Any, loc: Loc = ()) -> Iterator[Step]:
    """What is to be cut out of `before`, put into it or changed in it on the way to `wanted`.

    >>> list(steps({"a": 1, "b": [1, 2]}, {"b": [1, 2, 3], "c": 4})) == [(("b", 2), 3), (("c",), 4), (("a",), GONE)]
    True
    >>> list(steps({"a": {"x": 1}, "b": True}, {"a": {"x": 2}, "b": 1}))
    [(('a', 'x'), 2), (('b',), 1)]
    """
    if isinstance(before, dict) and isinstance(wanted, dict):
        for key, one in wanted.items():
            if key in before:
                yield from diff_values(before[key], one, (*loc, key))
            else:
                yield (*loc, key), one
        yield from (((*loc, key), GONE) for key in before if key not in wanted)
    elif isinstance(before, list) and isinstance(wanted, list):
        same = next((at for at, (old, new) in enumerate(zip(before, wanted, strict=False)) if old != new), None)
        if len(wanted) == len(before):
            for at, (old, new) in enumerate(zip(before, wanted, strict=True)):
                yield from diff_values(old, new, (*loc, at))
        elif same is None and len(wanted) > len(before):
            yield from (((*loc, at), wanted[at]) for at in range(len(before), len(wanted)))
        else:
            at = len(wanted) if same is None else same
            one_gone = len(wanted) < len(before) and before[:at] + before[at + 1 :] == wanted
            yield ((*loc, at), GONE) if one_gone else (loc, wanted)
    elif type(before) is not type(wanted) or before != wanted:
        yield loc, wanted


def splice_lines(
    text: str, before: Any, wanted: Any, dump: Callable[[Any], bytes], says: Callable[[bytes, Any], bool]
) -> str:
    """The text after those steps from `before` to `wanted` that can be made by whole lines.

    `dump` writes new values; `says` tells whether a text means a value, and is asked after each step.
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
            found = next((one for one in ways if says(one.encode(), after)), None)
        except (LookupError, TypeError, ValueError, YAMLError):
            continue  # what comes from an alias or a merge key stands on no lines here
        if found is not None:
            text, value = found, after
    return text


def _try_edits(
    text: str, root: Node, loc: Loc, new: Any, after: Any, dump: Callable[[Any], bytes]
) -> Iterator[list[str]]:
    """The lines after the step; if that cannot be, after ever larger parts around it were written anew."""
    lines = text.split("\n")
    if _edit_lines(lines, root, loc, new, dump):
        yield lines
    for depth in range(len(loc) - 1, 0, -1):
        lines, part = text.split("\n"), after
        for one in loc[:depth]:
            part = part[one]
        if _replace_member(lines, _find_node(root, loc[: depth - 1]), loc[depth - 1], part, dump):
            yield lines


def _apply_step(value: Any, loc: Loc, new: Any) -> Any:
    """A copy of the value with the step made in it."""
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
    """Whether the step was made in the lines."""
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
    """Whether the lines of this key or item were taken out; what is empty then, but for the whole, is `{}` or `[]`."""
    first, node = _find_member(holder, part)
    line = first.start_mark.line
    head = lines[line][: first.start_mark.column]
    if holder.flow_style or head.strip() != ("-" if isinstance(holder, SequenceNode) else ""):
        return False
    del lines[line : _find_last_line(lines, node, line) + 1]
    if len(holder.value) == 1 and not top:
        # A mapping of no keys would be null; the indent keeps it below the key that holds it.
        indent = head.index("-") + 1 if isinstance(holder, SequenceNode) else len(head)
        lines.insert(line, " " * indent + ("[]" if isinstance(holder, SequenceNode) else "{}"))
    return True


def _replace_scalar(lines: list[str], node: Any, value: Any, dump: Callable[[Any], bytes]) -> bool:
    """Whether the value of one line stands in the place of another one of one line."""
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
    """Whether the lines of a key or item were exchanged for those that say the new value."""
    first, node = _find_member(holder, part)
    line, column = first.start_mark.line, first.start_mark.column
    listed = isinstance(holder, SequenceNode)
    if holder.flow_style or lines[line][:column].strip() != ("-" if listed else ""):
        return False
    indent = lines[line].index("-") if listed else column
    lines[line : _find_last_line(lines, node, line) + 1] = _write_member(value, None if listed else part, indent, dump)
    return True


def _write_member(value: Any, key: str | int | None, indent: int, dump: Callable[[Any], bytes]) -> list[str]:
    """The lines of a key with its value, or (None) of a list's item, indented."""
    body = dump([value] if key is None else {key: value}).decode()
    shift = len(body) - len(body.lstrip(" "))
    return [" " * indent + line[shift:] if line else line for line in body.removesuffix("\n").split("\n")]


def _insert_member(lines: list[str], holder: Any, part: str | int, value: Any, dump: Callable[[Any], bytes]) -> bool:
    """Whether the key or item was put in below the last one of its mapping or list."""
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
    for part in loc:
        node = _find_member(node, part)[1]
    return node


def _find_member(holder: Any, part: str | int) -> tuple[Node, Node]:
    """The node with which a member starts (its key, or itself in a list), and that of its value; LookupError."""
    if not isinstance(holder, MappingNode | SequenceNode):
        raise LookupError(part)
    if isinstance(holder, MappingNode):
        found = next(((key, node) for key, node in holder.value if key.value == part), None)
        if found is None:
            raise LookupError(part)
        return found
    return (holder.value[part], holder.value[part])


def _find_last_line(lines: list[str], node: Any, since: int) -> int:
    """The last line (from 0) of what a value says; `since` is where it begins, for one that says nothing."""
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
    for one in node.value:
        first, inner = one if isinstance(node, MappingNode) else (one, one)
        ends.append(_find_last_line(lines, inner, first.start_mark.line))
    return max(ends)

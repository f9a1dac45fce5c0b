"""Editing YAML text in its places, leaving the rest as it is.

A round trip through a library keeps comments, but ties them to the value before: a heading would end above the wrong
key, or go with the key before it. So keys and list items that come and go are lines put in and cut out here, and what
stands between brackets is edited there. Pure.
"""

from __future__ import annotations

import copy
import difflib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from store.jsons import dump_json

Loc = tuple[str | int, ...]
# A place, and its new value: GONE removes it, Inserted puts a value before what stands there in a list.
Step = tuple[Loc, Any]
GONE = object()
# What writes a value as lines, and between brackets.
Dump = tuple[Callable[[Any], bytes], Callable[[Any], str]]
# Each step parses the text twice, some 100,000 characters a second; beyond this and the first step, no more are made.
MAX_CHARS_READ = 100_000


@dataclass(frozen=True)
class Inserted:
    """A value that comes into a list."""

    value: Any


def diff_values(before: Any, wanted: Any, loc: Loc = ()) -> Iterator[Step]:
    """Yield the steps that lead from `before` to `wanted`.

    Each removes, adds or replaces a part. Items of lists are told apart by their `name`, or by what they say.

    >>> steps = list(diff_values({"a": 1, "b": [1, 2]}, {"b": [0, 1, 2], "c": 4}))
    >>> steps == [(("b", 0), Inserted(0)), (("c",), 4), (("a",), GONE)]
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
        yield from _diff_lists(before, wanted, loc)
    elif type(before) is not type(wanted) or before != wanted:
        yield loc, wanted


def _diff_lists(before: list[Any], wanted: list[Any], loc: Loc) -> Iterator[Step]:
    """Yield the steps for a list.

    They go from its end to its beginning, so that places stay what they are.
    """
    matcher = difflib.SequenceMatcher(
        None, [*map(_identify_item, before)], [*map(_identify_item, wanted)], autojunk=False
    )
    for _tag, start, end, first, last in reversed(matcher.get_opcodes()):
        both = min(end - start, last - first)
        yield from (((*loc, at), GONE) for at in reversed(range(start + both, end)))
        yield from (((*loc, start + both), Inserted(new)) for new in reversed(wanted[first + both : last]))
        for at in reversed(range(both)):
            yield from diff_values(before[start + at], wanted[first + at], (*loc, start + at))


def _identify_item(item: Any) -> bytes:
    """Return what tells an item of a list from the others."""
    named = isinstance(item, dict) and isinstance(item.get("name"), str)
    return dump_json([item["name"]] if named else item, option=orjson.OPT_SORT_KEYS)


def splice_lines(text: str, before: Any, wanted: Any, dump: Dump, says: Callable[[bytes, Any], bool]) -> str:
    """Make those steps to `wanted` that can be made in the text.

    Returns the text after that. `dump` writes new values; `says` tells whether a text means a value, and is asked after
    each step.
    """
    value, left = before, MAX_CHARS_READ
    for loc, new in diff_values(before, wanted):
        if left < 0:
            break
        left -= len(text)
        try:
            after = _apply_step(value, loc, new)
            ways = _try_edits(text, value, loc, new, after, dump)
            found = next((edited for edited in ways if edited and says(edited.encode(), after)), None)
        except (LookupError, TypeError, ValueError, YAMLError):
            break  # values from a merge key have no place of their own; later steps count on this one
        if found is None:
            break
        text, value = found, after
    return text


def _compose_nodes(text: str) -> Any:
    return YAML(typ="safe", pure=True).compose(io.StringIO(text))


def _try_edits(text: str, before: Any, loc: Loc, new: Any, after: Any, dump: Dump) -> Iterator[str | None]:
    """Yield the text after the step, then ever larger rewrites around it.

    None is a way that does not fit.
    """
    root = _compose_nodes(text)
    yield from _edit_place(text, root, loc, new, dump)
    if spelled := _write_aliases(text, root, before, loc, dump):
        yield from _edit_place(spelled, _compose_nodes(spelled), loc, new, dump)
    for depth in range(len(loc) - 1, 0, -1):
        part = after
        for key in loc[:depth]:
            part = part[key]
        yield _replace_member(text, _find_node(root, loc[: depth - 1]), loc[depth - 1], part, dump)


def _edit_place(text: str, root: Node, loc: Loc, new: Any, dump: Dump) -> Iterator[str | None]:
    """Yield the text with only the place of the step changed."""
    holder = _find_node(root, loc[:-1])
    if new is GONE:
        yield _cut_member(text, holder, loc[-1], top=len(loc) == 1)
    elif not isinstance(new, Inserted) and _has_member(holder, loc[-1]):
        yield from _replace_value(text, holder, loc[-1], new, dump)
    elif holder.value or not loc[1:]:  # an empty one is written anew, on lines of its own
        yield _insert_member(text, holder, loc[-1], new.value if isinstance(new, Inserted) else new, dump)


def _write_aliases(text: str, node: Any, before: Any, loc: Loc, dump: Dump) -> str | None:
    """Write out the alias that the place is in, or those that repeat it.

    They are to say what they said before. None where there are none.
    """
    said, anchors, own = before, {}, -1
    for part in loc:
        if not _has_member(node, part):
            break
        holder, (_, first, node), said = node, _find_member(node, part), said[part]
        anchors[node.anchor] = said
        if _is_alias(holder, first, node):
            anchors, own = {node.anchor: said}, first.start_mark.index
            break
    marks = [event for event in YAML(typ="safe", pure=True).parse(text) if isinstance(event, AliasEvent)]
    marks = [event for event in marks if event.anchor in anchors and event.start_mark.index > own]
    marks = marks[:1] if own >= 0 else marks
    for event in reversed(marks):
        text = text[: event.start_mark.index] + dump[1](anchors[event.anchor]) + text[event.end_mark.index :]
    return text if marks else None


def _apply_step(value: Any, loc: Loc, new: Any) -> Any:
    """Return a copy of the value with the step made in it."""
    result = holder = copy.deepcopy(value)
    for part in loc[:-1]:
        holder = holder[part]
    if new is GONE:
        del holder[loc[-1]]
    elif isinstance(new, Inserted):
        holder.insert(loc[-1], new.value)
    else:
        holder[loc[-1]] = new
    return result


def _cut_member(text: str, holder: Any, part: str | int, top: bool) -> str | None:
    """Remove a key or item.

    A mapping or list of lines that is empty then becomes `{}` or `[]`, except the whole document.
    """
    at, first, node = _find_member(holder, part)
    if _is_alias(holder, first, node):
        return None
    if holder.flow_style:
        members = list(map(_find_span, _list_members(holder)))
        start, end = members[at]
        if at + 1 < len(members):
            end = members[at + 1][0]
        elif at:
            start = members[at - 1][1]
        return text[:start] + text[end:]
    lines, line = text.split("\n"), first.start_mark.line
    head = lines[line][: first.start_mark.column]
    if head.strip() != ("-" if isinstance(holder, SequenceNode) else ""):
        return None
    del lines[line : _find_last_line(lines, node, line) + 1]
    if len(holder.value) == 1 and not top:
        # A mapping without keys would read as null; the indent keeps `{}` below its key.
        indent = head.index("-") + 1 if isinstance(holder, SequenceNode) else len(head)
        lines.insert(line, " " * indent + ("[]" if isinstance(holder, SequenceNode) else "{}"))
    return "\n".join(lines)


def _replace_value(text: str, holder: Any, part: str | int, value: Any, dump: Dump) -> Iterator[str | None]:
    """Replace a value where it stands, or the lines of its key or item."""
    _, first, node = _find_member(holder, part)
    start, end = node.start_mark, node.end_mark
    has_place = not _is_alias(holder, first, node) and not node.anchor and start.index < end.index
    if has_place and isinstance(value, str) and isinstance(node, ScalarNode) and node.style in ("'", '"'):
        quoted = "'" + value.replace("'", "''") + "'" if node.style == "'" else orjson.dumps(value).decode()
        yield text[: start.index] + quoted + text[end.index :]
    if has_place and (holder.flow_style or getattr(node, "flow_style", False)):
        yield text[: start.index] + dump[1](value) + text[end.index :]
    elif has_place and isinstance(node, ScalarNode) and start.line == end.line and not isinstance(value, dict | list):
        written = dump[0]([value]).decode().strip().removeprefix("- ")
        yield None if "\n" in written else text[: start.index] + written + text[end.index :]
    yield _replace_member(text, holder, part, value, dump)


def _replace_member(text: str, holder: Any, part: str | int, value: Any, dump: Dump) -> str | None:
    """Rewrite the lines of a key or item."""
    _, first, node = _find_member(holder, part)
    in_list = isinstance(holder, SequenceNode)
    if in_list and _is_alias(holder, first, node):
        return None
    lines, line, column = text.split("\n"), first.start_mark.line, first.start_mark.column
    if holder.flow_style or lines[line][:column].strip() != ("-" if in_list else ""):
        return None
    last = line if _is_alias(holder, first, node) else _find_last_line(lines, node, line)
    indent = lines[line].index("-") if in_list else column
    lines[line : last + 1] = _write_member(value, None if in_list else part, indent, dump)
    return "\n".join(lines)


def _write_member(value: Any, key: str | int | None, indent: int, dump: Dump) -> list[str]:
    """Return the indented lines of a key with value, or of a list item.

    A list item has the key None.
    """
    body = dump[0]([value] if key is None else {key: value}).decode()
    shift = len(body) - len(body.lstrip(" "))
    return [" " * indent + line[shift:] if line else line for line in body.removesuffix("\n").split("\n")]


def _insert_member(text: str, holder: Any, part: Any, value: Any, dump: Dump) -> str | None:
    """Add a key below the last one, or an item before the one at its place."""
    if not isinstance(holder, MappingNode | SequenceNode):
        return None
    in_list, members = isinstance(holder, SequenceNode), _list_members(holder)
    at = part if in_list else len(members)
    if any(_is_alias(holder, *member) for member in members[max(at - 1, 0) : at + 1] if in_list or holder.flow_style):
        return None
    if holder.flow_style:
        written = dump[1](value) if in_list else dump[1]({part: value})[1:-1]
        if not members:
            place = holder.start_mark.index + 1
        elif at < len(members):
            place, written = _find_span(members[at])[0], f"{written}, "
        else:
            place, written = _find_span(members[-1])[1], f", {written}"
        return text[:place] + written + text[place:]
    lines, first = text.split("\n"), members[0][0].start_mark
    if in_list and lines[first.line][: first.column].strip() != "-":
        return None
    indent = lines[first.line].index("-") if in_list else first.column
    line = _find_first_line(lines, first.line)
    if at:
        key, last = members[at - 1]
        line = _find_last_line(lines, last, key.start_mark.line) + 1
    lines[line:line] = _write_member(value, None if in_list else part, indent, dump)
    return "\n".join(lines)


def _list_members(holder: Any) -> list[tuple[Node, Node]]:
    """List the first node and the value node of each member.

    The first is the key, or in a list the value itself.
    """
    return holder.value if isinstance(holder, MappingNode) else [(node, node) for node in holder.value]


def _find_span(member: tuple[Node, Node]) -> tuple[int, int]:
    """Return where a member between brackets begins and ends."""
    return member[0].start_mark.index, max(node.end_mark.index for node in member)


def _is_alias(holder: Any, first: Node, node: Node) -> bool:
    """Tell whether the value stands elsewhere, where its anchor is."""
    return bool(node.start_mark.index < (holder if first is node else first).start_mark.index)


def _has_member(holder: Any, part: str | int) -> bool:
    try:
        return bool(_find_member(holder, part))
    except (LookupError, TypeError):
        return False


def _find_node(node: Node, loc: Loc) -> Any:
    """Return the node at this place. Raises LookupError."""
    for part in loc:
        node = _find_member(node, part)[2]
    return node


def _find_member(holder: Any, part: str | int) -> tuple[int, Node, Node]:
    """Return position, first node and value node of a member.

    Raises LookupError.
    """
    if not isinstance(holder, MappingNode | SequenceNode):
        raise LookupError(part)
    for at, (first, node) in enumerate(_list_members(holder)):
        if part == (first.value if isinstance(holder, MappingNode) else at):
            return at, first, node
    raise LookupError(part)


def _find_first_line(lines: list[str], line: int) -> int:
    """Return the line (from 0) where the comment above this line begins."""
    while line and lines[line - 1].lstrip().startswith("#"):
        line -= 1
    return line


def _find_last_line(lines: list[str], node: Any, since: int) -> int:
    """Return the last line (from 0) of a value.

    `since` is where it begins, for an empty one.
    """
    if isinstance(node, ScalarNode):
        if node.style in ("|", ">"):
            # Without a line end, the mark is on the last line; and blank lines need not belong to the text.
            end = node.end_mark.line - (node.end_mark.column == 0)
            while end > since and not lines[end].strip():
                end -= 1
            return max(end, since)
        return since if node.style is None and node.value == "" else int(node.end_mark.line)
    if node.flow_style:
        return int(node.end_mark.line)
    members = _list_members(node)
    return max([since, *(_find_last_line(lines, inner, first.start_mark.line) for first, inner in members)])

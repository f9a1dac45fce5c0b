"""Writing YAML that every reader understands alike, and editing it.

Comments, order and everything else that is not asked for stay as they are in an edited file.
"""

from __future__ import annotations

import functools
import io
import json
import re
from typing import Any

import orjson
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.resolver import implicit_resolvers

from store.errors import Invalid, make_problem
from store.jsons import dump_json, is_json
from store.yaml import yaml_lines
from store.yaml.reader import MAX_BYTES, decode_text, load_yaml, parse_scalar

# Characters that are changed or refused outside of double quotes.
STRANGE = re.compile(
    "[^\\x20-\\x7e\\n\\xa0-\\u2027\\u202a-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd\\U00010000-\\U0010ffff]"
)
# Lines that a block preserves: the first does not start with a blank, and none ends with one.
BLOCK = re.compile(r"[^\s](?:[^\n]*[^\s])?(?:\n+[^\n]*[^\s])*\n?")


BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def is_ambiguous(word: str) -> bool:
    """Tell whether some reader takes the bare word for no text.

    YAML 1.1, which PyYAML reads, has other such words than 1.2: `on`, `2:00:00`, `1_000`, `2026-01-01`, `=` …
    Between brackets it takes none with a question mark or with a colon before it.
    """
    if word.startswith(":") or "?" in word:
        return True
    try:
        if not isinstance(parse_scalar(word), str):
            return True
    except ValueError:
        return True
    return any(pattern.match(word) for _, _, pattern, firsts in implicit_resolvers if word[0] in firsts)


class _Representer(RoundTripRepresenter):
    """Writes plain values so that loading gives them back exactly.

    Long texts become blocks, and what occurs twice is written twice.
    """

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _represent_text(representer: Any, value: str) -> ScalarNode:
    """Return the node of a text in the plainest style that preserves it.

    Plain where that is the same text, a block for lines, quoted where characters need it.
    """
    style = None
    if STRANGE.search(value):
        style = '"'
    elif "\n" in value and BLOCK.fullmatch(value):
        style = "|"
    else:
        style = '"' if "\n" in value or is_ambiguous(value) else None
    return representer.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Representer.add_representer(str, _represent_text)


def _make_writer() -> YAML:
    yaml = YAML(typ="rt", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = MAX_BYTES  # lines are never folded
    return yaml


def dump_yaml(value: Any) -> bytes:
    """Return plain values as YAML, keys in the order of the mapping."""
    yaml = _make_writer()
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue().encode()


def dump_inline(value: Any) -> str:
    """Return a plain value as it stands on a line between brackets."""
    yaml = _make_writer()
    yaml.default_flow_style = True
    stream = io.StringIO()
    # A scalar alone would be followed by the mark of a document's end.
    yaml.dump(value if isinstance(value, dict) else [value], stream)
    return stream.getvalue().strip() if isinstance(value, dict) else stream.getvalue().strip()[1:-1]


def dump_like(data: bytes, value: Any) -> bytes:
    """Return plain values as YAML, or as JSON where `data` is that."""
    as_json = is_json(decode_text(data))
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n" if as_json else dump_yaml(value)


class Null:
    """In changes, a value to be written as null; None removes the key."""


NULL_VALUE = Null()


def edit_yaml(data: bytes, changes: dict[str, Any]) -> bytes:
    """Merge the changes into the file, keeping comments and order.

    Mappings merge, None removes, the rest replaces. Raises Invalid when `data` does not parse, is not a mapping, or
    cannot be changed without changing more.
    """
    before = load_yaml(data).value
    if not isinstance(before, dict | None):
        raise Invalid([make_problem("not a mapping", type="yaml", line=1, column=1)])
    wanted = merge_changes(before or {}, changes)
    after = rewrite_yaml(data, wanted)
    if _is_text_of(after, wanted):
        return after
    after = _edit_round_trip(after if _is_text_of(after, None) else data, changes)
    if not _is_text_of(after, wanted):
        raise Invalid([make_problem("this file cannot be changed automatically; edit it by hand", type="yaml")])
    return after


def rewrite_yaml(data: bytes, wanted: dict[str, Any]) -> bytes:
    """Change the lines of the file that say something else than `wanted`.

    `data` is good YAML. What cannot be changed so stays, then the result does not mean `wanted`.
    """
    before = load_yaml(data).value
    if is_same(wanted, before or {}):
        return data
    if not before:
        bare = data.strip() in (b"", b"{}")
        return dump_yaml(wanted) if bare else data.rstrip() + b"\n" + dump_yaml(wanted)
    text = decode_text(data)
    # Lines are edited with the ends that all of them have.
    ends_in_crlf = text.count("\r\n") == text.count("\n") > 0
    text = text.replace("\r\n", "\n") if ends_in_crlf else text
    inline = functools.partial(json.dumps, ensure_ascii=False) if is_json(text) else dump_inline
    text = yaml_lines.splice_lines(text, before, wanted, (dump_yaml, inline), _is_text_of)
    if not text.strip():
        return dump_yaml(wanted)
    after = (text.replace("\n", "\r\n") if ends_in_crlf else text).encode()
    return BYTE_ORDER_MARK + after if data.startswith(BYTE_ORDER_MARK) else after


def _is_text_of(data: bytes, wanted: Any) -> bool:
    """Tell whether the text means `wanted`; None: whether it parses."""
    try:
        found = load_yaml(data).value
    except Invalid:
        return False
    return wanted is None or is_same(found, wanted) or (found is None and wanted == {})


def is_same(left: Any, other: Any) -> bool:
    """Tell whether two values are equal, also in type.

    `True == 1 == 1.0` would hide a change.
    """
    return dump_json(left, option=orjson.OPT_SORT_KEYS) == dump_json(other, option=orjson.OPT_SORT_KEYS)


def _edit_round_trip(data: bytes, changes: dict[str, Any]) -> bytes:
    """Make the changes by the library's round trip.

    It may write lines anew that mean the same as before.
    """
    yaml = _make_writer()
    yaml.preserve_quotes = True
    _keep_indent(yaml, decode_text(data))
    document = yaml.load(decode_text(data))
    if isinstance(document, CommentedMap):
        _apply_changes(document, changes, load_yaml(data).value)
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue().encode()


def merge_changes(value: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the mapping with the changes in it (as RFC 7396).

    Mappings merge, None removes, the rest replaces.
    """
    result = dict(value)
    for key, change in changes.items():
        if change is None:
            result.pop(key, None)
        elif isinstance(change, dict):
            old = result.get(key)
            result[key] = merge_changes(old if isinstance(old, dict) else {}, change)
        else:
            result[key] = None if isinstance(change, Null) else change
    return result


def _apply_changes(document: CommentedMap, changes: dict[str, Any], plain: dict[str, Any]) -> None:
    """Make the changes in a document that says `plain`.

    What is so already is left alone, with its comments.
    """
    for key, change in changes.items():
        old = document.get(key)
        if change is None:
            document.pop(key, None)
        elif isinstance(change, dict) and isinstance(old, CommentedMap):
            _apply_changes(old, change, plain[key])
        elif isinstance(change, dict):
            document[key] = merge_changes({}, change)
        elif isinstance(change, Null):
            document[key] = None
        elif key not in plain or not is_same(plain[key], change):
            document[key] = change


def _keep_indent(yaml: YAML, text: str) -> None:
    """Set the writer to indent lists as the text does.

    That is `key:` then `- item`, or `key:` then `  - item`.
    """
    found = re.search(r"^( *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*(?:#[^\n]*)?\n)*( *)- ", text, re.MULTILINE)
    offset = len(found[2]) - len(found[1]) if found else 2
    yaml.indent(mapping=2, sequence=2 + max(offset, 0), offset=max(offset, 0))

"""Reading YAML 1.2 strictly.

Gives plain values with the line and column of each, or all reasons why not. The event stream of ruamel.yaml's pure
Python parser is read here, not its constructors and never a C parser: depth, aliases and size are bounded before
anything is built, and the scalars are those of the YAML 1.2 core schema, so that `8:00:00` and `no` stay text.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from store.deadlines import check_deadline, limit_computing
from store.errors import Invalid, make_problem
from store.jsons import MAX_DIGITS, dump_json, is_json, load_json
from store.yaml.syntax_errors import explain_error

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_ALIASES = 100
MAX_NODES = 100_000
MAX_EXPANDED_CHARS = 4_000_000
# The parser blocks the interpreter; files that people write take less than a tenth of this.
MAX_CPU_S = 10.0

Loc = tuple[str | int, ...]

NULL = re.compile(r"~|null|Null|NULL|")
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?[0-9]+")
OCTAL = re.compile(r"0o[0-7]+")
HEX = re.compile(r"0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
NOT_A_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
SCALAR_TAGS = {None, "!", "tag:yaml.org,2002:str"}
MAPPING_TAGS = {None, "!", "tag:yaml.org,2002:map"}
SEQUENCE_TAGS = {None, "!", "tag:yaml.org,2002:seq"}
# Characters that escapes can produce, but neither JSON nor a process accepts.
UNUSABLE = re.compile("[\\x00\\ud800-\\udfff]")
MERGE_KEY = "<<"


@dataclass(slots=True)
class Node:
    """One value with its place (1-based).

    `nodes`, `chars` and `height` are what it costs when an alias repeats it.
    """

    value: Any
    line: int
    column: int
    children: dict[str | int, Node] = field(default_factory=dict)
    keys: dict[str | int, tuple[int, int]] = field(default_factory=dict)
    nodes: int = 1
    chars: int = 0
    height: int = 0


class ParsedYaml:
    """A file's value in plain Python, and where its parts stand."""

    def __init__(self, value: Any, root: Callable[[], Node | None]) -> None:
        self.value = value
        self._root = root

    @cached_property
    def root(self) -> Node | None:
        """The tree of places; None for a file without a document."""
        return self._root()

    def locate(self, loc: Sequence[str | int], *, key: bool = False) -> tuple[int, int]:
        """Return line and column (1-based) of a part, or of what is around it.

        Scalars are found at the value, mappings and lists at the key that holds them; `key=True` always gives the key.
        """
        node = self.root
        if node is None:
            return (1, 1)
        place = (node.line, node.column)
        for part in loc:
            child = node.children.get(part)
            if child is None:
                continue  # a key of a section may also stand where the section would be
            place = node.keys.get(part, (child.line, child.column))
            if not key and not isinstance(child.value, dict | list):
                place = (child.line, child.column)
            node = child
        return place


def load_yaml(data: bytes) -> ParsedYaml:
    """Parse the one document in `data`. Raises Invalid.

    The value is None when there is nothing but comments. Invalid has line and column and is raised for: more than 1 MB,
    other encodings than UTF-8, NUL, several documents, duplicate or non-string keys, custom tags, NaN and infinity,
    integers of more than 4,000 digits, nesting beyond 32, more than 100 aliases, more than 100,000 values in all.
    """
    memory = _memory.get()
    key = hashlib.sha256(data).hexdigest() if memory else ""
    if memory and (known := memory.find(key)) is not None:
        return ParsedYaml(load_json(known), lambda: _compose_text(data))
    root = _compose_text(data)
    value = root.value if root else None
    if memory:
        memory.now[key] = dump_json(value).decode()
    return ParsedYaml(value, lambda: root)


def _compose_text(data: bytes) -> Node | None:
    """Parse the bytes into a tree of nodes. Raises Invalid."""
    text = decode_text(data)
    if "\t" in text and text.lstrip().startswith("{") and is_json(text):
        text = text.replace("\t", " ")  # JSON is YAML but for tabs before a word, and has none in its texts
    try:
        with limit_computing(MAX_CPU_S):
            return _Composer(text).compose_document()
    except MarkedYAMLError as error:
        raise Invalid([_make_problem(*explain_error(error, text))]) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        raise Invalid(
            [_make_problem(f"the character U+{int(error.character):04X} is not allowed in YAML", line, column)]
        ) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise Invalid([_make_problem(str(error).split("\n")[0] or "not YAML", 1, 1)]) from error


# Parsing takes a millisecond per ten lines, so values are kept for the next start by the SHA-256 of their file.
MEMORY_FORMAT = "1"
MEMORY_FROM = 100


@dataclass(slots=True)
class Memory:
    """Values as JSON by the hash of their file.

    Those of the last start, and those that this one read.
    """

    last: dict[str, str]
    now: dict[str, str]

    def find(self, key: str) -> str | None:
        """Return what the file with this hash said, or None."""
        if (found := self.now.get(key) or self.last.get(key)) is not None:
            self.now[key] = found
        return found


# Of this thread of work: two stores that load at the same time do not share it.
_memory: ContextVar[Memory | None] = ContextVar("memory", default=None)


def start_remembering(saved: bytes | None) -> None:
    """Make `load_yaml` remember what it reads, until `stop_remembering`.

    It also knows what `saved` has, if that is whole.
    """
    head, _, body = (saved or b"").partition(b"\n")
    is_whole = head.decode("ascii", "replace") == f"{MEMORY_FORMAT} {hashlib.sha256(body).hexdigest()}"
    _memory.set(Memory(load_json(body) if is_whole else {}, {}))


def stop_remembering(saved: bytes | None) -> bytes | None:
    """Stop, and return what to save for the next start.

    None when `saved` still does or there is too little.
    """
    memory = _memory.get()
    now = memory.now if memory else {}
    _memory.set(None)
    if len(now) < MEMORY_FROM:
        return None
    body = dump_json(now, option=orjson.OPT_SORT_KEYS)
    data = f"{MEMORY_FORMAT} {hashlib.sha256(body).hexdigest()}\n".encode() + body
    return None if data == saved else data


def decode_text(data: bytes) -> str:
    """Return the text of a UTF-8 file, without byte order mark.

    Raises Invalid when it is too large, not UTF-8 or holds NUL.
    """
    if len(data) > MAX_BYTES:
        raise Invalid([make_problem(f"the file has more than {MAX_BYTES} bytes", type="too_large")])
    if data and not data.strip(b"\0"):
        raise Invalid([_make_problem("the file holds nothing but NUL bytes; a crash may have cut it off", 1, 1)])
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Invalid([_make_problem("the file is UTF-16; save it as UTF-8", 1, 1)])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise Invalid([_make_problem("the file is not UTF-8", line, column)]) from error
    if (at := text.find("\0")) >= 0:
        raise Invalid(
            [_make_problem("the file holds a NUL byte", text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))]
        )
    return text


def parse_scalar(text: str) -> Any:
    """Return what an unquoted word means in the YAML 1.2 core schema.

    Section 10.3.2. Raises ValueError for NaN, infinity and integers of more than 4,000 digits.
    """
    if NULL.fullmatch(text):
        return None
    if BOOL.fullmatch(text):
        return text[0] in "tT"
    if not text[0].isdigit() and text[0] not in "+-.":
        return text
    if INT.fullmatch(text):
        return _parse_int(text, 10)
    if OCTAL.fullmatch(text):
        return _parse_int(text[2:], 8)
    if HEX.fullmatch(text):
        return _parse_int(text[2:], 16)
    if NOT_A_NUMBER.fullmatch(text):
        raise ValueError(f"{text} is not allowed; quote it if it is meant as text")
    if FLOAT.fullmatch(text):
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise ValueError(f"{text[:40]} is too large a number")
        return number
    return text


def _parse_int(digits: str, radix: int) -> int:
    # int() takes time quadratic in the digits, so their number is checked first.
    """Return the integer. Raises ValueError beyond MAX_DIGITS."""
    if len(digits) > MAX_DIGITS or abs(number := int(digits, radix)) >= 10**MAX_DIGITS:
        raise ValueError(
            f"the integer {digits[:24]}… has more than {MAX_DIGITS} digits; quote it if it is meant as text"
        )
    return number


class _Composer:
    """Reads one event stream into one tree of nodes, within bounds."""

    def __init__(self, text: str) -> None:
        self.events: Iterator[Any] = YAML(typ="safe", pure=True).parse(io.StringIO(text))
        self.anchors: dict[str, Node | None] = {}
        self.aliases = 0
        self.nodes = 0
        self.chars = 0

    def compose_document(self) -> Node | None:
        """Return the root of the one document; None if there is none."""
        root: Node | None = None
        documents = 0
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _make_error("only one YAML document may be in a file", event)
            elif isinstance(event, AliasEvent | ScalarEvent | SequenceStartEvent | MappingStartEvent):
                root = self.compose_node(event, 1)
        return root

    def compose_node(self, event: Any, depth: int) -> Node:
        """Return the tree that starts with this event."""
        if isinstance(event, AliasEvent):
            return self.compose_alias(event, depth)
        if depth > MAX_DEPTH and not isinstance(event, ScalarEvent):
            raise _make_error(f"nested deeper than {MAX_DEPTH} levels", event)
        self.count(1, 0, event)
        if event.anchor:
            self.anchors[event.anchor] = None  # defined, but an alias inside itself is refused
        if isinstance(event, ScalarEvent):
            node = self.compose_scalar(event)
        elif isinstance(event, MappingStartEvent):
            node = self.compose_mapping(event, depth)
        else:
            node = self.compose_sequence(event, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def count(self, nodes: int, chars: int, event: Any) -> None:
        """Count values and characters; raise Invalid beyond the bounds."""
        self.nodes += nodes
        self.chars += chars
        if self.nodes > MAX_NODES or self.chars > MAX_EXPANDED_CHARS:
            raise _make_error(f"more than {MAX_NODES} values or {MAX_EXPANDED_CHARS} characters", event)
        if self.nodes % 1024 == 0:
            check_deadline()

    def compose_alias(self, event: Any, depth: int) -> Node:
        """Return a copy of the node that the alias names."""
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise _make_error(f"more than {MAX_ALIASES} aliases", event)
        node = self.anchors.get(event.anchor)
        if node is None:
            known = event.anchor in self.anchors
            why = "holds itself" if known else "names no anchor; put it in quotes if it is meant as text"
            raise _make_error(f"the alias *{event.anchor} {why}", event)
        if depth + node.height > MAX_DEPTH + 1:
            raise _make_error(f"nested deeper than {MAX_DEPTH} levels", event)
        self.count(node.nodes, node.chars, event)
        place = _get_place(event)
        # Copied, so that changing one use of an anchor does not change the others.
        return Node(_copy_value(node.value), *place, node.children, node.keys, node.nodes, node.chars, node.height)

    def compose_scalar(self, event: Any) -> Node:
        if event.tag not in SCALAR_TAGS:
            raise _make_tag_error(event)
        value: Any = event.value
        self.count(0, len(value), event)
        if UNUSABLE.search(value):  # JSON writes a character beyond U+FFFF as two escapes
            value = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        if UNUSABLE.search(value):
            raise _make_error("text must not hold NUL or half a surrogate pair", event)
        if event.tag is None and event.implicit[0]:
            try:
                value = parse_scalar(value)
            except ValueError as error:
                raise _make_error(str(error), event) from error
        return Node(value, *_get_place(event), chars=len(event.value))

    def compose_sequence(self, event: Any, depth: int) -> Node:
        if event.tag not in SEQUENCE_TAGS:
            raise _make_tag_error(event)
        node = Node([], *_get_place(event), height=1)
        while not isinstance(part := next(self.events), SequenceEndEvent):
            child = self.compose_node(part, depth + 1)
            self.add_child(node, len(node.value), child)
            node.value.append(child.value)
        return node

    def compose_mapping(self, event: Any, depth: int) -> Node:
        if event.tag not in MAPPING_TAGS:
            raise _make_tag_error(event)
        node = Node({}, *_get_place(event), height=1)
        merges: list[tuple[Any, Node]] = []
        while not isinstance(part := next(self.events), MappingEndEvent):
            key = self.compose_key(part, node, depth)
            child = self.compose_node(next(self.events), depth + 1)
            if key == MERGE_KEY and part.implicit[0]:
                merges.append((part, child))
            else:
                self.add_child(node, key, child, _get_place(part))
                node.value[key] = child.value
        if len(merges) > 1:
            raise _make_error("the key << stands here twice", merges[1][0])
        for merge, source in merges:
            self.merge(node, source, merge)
        return node

    def compose_key(self, event: Any, node: Node, depth: int) -> str:
        """Return a key of the mapping; refuse all but new texts."""
        if isinstance(event, MappingStartEvent) and _get_place(event) == (node.line, node.column + 1):
            raise Invalid([_make_problem("a value that begins with {{ must stand in quotes", node.line, node.column)])
        if not isinstance(event, ScalarEvent):
            raise _make_error("a key must be text", event)
        name = self.compose_node(event, depth).value
        if not isinstance(name, str):
            raise _make_error(f"a key must be text; write '{event.value}' in quotes", event)
        if name in node.value:
            line = node.keys[name][0]
            raise _make_error(f"the key '{name[:80]}' stands here twice, first in line {line}", event)
        return name

    def merge(self, node: Node, source: Node, event: Any) -> None:
        """Merge what `<<` names into the mapping.

        The mapping's own keys win, then those of earlier sources.
        """
        sources = list(source.children.values()) if isinstance(source.value, list) else [source]
        for source_ in sources:
            if not isinstance(source_.value, dict):
                raise _make_error("<< takes a mapping or a list of mappings", event)
            for key, child in source_.children.items():
                if key not in node.value:
                    self.add_child(node, key, child, source_.keys[key])
                    node.value[key] = _copy_value(child.value)

    def add_child(self, node: Node, key: str | int, child: Node, place: tuple[int, int] | None = None) -> None:
        """Hang a node below another, adding up the costs."""
        node.children[key] = child
        if place is not None:
            node.keys[key] = place
        node.nodes += child.nodes
        node.chars += child.chars
        node.height = max(node.height, child.height + 1)


def _copy_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy_value(item) for key, item in value.items()}
    return [_copy_value(item) for item in value] if isinstance(value, list) else value


def _get_place(event: Any) -> tuple[int, int]:
    return (event.start_mark.line + 1, event.start_mark.column + 1)


def _make_problem(message: str, line: int, column: int) -> dict[str, Any]:
    return make_problem(message, type="yaml", line=line, column=column)


def _make_error(message: str, event: Any) -> Invalid:
    """Return Invalid with a problem at the event's place."""
    return Invalid([_make_problem(message, *_get_place(event))])


def _make_tag_error(event: Any) -> Invalid:
    return _make_error(f"the tag {event.tag} is not allowed; put the value in quotes if it is meant as text", event)

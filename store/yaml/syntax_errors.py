"""What is wrong with a text that is not YAML, in a sentence.

The parser says where it could not go on, and in its own words; the cause is often a line further up, and the place told
is where one mends it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ruamel.yaml.error import MarkedYAMLError

Place = tuple[int, int]
Found = tuple[str, Place]

BREAK = re.compile("\r\n|[\n\r]")
# A line: its dashes, its first word, and what is behind that.
LINE = re.compile(r" *(?P<dashes>(?:- +)*)(?P<word>[^\s:#'\"\[\]{},]*)(?P<rest>.*)", re.DOTALL)
MERGE_MARK = re.compile(r"(<{7} .*|={7}|>{7} .*)$")
LONGEST_KEY = 1024
QUOTE_IT = "put the value in quotes"


@dataclass(frozen=True, slots=True)
class _Fault:
    """What the parser found; places count from 0."""

    lines: list[str]
    at: Place
    start: Place  # of the list, mapping or text that it was in
    found: str  # the token in its way

    @property
    def line(self) -> str:
        return self.get_line(self.at[0])

    @property
    def before(self) -> str:
        """What stands in the line in front of the place."""
        return self.line[: self.at[1]]

    @property
    def opening(self) -> str:
        """The character that began what it was in: a bracket, a quote, a sign."""
        return self.get_line(self.start[0])[self.start[1] : self.start[1] + 1]

    @property
    def is_first(self) -> bool:
        """Whether nothing but dashes stands in front of it."""
        return not self.before.strip(" -")

    def get_line(self, number: int) -> str:
        return self.lines[number] if number < len(self.lines) else ""

    def find_above(self, number: int) -> int | None:
        """Return the next line above that says something."""
        return next((at for at in range(number - 1, -1, -1) if not re.match(r"\s*(#|$)", self.lines[at])), None)


def explain_error(error: MarkedYAMLError, text: str) -> tuple[str, int, int]:
    """Return a sentence about the parser's error, with line and column."""
    context, problem = error.context or "", error.problem or ""
    marks = [mark for mark in (error.problem_mark, error.context_mark) if mark] or [None]
    at, start = [(mark.line, mark.column) if mark else (0, 0) for mark in (marks[0], marks[-1])]
    words = re.search(r"(?:found|got) (?:character )?\(?(['\"])(.*)\1", problem, re.DOTALL)
    fault = _Fault(BREAK.split(text), at, start, words[2] if words else "")
    sentence, (line, column) = _find_merge_mark(fault) or _apply_rules(fault, f"{context}; {problem}")
    return sentence, line + 1, column + 1


def _apply_rules(fault: _Fault, words: str) -> Found:
    for part, explain in RULES:
        if part in words:
            return explain(fault)
    return f"this is not YAML: {words.strip('; ')}", fault.at


def _find_merge_mark(fault: _Fault) -> Found | None:
    marked = [number for number, line in enumerate(fault.lines) if MERGE_MARK.match(line)]
    if len(marked) < 2:
        return None
    return "marks of a merge still stand here: keep one side, and delete <<<<<<<, ======= and >>>>>>>", (marked[0], 0)


def _explain_missing_colon(fault: _Fault, number: int | None = None) -> Found:
    """Explain a line that is neither `key: value` nor part of a text."""
    number = fault.start[0] if number is None else number
    parts = LINE.match(fault.get_line(number))
    assert parts
    word, rest, place = parts["word"], parts["rest"], (number, parts.end("dashes"))
    above = fault.find_above(number)
    if above is not None and re.search(r":\s+[|>][-+\d]*\s*(#.*)?$", fault.lines[above]):
        return "a text of several lines stands further in than its key: indent this line", place
    if re.match(r"-\w", word):
        return "a space is missing after the dash", place
    if re.match(r":\S", rest):
        return f"a space is missing after the colon of '{word}'", (number, parts.end("word"))
    if re.match(r"\s*=", rest):
        return f"a key and its value are written with a colon: {word}: {rest.lstrip(' =')}", place
    if not word:
        return "a key is expected here, with a colon behind it", place
    return f"the colon after '{word[:40]}' is missing", (number, parts.end("word"))


def _explain_colon(fault: _Fault) -> Found:
    """Explain a colon where no key may stand."""
    number = fault.at[0]
    own = re.match(r"\s*(?:- +)*([^\s:#][^:#]*):\s", fault.before)
    if own:
        name = own[1].strip()
        return f"a second colon with a space after it is in this line: put the value of '{name}' in quotes", fault.at
    if len(fault.before.strip()) > LONGEST_KEY:
        return f"a key has at most {LONGEST_KEY} characters", (number, 0)
    above = fault.find_above(number)
    if above is None:
        return "no colon may stand here; " + QUOTE_IT, fault.at
    parts = LINE.match(fault.lines[above])
    assert parts
    if parts["word"].startswith("-") or not re.match(r":\s", parts["rest"]):
        return _explain_missing_colon(fault, above)
    name, place = fault.before.strip(), (number, _measure_indent(fault.before))
    if name.startswith("- "):
        return f"no list may stand below '{parts['word']}', which has a value", place
    column = parts.end("dashes") + 1
    return f"'{name}' stands further in than '{parts['word']}', which has a value: begin it in column {column}", place


def _explain_end(fault: _Fault) -> Found:
    """Explain what stands where a list or mapping should be over."""
    return _explain_indentation(fault) if fault.is_first else _explain_more(fault)


def _explain_more(fault: _Fault) -> Found:
    """Explain what follows a whole value in its line."""
    before = fault.before.rstrip()
    value = re.search(r"(?:^|[:-]\s+)(\{\{.*)$", before)
    if value:
        return "a value that begins with {{ must stand in quotes", (fault.at[0], value.start(1))
    if fault.found in ("]", "}"):
        return f"there is a {fault.found} too many", fault.at
    if before[-1:] in ("'", '"'):
        return _explain_quote(fault, before[-1])
    return f"nothing may follow here in the same line; if it belongs to the value, {QUOTE_IT}", fault.at


def _explain_quote(fault: _Fault, quote: str) -> Found:
    """Explain what stands behind a closing quote."""
    if fault.before.count(quote) % 2:  # it was opened further up
        opened = (at for at in range(fault.at[0] - 1, -1, -1) if fault.lines[at].count(quote) % 2)
        number = next(opened, fault.at[0])
        place = (number, fault.get_line(number).rfind(quote))
        return f"the quote {quote} that is opened here is not closed in its line", place
    inner = "''" if quote == "'" else '\\"'
    return f"the text in quotes ends before this; a quote inside it is written {inner}", fault.at


def _explain_indentation(fault: _Fault) -> Found:
    number, column = fault.at[0], _measure_indent(fault.before)
    place = (number, column)
    columns = _list_columns(fault, number)
    if number and not fault.lines[number - 1].strip(" ") and len(fault.lines[number - 1]) > column:
        return "the empty line above is further in than the text below it: delete its spaces", place
    if column in columns and fault.line[column : column + 1] == "-":
        return "keys stand here: a dash needs a key of its own above it", place
    if column in columns:
        return "a list stands here: this line needs a dash, or less indentation", place
    near = [each + 1 for each in columns if each < column][:1] + [each + 1 for each in columns if each > column][-1:]
    said = f"this line begins in column {column + 1}, those above it in column {' or '.join(map(str, near or [1]))}"
    return f"{said}: indent it like one of them", place


def _measure_indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _list_columns(fault: _Fault, number: int) -> list[int]:
    """Return where lists and keys above begin, the innermost first."""
    columns: list[int] = []
    above = fault.find_above(number)
    while above is not None and (not columns or columns[-1] > 0):
        parts = LINE.match(fault.lines[above])
        assert parts
        dashes = [parts.start("dashes") + at for at, sign in enumerate(parts["dashes"]) if sign == "-"]
        columns += [at for at in (parts.end("dashes"), *reversed(dashes)) if not columns or at < columns[-1]]
        above = fault.find_above(above)
    return columns


def _explain_bracket(fault: _Fault) -> Found:
    """Explain a list or mapping in brackets that does not go on."""
    bracket = fault.opening
    if fault.found in ("]", "}"):
        return f"the {bracket} of line {fault.start[0] + 1} is closed by a {fault.found}", fault.at
    if fault.found == "<scalar>" or (fault.at[0] == fault.start[0] and fault.found != "<stream end>"):
        return f"a comma is missing before this, or the {bracket} of line {fault.start[0] + 1} is not closed", fault.at
    return f"the {bracket} is not closed", fault.start


def _explain_character(fault: _Fault) -> Found:
    """Explain a character that begins no value."""
    sign = fault.line[fault.at[1] : fault.at[1] + 1]
    if sign == "\t":
        return "a tab stands here: indent with spaces", fault.at
    if fault.before.endswith("{"):
        return "a value that begins with {% must stand in quotes", (fault.at[0], fault.at[1] - 1)
    return f"a value cannot begin with {sign}; {QUOTE_IT}", fault.at


def _explain_escape(fault: _Fault) -> Found:
    """Explain a backslash in double quotes."""
    place = (fault.at[0], fault.before.rfind("\\"))
    escape = fault.line[place[1] : place[1] + 2]
    if not fault.before.endswith("\\"):
        return f"{escape} needs the digits of a character behind it; a backslash itself is written \\\\", place
    return f"{escape} means nothing in double quotes: write \\{escape}, or use single quotes", place


def _explain_open_text(fault: _Fault) -> Found:
    return f"the quote {fault.opening} is not closed", fault.start


def _explain_block(fault: _Fault) -> Found:
    sign = fault.opening
    return f"a text after {sign} begins in the next line; if {sign} belongs to the value, {QUOTE_IT}", fault.start


def _explain_sign(fault: _Fault) -> Found:
    """Explain a value that begins with a sign of YAML's own."""
    return f"a value that begins with {fault.opening} must stand in quotes", fault.start


def _explain_dash(fault: _Fault) -> Found:
    return f"a list begins in a new line; if the dash belongs to the value, {QUOTE_IT}", fault.at


def _explain_content(fault: _Fault) -> Found:
    if fault.found == ",":
        return "a value is missing before the comma", fault.at
    if fault.found in ("]", "}"):
        return f"there is a {fault.found} too many, or a value in quotes is missing", fault.at
    if fault.found == "<stream end>":
        return "the text ends within brackets: a ] or } is missing", fault.at
    return "a value is missing here", fault.at


def _explain_rest(fault: _Fault) -> Found:
    """Explain what follows the one value of the whole text."""
    above = fault.find_above(fault.at[0])
    if above is not None and fault.lines[above].startswith("%"):
        return "no line may begin with %; put it in quotes, or # before it", (above, 0)
    if above is None or not fault.is_first:
        return _explain_more(fault)
    return f"nothing may follow the value that ends in line {above + 1}: a file is one mapping", fault.at


def _make_rule(sentence: str, at_start: bool = False) -> Callable[[_Fault], Found]:
    return lambda fault: (sentence, fault.start if at_start else fault.at)


# What the parser says (a part of it) → who explains it; the first that fits.
RULES: tuple[tuple[str, Callable[[_Fault], Found]], ...] = (
    ("could not find expected ':'", _explain_missing_colon),
    ("mapping values are not allowed here", _explain_colon),
    ("while scanning for the next token", _explain_character),
    ("expected <block end>", _explain_end),
    ("while scanning a quoted scalar", _explain_open_text),
    ("while scanning a double-quoted scalar", _explain_escape),
    ("while parsing a flow sequence", _explain_bracket),
    ("while parsing a flow mapping", _explain_bracket),
    ("more indented follow up line", _make_rule("a text of several lines begins with the line that is least far in")),
    ("while scanning a block scalar", _explain_block),
    ("while scanning an alias", _explain_sign),
    ("while scanning an anchor", _explain_sign),
    ("a tag", _explain_sign),
    ("tag handle", _explain_sign),
    ("parsing an tag", _explain_sign),
    (
        "while scanning a directive",
        _make_rule("no line may begin with %; put it in quotes, or # before it", at_start=True),
    ),
    ("%YAML", _make_rule("%YAML stands here twice")),
    ("incompatible YAML document", _make_rule("%YAML must say 1.2, or be left out")),
    ("sequence entries are not allowed here", _explain_dash),
    ("mapping keys are not allowed here", _make_rule(f"a value cannot begin with ?; {QUOTE_IT}")),
    ("expected the node content", _explain_content),
    ("found unexpected ':'", _make_rule(f"a colon stands inside a value in brackets; {QUOTE_IT}")),
    ("expected '<document start>'", _explain_rest),
    ("after document end marker", _make_rule("nothing may follow the line '...', which ends the text")),
)

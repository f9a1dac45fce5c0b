"""The language of `filter=`: terms like `memory>=4G`. Pure.

    filter = term, {[ "and" ], term}                   all must hold
    term   = field, operator, value
    operator: = != > < >= <= ~ (contains) !~ (does not contain) =~ (regular expression) in, not in

A value with blanks stands in quotes. Regular expressions are RE2's, whose time grows with the length of a text only.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from store.errors import Invalid, make_problem, suggest_word
from store.rules.queue import amounts, job_states
from store.rules.queue.job_fields import (
    ALIASES,
    DURATION,
    FIELDS,
    HOSTS,
    NUMBER,
    PARTS,
    SIZE,
    STATE,
    TEXT,
    TIME,
    WORDED,
    JobField,
    Row,
    get_field_name,
    make_rank,
    rank_id,
)

MOST_CHARS, MOST_TERMS, MOST_VALUES = 4000, 50, 1000
# Of a regular expression, of the memory that one may take, and of the text that it is tried on.
PATTERN_CHARS, PATTERN_BYTES, TEXT_CHARS = 500, 1_000_000, 4096
_BLANKS = re.compile(r"\s*")
_AND = re.compile(r"(?:and\b|&&)", re.IGNORECASE)
_OR = re.compile(r"(?:or\b|\|\|)", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r"!=|!~|>=|<=|=~|==|=|~|>|<|:|not\s+in(?=[\s(])|in(?=[\s(])", re.IGNORECASE)
_QUOTED = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'""", re.DOTALL)
_ID = re.compile(r"(\d{1,10})(?:[_+](\d{1,9}))?", re.ASCII)
_BARE, _BARE_ITEM = re.compile(r"\S+"), re.compile(r"[^\s,()]+")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip
_ORDERED, _SEARCHING, _LISTING = frozenset({">", "<", ">=", "<="}), frozenset({"~", "!~", "=~"}), ("in", "not in")

# A value of each kind.
EXAMPLES = {
    TEXT: "name", NUMBER: "4", SIZE: "4G", DURATION: "2:30:00", TIME: "now-2h", STATE: "RUNNING", HOSTS: "node1",
}  # fmt: skip
Test = Callable[[Row], bool]
ExpandHosts = Callable[[str], Sequence[str]]


class Value(NamedTuple):
    """A value in a filter: its text, whether it was quoted, its place."""

    text: str
    is_quoted: bool
    at: int


class JobFilter(NamedTuple):
    """A filter that was understood.

    `tests` must all hold; `states` are those that it asks for by name, such as in `state=FAILED`.
    """

    tests: tuple[Test, ...] = ()
    states: frozenset[str] = frozenset()

    def filter_rows(self, rows: list[Any]) -> list[Any]:
        """Return the rows that the filter takes, in their order."""
        for test in self.tests:
            rows = [row for row in rows if test(row)]
        return rows


class FilterError(ValueError):
    """A place in a filter that cannot be understood."""

    def __init__(self, at: int, text: str) -> None:
        super().__init__(f"at character {at + 1}: {text}")


def list_operators(name: str) -> tuple[str, ...]:
    """List the operators that a field takes.

    >>> list_operators("gpus")
    ('=', '!=', '>', '<', '>=', '<=', 'in', 'not in')
    """
    is_worded = FIELDS[name].kind in WORDED
    # Ids have an order by their numbers, and `nodes>4` asks for the number of nodes.
    has_order = not is_worded or name in ("job_id", "nodes")
    ordered, searching = (">", "<", ">=", "<=") if has_order else (), ("~", "!~", "=~") if is_worded else ()
    return ("=", "!=", *ordered, *searching, *_LISTING)


def parse_filter(text: str | None, now: float, expand_hosts: ExpandHosts) -> JobFilter:
    """Parse a filter; `now` is epoch seconds. Raises Invalid."""
    try:
        return _Parser(text or "", now, expand_hosts).parse_terms()
    except FilterError as problem:
        raise Invalid([make_problem(str(problem), ["query", "filter"], input=(text or "")[:200])]) from None


class _Parser:
    """What is left of one filter's text."""

    def __init__(self, text: str, now: float, expand_hosts: ExpandHosts) -> None:
        if len(text) > MOST_CHARS:
            raise FilterError(MOST_CHARS, f"a filter has at most {MOST_CHARS} characters")
        self.text, self.now, self.expand_hosts = text, now, expand_hosts
        self.at = 0

    def parse_terms(self) -> JobFilter:
        """Parse the whole text."""
        tests: list[Test] = []
        states: set[str] = set()
        while self._skip_blanks():
            if tests and self._take(_AND):
                if not self._skip_blanks():
                    raise FilterError(self.at, "a term is missing after 'and'")
            elif tests and _OR.match(self.text, self.at):
                raise FilterError(self.at, "terms are joined by 'and' only; several values of a field: state in (PD,R)")
            if len(tests) == MOST_TERMS:
                raise FilterError(self.at, f"a filter has at most {MOST_TERMS} terms")
            tests.append(self._parse_term(states))
        return JobFilter(tuple(tests), frozenset(states))

    def _skip_blanks(self) -> bool:
        """Skip blanks; return whether there is more."""
        self._take(_BLANKS)
        return self.at < len(self.text)

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match

    def _parse_term(self, states: set[str]) -> Test:
        begin = self.at
        word = self._take(_NAME)
        name = get_field_name(word[0]) if word else None
        if word is None:
            raise FilterError(begin, "a field is expected here, such as state, user or memory")
        if name is None:
            raise FilterError(begin, f"unknown field '{word[0][:60]}'{suggest_word(word[0], (*FIELDS, *ALIASES))}")
        self._skip_blanks()
        sign_at = self.at
        if (match := self._take(_OPERATOR)) is None:
            raise FilterError(sign_at, f"after '{word[0]}' one of = != > < >= <= ~ !~ =~ in is expected")
        sign = " ".join(match[0].lower().split())
        sign = "=" if sign in ("==", ":") else sign
        self._skip_blanks()
        values = self._parse_list() if sign in _LISTING else [self._parse_value(_BARE)]
        field = FIELDS[name]
        if sign not in list_operators(name):
            no_order, no_text = f"has no order that {sign} could ask for", "is no text: use = != > < >= <= or in"
            raise FilterError(sign_at, f"'{name}' {no_order if sign in _ORDERED else no_text}")
        if name == "job_id" and sign in _ORDERED:
            return self._make_id_test(sign, values[0])
        if field.kind == HOSTS and sign in _ORDERED:
            field = FIELDS["node_count"]  # `nodes>4` asks for their number
        if field.kind == STATE and sign in ("=", "in"):
            states.update(self._convert(field, value) for value in values)
        return self._make_test(field, sign, values)

    def _parse_list(self) -> list[Value]:
        """Parse `(a, b)` or `a,b`."""
        closing = ")" if self.text.startswith("(", self.at) else ""
        self.at += len(closing)
        values: list[Value] = []
        while len(values) < MOST_VALUES:
            self._skip_blanks()
            values.append(self._parse_value(_BARE_ITEM))
            end = self.at
            self._skip_blanks()
            if self.text.startswith(",", self.at):
                self.at += 1
            elif not closing:
                self.at = end
                return values
            elif self.text.startswith(closing, self.at):
                self.at += 1
                return values
            else:
                raise FilterError(self.at, "a ',' or ')' is expected here")
        raise FilterError(self.at, f"a list has at most {MOST_VALUES} values")

    def _parse_value(self, bare: re.Pattern[str]) -> Value:
        begin = self.at
        if self.text[begin : begin + 1] in ('"', "'"):
            if (match := self._take(_QUOTED)) is None:
                raise FilterError(begin, "this quote is never closed")
            quote = match[0][0]
            # Other backslashes stay, for regular expressions.
            inner = re.sub(rf"\\([\\{quote}])", r"\1", match[1] if quote == '"' else match[2])
            return Value(inner, True, begin)
        if (match := self._take(bare)) is None:
            raise FilterError(begin, "a value is expected here")
        return Value(match[0], False, begin)

    # ------------------------------------------------------------------------------------------------------ meaning

    def _convert(self, field: JobField, value: Value) -> Any:
        """Convert a value to what the field's are; None for `null`."""
        if value.text.lower() == "null" and not value.is_quoted:
            return None
        if field.kind == STATE:
            state = job_states.find_state(value.text)
            if state is None:
                raise FilterError(value.at, job_states.describe_unknown_state(value.text))
            return state
        parsers: dict[str, Callable[[str], Any]] = {
            NUMBER: amounts.parse_number,
            SIZE: amounts.parse_size_mb,
            DURATION: amounts.parse_duration_s,
            TIME: partial(amounts.parse_time_s, now=self.now),
        }
        try:
            return parsers.get(field.kind, str)(value.text)
        except ValueError as problem:
            raise FilterError(value.at, str(problem)) from None

    def _make_test(self, field: JobField, sign: str, values: list[Value]) -> Test:
        read = field.read
        if field.kind == HOSTS:
            return self._make_hosts_test(sign, values)
        if sign in _SEARCHING:
            matches = self._make_search(sign, values[0])
            return lambda row: matches(read(row) or "")
        wanted = [self._convert(field, value) for value in values]
        if sign in _LISTING:
            chosen = frozenset(wanted)
            return (lambda row: read(row) in chosen) if sign == "in" else (lambda row: read(row) not in chosen)
        value = wanted[0]
        if sign == "!=":
            return lambda row: read(row) != value
        if value is None and sign in _ORDERED:
            raise FilterError(values[0].at, "null is neither larger nor smaller than anything")
        compare = _COMPARE[sign]
        if sign == "=":
            return lambda row: read(row) == value
        return lambda row: (own := read(row)) is not None and compare(own, value)

    def _make_hosts_test(self, sign: str, values: list[Value]) -> Test:
        """Make a test of the nodes of a job, of which one must fit."""
        expand, wanted = self.expand_hosts, frozenset(value.text for value in values)
        if sign in _SEARCHING:
            matches = self._make_search("~" if sign == "!~" else sign, values[0])
            is_wanted = sign != "!~"
            return lambda row: any(map(matches, expand(row["nodes"] or ""))) is is_wanted
        is_wanted = sign in ("=", "in")
        if wanted == {"null"}:
            return lambda row: (not row["nodes"]) is is_wanted
        return lambda row: wanted.isdisjoint(expand(row["nodes"] or "")) is not is_wanted

    def _make_id_test(self, sign: str, value: Value) -> Test:
        """Make a test of ids by their numbers; tasks count where one is named."""
        compare, match = _COMPARE[sign], _ID.fullmatch(value.text)
        if match is None:
            raise FilterError(value.at, f"'{value.text[:40]}' is no id of a job; write it as 12345 or 12345_7")
        number, part = int(match[1]), match[2]
        if part is None:
            return lambda row: compare(rank_id(row) // PARTS, number)
        wanted = make_rank(number, int(part))
        return lambda row: compare(rank_id(row), wanted)

    def _make_search(self, sign: str, value: Value) -> Callable[[str], bool]:
        if sign == "=~":
            return _compile_search(value)
        part = value.text.casefold()
        return (lambda text: part in text.casefold()) if sign == "~" else (lambda text: part not in text.casefold())


def _compile_search(value: Value) -> Callable[[str], bool]:
    """Compile a regular expression to what looks for it in a text."""
    if len(value.text) > PATTERN_CHARS:
        raise FilterError(value.at, f"a regular expression has at most {PATTERN_CHARS} characters")
    import re2  # 4 MB and some milliseconds that only those pay who use it

    options = re2.Options()
    options.max_mem, options.log_errors = PATTERN_BYTES, False
    try:
        re2.compile(value.text.encode(), options)  # says what is wrong
        # A set of one: it looks for no groups and no places, which takes a third of the time.
        patterns = re2.Set.SearchSet(options)
        patterns.Add(value.text.encode())
        patterns.Compile()
    except re2.error as problem:
        said = problem.args[0] if problem.args else problem
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        text = text.replace("failed to compile Set", "pattern too large")
        raise FilterError(value.at, f"no regular expression: {text[:200]}") from None
    match = patterns.Match
    # Bytes spare RE2 to count characters; to remember what was found would cost as much as to look again.
    return lambda text: bool(match(text[:TEXT_CHARS].encode("utf-8", "replace")))

"""Lines of a log that match, as a reader sees them: without control codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from store.errors import Invalid, make_problem

# What a terminal does not show: CSI, OSC, DCS and the like, other escapes, and the carriage return before a line feed.
CONTROLS = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]"
    rb"|\r+(?=\n|\Z)"
)
UNSEEN = b"\x00\x07\x0e\x0f"
# So much memory a regular expression may take; one that needs more is refused.
PATTERN_BYTES = 8 << 20
# So much of a line is shown around a match.
AROUND_BYTES = 100

# Finds the first match of a text from a place on: where it begins and ends, or None.
Find = Callable[[bytes, int], tuple[int, int] | None]


class Match(NamedTuple):
    """The first match in a line.

    `line` is how many lines before it the text has, `begin` where the line begins in it, and `text` what stands around
    the match.
    """

    line: int
    begin: int
    text: str


def compile_search(words: str, is_regex: bool, has_case: bool) -> Find:
    """Compile what is looked for; raise Invalid for a wrong expression.

    Expressions take linear time, and end where a line does.
    """
    wanted = words.encode("utf-8", "replace")
    if not is_regex and has_case:
        return lambda text, at: None if (found := text.find(wanted, at)) < 0 else (found, found + len(wanted))
    import re2  # 4 MB and some milliseconds that only those pay who use it

    options = re2.Options()
    options.max_mem, options.log_errors, options.never_nl = PATTERN_BYTES, False, True
    options.case_sensitive, options.literal = has_case, not is_regex
    try:
        pattern = re2.compile(b"(?m)" + wanted if is_regex else wanted, options)
    except re2.error as problem:
        said = problem.args[0] if problem.args else problem
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        message = f"no regular expression: {text.replace('(?m)', '')[:200]}"
        raise Invalid([make_problem(message, ["query", "q"], input=words)]) from None

    def find(text: bytes, at: int) -> tuple[int, int] | None:
        found = pattern.search(text, at)
        return None if found is None else (int(found.start()), int(found.end()))

    return find


def find_matches(data: bytes, find: Find) -> Iterator[Match]:
    """Find each line that matches, in order.

    >>> list(find_matches(b"one\\ntw\\x1b[1mo\\n\\ntwo two\\n", compile_search("two", False, True)))
    [Match(line=1, begin=4, text='two'), Match(line=3, begin=13, text='two two')]
    """
    clean = CONTROLS.sub(b"", data) if b"\x1b" in data or b"\r" in data else data
    clean = clean.translate(None, UNSEEN) if b"\0" in clean or b"\a" in clean else clean  # a file may be full of NULs
    at = counted = line = passed = original = 0
    while (found := find(clean, at)) is not None and found[0] < len(clean):
        begin = clean.rfind(b"\n", 0, found[0]) + 1
        line += clean.count(b"\n", counted, begin)
        counted = begin
        if clean is data:
            original = begin
        else:
            while passed < line:
                original, passed = data.index(b"\n", original) + 1, passed + 1
        end = clean.find(b"\n", begin)
        end = len(clean) if end < 0 else end
        around = clean[max(begin, found[0] - AROUND_BYTES) : min(end, found[1] + AROUND_BYTES)]
        yield Match(line, original, around.decode("utf-8", "replace"))
        if end >= len(clean):
            return
        at = end + 1

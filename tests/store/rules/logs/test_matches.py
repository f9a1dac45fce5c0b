"""Which lines match, as a reader sees them."""

from __future__ import annotations

import pytest

from store.errors import Invalid
from store.rules.logs.matches import compile_search, find_matches


@pytest.mark.parametrize(
    ("why", "data", "words", "is_regex", "lines"),
    [
        ("words", b"a\nhit\nb\nhit hit\n", "hit", False, [1, 3]),
        ("any case", b"Hit\n", "hIT", False, [0]),
        ("beyond ASCII", "É\nè\n".encode(), "é", False, [0]),
        ("letters of expressions", b"a.b\naxb\n", "a.b", False, [0]),
        ("an expression", b"a.b\naxb\n", "a.b", True, [0, 1]),
        ("its ends are those of lines", b"ab\nb\nbb\n", "^b$", True, [1]),
        ("it does not go on in the next line", b"a\nb\n", "a[^x]b", True, []),
        ("empty lines", b"a\n\nb\n\n", "^$", True, [1, 3]),
        ("colours within a word", b"\x1b[1;31mer\x1b[0mror\n", "error", False, [0]),
        ("a title", b"\x1b]0;error\x07fine\n", "error", False, []),
        ("a colour's number", b"\x1b[31mred\n", "31", False, []),
        ("lines of Windows", b"a\r\nb\r\n", "a$", True, [0]),
        ("not UTF-8", b"\xff\xfe hit\n", "hit", False, [0]),
        ("behind colours the places are those of the file", b"\x1b[1mx\n\x1b[0my\nhit\n", "hit", False, [2]),
    ],
)
def test_lines_that_match(why: str, data: bytes, words: str, is_regex: bool, lines: list[int]) -> None:
    found = list(find_matches(data, compile_search(words, is_regex, False)))
    assert [match.line for match in found] == lines, why
    starts = [0, *(at + 1 for at, byte in enumerate(data) if byte == 10)]
    assert [match.begin for match in found] == [starts[line] for line in lines], why


@pytest.mark.parametrize(
    ("words", "said"), [("(", "missing )"), ("(?=a)", "(?="), ("((a{100}){100}){100}", "repetition")]
)
def test_wrong_expressions_are_refused(words: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        compile_search(words, True, False)
    assert said in str(refused.value) and "(?m)" not in str(refused.value)

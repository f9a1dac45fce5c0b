"""Finding things by words. Pure.

What is searched of a thing is one text: `id` and title behind a mark each, then all of its fields, then their words
between blanks. So how well a word fits is asked of the text alone, without taking it apart again.
"""

from __future__ import annotations

import heapq
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from store.errors import Invalid, make_problem, suggest_word

# The types by the words of the document, in the order in which results of one score stand.
TYPES = {
    "jobs": "job", "nodes": "node", "users": "user", "partitions": "partition", "workflows": "workflow", "runs": "run",
}  # fmt: skip
MOST_WORDS = 10
EXACT, PREFIX, WORD, PART = 1.0, 0.9, 0.8, 0.6
MARK, END = "\x01", "\x02"
_SEPARATORS = re.compile(r"[\W_]+")


def fold_text(text: str) -> str:
    """Fold differences of case and width, and take marks out."""
    plain = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return plain.replace(MARK, " ").replace(END, " ") if MARK in plain or END in plain else plain


def make_search_text(id: str, title: str, fields: Iterable[str | None]) -> str:
    """Make the text of a thing that is searched."""
    head = f"{MARK}{fold_text(id)}{MARK}{fold_text(title)}{MARK}"
    rest = END.join(fold_text(field) for field in fields if field)
    return f"{head}{END}{rest}{END} {_SEPARATORS.sub(' ', head + END + rest)} "


def parse_words(text: str) -> list[str]:
    """Parse the words that all must be found. Raises Invalid for none."""
    words = list(dict.fromkeys(fold_text(text).split()))
    if not words or len(words) > MOST_WORDS:
        message = f"must have 1 to {MOST_WORDS} words"
        raise Invalid([make_problem(message, ["query", "q"], input=text[:200])])
    return words


def parse_types(text: str | None) -> list[str]:
    """Parse the types to search, with commas; all without one.

    Raises Invalid.
    """
    if text is None:
        return list(TYPES)
    singular = {word: name for name, word in TYPES.items()}
    wanted = set()
    for part in text.split(","):
        word = part.strip().lower()
        name = singular.get(word, word)
        if name not in TYPES:
            message = f"must be one of {', '.join(TYPES)}{suggest_word(word, TYPES)}"
            raise Invalid([make_problem(message, ["query", "type"], input=part[:100])])
        wanted.add(name)
    return [name for name in TYPES if name in wanted]


class Hit(NamedTuple):
    """The place of a text that fits, and how well: 0..1."""

    score: float
    place: int


def find_texts(texts: Sequence[str], words: Sequence[str], limit: int) -> tuple[list[Hit], int]:
    """Find the best texts that have all words, and how many have them.

    The score is the mean over the words: 1 for the id, 0.9 for the beginning of id or title, 0.8 for a word, 0.6 else.
    """
    places: Sequence[int] = range(len(texts))
    for word in words:
        places = [place for place in places if word in texts[place]]
    sums = [0.0] * len(places)
    for word in words:
        exact, prefix, whole = f"{MARK}{word}{MARK}", MARK + word, f" {word} "
        found = [texts[place] for place in places]
        sums = [
            total + (
                EXACT if text.startswith(exact) else PREFIX if prefix in text else WORD if whole in text else PART
            )
            for total, text in zip(sums, found, strict=True)
        ]  # fmt: skip
    best = heapq.nlargest(limit, zip(sums, (-place for place in places), strict=True))
    return [Hit(round(total / len(words), 2), -place) for total, place in best], len(places)

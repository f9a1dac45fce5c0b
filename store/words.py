"""Lists of words as requests write them: R,PD. Pure."""

from __future__ import annotations


def split_words(text: str | None) -> list[str]:
    """Split a list with commas; empty words count nothing.

    >>> split_words("R, PD,"), split_words(None)
    (['R', 'PD'], [])
    """
    return [word.strip() for word in (text or "").split(",") if word.strip()]

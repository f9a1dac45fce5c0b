"""Commands as words: templates that were split at blanks are joined again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from store.deadlines import check_deadline

ENDS = {"{{": "}}", "{%": "%}", "{#": "#}"}
# In a shell script `${#list[@]}` is the length of a list.
MARK = re.compile(r"\{\{|\{%|(?<!\$)\{#")


def join_templates(words: Sequence[str]) -> list[str] | str:
    """Join the words that forms made of a template in a command.

    An expression becomes a word of its own again. Statements reach over several words, so a command in which one was
    split becomes a text. What is never closed is no template and stays as it is.

    >>> join_templates(["echo", "{{", "a['x", "}}']", "}}", "{{"])
    ['echo', "{{ a['x }}'] }}", '{{']
    >>> join_templates(["train", "{%", "if", "fast", "%}", "--fast", "{%", "endif", "%}"])
    'train {% if fast %} --fast {% endif %}'
    """
    joined: list[str] = []
    at = 0
    while at < len(words):
        end = at + 1
        while end < len(words) and is_unclosed(" ".join(words[at:end])):
            check_deadline()
            end += 1
        word = " ".join(words[at:end])
        if is_unclosed(word):
            word, end = words[at], at + 1
        elif end > at + 1 and "{%" in word:
            return " ".join(words)
        joined.append(word)
        at = end
    return joined


def is_unclosed(text: str) -> bool:
    """Return whether a template begins in the text and does not end there.

    >>> is_unclosed("{{ {'a': '}}'}"), is_unclosed("{{ {'a': {'b': 1}}}}"), is_unclosed("${#list[@]}")
    (True, False, False)
    """
    at = 0
    while mark := MARK.search(text, at):
        at = _find_end(text, mark.end(), ENDS[mark[0]])
        if at < 0:
            return True
    return False


def _find_end(text: str, at: int, end: str) -> int:
    """Return where a template ends that began before; -1 if it does not.

    As Jinja does: not within a string, nor while a bracket is open.
    """
    if end == "#}":
        found = text.find(end, at)
        return found if found < 0 else found + len(end)
    depth, quote = 0, ""
    while at < len(text):
        letter = text[at]
        if quote:
            at += letter == "\\"
            quote = "" if letter == quote else quote
        elif not depth and text.startswith(end, at):
            return at + len(end)
        elif letter in "\"'":
            quote = letter
        else:
            depth += (letter in "([{") - (letter in ")]}" and depth > 0)
        at += 1
    return -1

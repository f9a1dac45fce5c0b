"""What is wrong with a text that is not YAML: the sentence that a person reads, and the place where it is mended."""

from __future__ import annotations

import random

import pytest

from store.errors import Invalid
from store.yaml import reader

TEXTS = [
    ("no colon", "name: a\njobs\n  - name: b\n", 2, 5, "the colon after 'jobs' is missing"),
    ("no colon in the first line", "name a\njobs: []\n", 1, 5, "the colon after 'name' is missing"),
    ("no colon inside", "jobs:\n  - a: 1\n    command echo\n    x: 1\n", 3, 12, "the colon after 'command' is missing"),
    ("no colon at the end", "name: a\ndepends_on\n", 2, 11, "the colon after 'depends_on' is missing"),
    ("no space after it", "name:a\njobs: []\n", 1, 5, "a space is missing after the colon of 'name'"),
    ("no space in the last line", "name: a\njobs:[]\n", 2, 5, "a space is missing after the colon of 'jobs'"),
    ("= in place of it", "lr = 1\nb: 2\n", 1, 1, "a key and its value are written with a colon: lr: 1"),
    ("no space after a dash", "jobs:\n  -name: a\n    x: 1\n", 2, 3, "a space is missing after the dash"),
    ("two colons", "command: echo a: b\n", 1, 16, "put the value of 'command' in quotes"),
    ("a tab", "jobs:\n\t- name: b\n", 2, 1, "a tab stands here: indent with spaces"),
    ("a tab after spaces", "jobs:\n  - name: b\n  \tx: 1\n", 3, 3, "a tab stands here: indent with spaces"),
    ("too far in", "name: a\n  jobs: []\n", 2, 3, "which has a value: begin it in column 1"),
    ("too far in, in a list", "- name: a\n   x: 1\n", 2, 4, "'x' stands further in than 'name', which has"),
    ("between two", "a:\n    b: 1\n  c: 2\n", 3, 3, "in column 3, those above it in column 1 or 5: indent"),
    ("an item between two", "jobs:\n  - a: 1\n - a: 2\n", 3, 2, "in column 2, those above it in column 1 or 3"),
    ("a text that moves out", "command: |\n  one\n two\nb: 1\n", 3, 2, "in column 2, those above it in column 1 or 3"),
    ("a key in a list", "args:\n  - a\n  b: 1\n", 3, 3, "this line needs a dash, or less indentation"),
    ("an item among keys", "args:\n  b: 1\n  - a\n", 3, 3, "keys stand here: a dash needs a key of its own above it"),
    ("a list below a value", "a: v\n  - b: c\n", 2, 3, "no list may stand below 'a', which has a value"),
    ("a text not indented", "command: |\necho x\nb: 1\n", 2, 1, "stands further in than its key: indent this line"),
    ("spaces in an empty line", "command: |\n    \n  one\n", 3, 3, "delete its spaces"),
    ("a text behind |", "command: | echo\n", 1, 10, "a text after | begins in the next line"),
    ("a file behind >", "command: > out.txt\n", 1, 10, "a text after > begins in the next line"),
    ("an open quote", 'name: "a\njobs: []\n', 1, 7, 'the quote " is not closed'),
    ("an open single quote", "name: 'a\njobs: []\n", 1, 7, "the quote ' is not closed"),
    ("a quote that a later one closes", 'name: "a\nb: "x"\n', 1, 7, '" that is opened here is not closed in its line'),
    ("a quote in quotes", 'command: "echo "x""\n', 1, 17, 'a quote inside it is written \\"'),
    ("an apostrophe in quotes", "a: 'it's'\n", 1, 8, "a quote inside it is written ''"),
    ("an open bracket", "jobs:\n  - depends_on: [a, b\n    x: 1\n", 2, 17, "the [ is not closed"),
    ("an open bracket at the end", "a: [1, 2\n", 1, 4, "the [ is not closed"),
    ("an open brace", "a: {b: 1\nc: 3\n", 1, 4, "the { is not closed"),
    ("the wrong bracket", "a: [1}\n", 1, 6, "the [ of line 1 is closed by a }"),
    ("a bracket too many", "a: [1]]\n", 1, 7, "there is a ] too many"),
    ("no comma", 'a: ["x" "y"]\n', 1, 9, "a comma is missing before this"),
    ("two commas", "a: {b: 1,, c: 2}\n", 1, 10, "a value is missing before the comma"),
    ("more behind a list", "a: [1] x\n", 1, 8, "nothing may follow here in the same line"),
    ("a template", "command: {{ x }}\n", 1, 10, "a value that begins with {{ must stand in quotes"),
    ("a template with more", "command: {{ x }} --y\n", 1, 10, "a value that begins with {{ must stand in quotes"),
    ("a template in a list", "a: [{{ x }}]\n", 1, 5, "a value that begins with {{ must stand in quotes"),
    ("a statement of a template", "a: {% if x %}\n", 1, 4, "a value that begins with {% must stand in quotes"),
    ("an @", "a: @x\n", 1, 4, "a value cannot begin with @; put the value in quotes"),
    ("a backquote", "a: `x`\n", 1, 4, "a value cannot begin with `; put the value in quotes"),
    ("a percent sign", "a: %x\n", 1, 4, "a value cannot begin with %; put the value in quotes"),
    ("a star", "a: * b\n", 1, 4, "a value that begins with * must stand in quotes"),
    ("a pattern of files", "a: *.txt\n", 1, 4, "the alias *.txt names no anchor; put it in quotes"),
    ("an ampersand", "a: & b\n", 1, 4, "a value that begins with & must stand in quotes"),
    ("an exclamation mark", "a: !x y\n", 1, 4, "the tag !x is not allowed; put the value in quotes"),
    ("two exclamation marks", "a: !x!y z\n", 1, 4, "a value that begins with ! must stand in quotes"),
    ("a list in a line", "a: - b\n", 1, 4, "a list begins in a new line"),
    ("a question mark", "a: ? b\n", 1, 4, "a value cannot begin with ?"),
    ("an unknown escape", 'a: "\\d"\n', 1, 5, "means nothing in double quotes: write \\\\d, or use"),
    ("a path of Windows", 'a: "C:\\Users"\n', 1, 7, "\\U needs the digits of a character behind it"),
    ("a line with %", "a: 1\n%b: 1\n", 2, 1, "no line may begin with %"),
    ("another YAML", "%YAML 2.0\n---\na: 1\n", 1, 1, "%YAML must say 1.2, or be left out"),
    ("a second document", "a: 1\n---\nb: 2\n", 2, 1, "only one YAML document may be in a file"),
    ("a key twice", "a: 1\nb: 2\na: 3\n", 3, 1, "the key 'a' stands here twice, first in line 1"),
    ("what a merge left", "a: 1\n<<<<<<< mine\nb: 1\n=======\nb: 2\n>>>>>>> theirs\n", 2, 1, "marks of a merge"),
    ("more behind the whole", "[1]\nb: 2\n", 2, 1, "nothing may follow the value that ends in line 1"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "text", "line", "column", "sentence"), TEXTS, ids=[row[0] for row in TEXTS])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_sentences(why: str, text: str, line: int, column: int, sentence: str, line_end: str) -> None:
    problem = _find_problem(text.replace("\n", line_end))
    assert problem is not None
    assert sentence in problem["msg"]
    assert (problem["line"], problem["column"]) == (line, column)


WORKFLOW = """name: x
description: "a b"
args:
  list: [1, 2, {a: b}]
jobs:
  - name: a
    command: |
      echo x
       y
    resources:
      nodes: 1
  - name: b
    command: ['a', "b"]
    depends_on:
    - a
"""


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_mistyped_has_a_sentence_and_a_place_in_the_text(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(500):
        at = chance.randrange(len(WORKFLOW))
        typed = chance.choice("\t:-[]{}'\"|>*&!%@`,?# \n=\\\x85\r") * chance.choice([0, 1, 1, 2, 3])
        text = WORKFLOW[:at] + typed + WORKFLOW[at + (not typed) :]
        problem = _find_problem(text)
        if problem is None:
            continue
        assert "not YAML" not in problem["msg"], text
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert 1 <= problem["line"] <= len(lines), text
        assert 1 <= problem["column"] <= len(lines[problem["line"] - 1]) + 1, text


def _find_problem(text: str) -> dict | None:
    try:
        reader.load_yaml(text.encode())
    except Invalid as refused:
        return refused.problems[0]
    return None

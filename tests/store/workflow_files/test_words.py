"""Words of a command that a form has split at blanks."""

from __future__ import annotations

import pytest

from store.workflow_files.words import join_templates


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("python train.py", ["python", "train.py"]),
        ("--lr {{ lr }}", ["--lr", "{{ lr }}"]),
        ("--lr={{ lr }}", ["--lr={{ lr }}"]),
        ("{{lr}} {{ a }}{{ b }}", ["{{lr}}", "{{ a }}{{ b }}"]),
        ("{{ name | default('a b') | upper }}.txt x", ["{{ name | default('a b') | upper }}.txt", "x"]),
        ("{{ a['x y'] }} z", ["{{ a['x y'] }}", "z"]),
        ("{{ 'it is }} not' }} z", ["{{ 'it is }} not' }}", "z"]),
        ("{{ 'a \\\\' }} b' }} z", ["{{ 'a \\\\' }}", "b'", "}}", "z"]),
        ("{{ {'a': {'b': 1}}['a'] }} z", ["{{ {'a': {'b': 1}}['a'] }}", "z"]),
        ("{{ deps.a.path if x else '' }}", ["{{ deps.a.path if x else '' }}"]),
        ("{# a note #} run", ["{# a note #}", "run"]),
        ("echo ${#list[@]} {{ n }}", ["echo", "${#list[@]}", "{{ n }}"]),
        ("awk {{ print }", ["awk", "{{", "print", "}"]),
        ("{%if x%}--fast{%endif%}", "{%if x%}--fast{%endif%}"),
        ("run {% for n in list %} {{ n }} {% endfor %}", "run {% for n in list %} {{ n }} {% endfor %}"),
    ],
)
def test_templates_are_joined_again(typed: str, words: list[str] | str) -> None:
    assert join_templates(typed.split(" ")) == words


def test_words_that_are_whole_stay_as_they_are() -> None:
    words = ["echo", "a b", "{{ lr }}", "{% if x %}y{% endif %}", ""]
    assert join_templates(words) == words

"""What the editor knows of texts, without a browser: colours, edits, merges, and what may stand at the caret."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from tests import ROOT

EDITOR = ROOT / "web" / "ui" / "editor"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


def run_module(module: str, code: str) -> Any:
    """Run code with the exports of a module of the editor as `it`; return what it returns."""
    address = json.dumps((EDITOR / module).as_uri())
    script = f"const it = await import({address}); console.log(JSON.stringify(await (async () => {{ {code} }})()));"
    done = subprocess.run([str(NODE), "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


COLOURS = [
    ("key: value", "<key>key<mark>:<> value"),
    ("- name: 3", "<mark>- <key>name<mark>:<> <number>3"),
    ("a: true # why", "<key>a<mark>:<> <word>true<> <comment># why"),
    ("a: http://b#c", "<key>a<mark>:<> http://b#c"),
    ("a: 'x {{ y }}'", "<key>a<mark>:<> <text>'x <template>{{ y }}<text>'"),
    ("a: turn it on 2 times", "<key>a<mark>:<> turn it on 2 times"),
    ("a: it's the dog's", "<key>a<mark>:<> it's the dog's"),
    ("a: [1, 'x', no]", "<key>a<mark>:<> [<number>1<>, <text>'x'<>, no]"),
    ("a: 0:20:00", "<key>a<mark>:<> 0:20:00"),
    ("a: {b: 1}", "<key>a<mark>:<> {b: <number>1<>}"),
    ("a: *b", "<key>a<mark>:<> <anchor>*b"),
    ("a: " + "x" * 6000, "<>a: " + "x" * 6000),
]
BLOCKS = [
    "jobs:",
    "  - name: a",
    "    command: |",
    "      echo: {{ b }}",
    "",
    "      key: 1",
    "    other: 2",
    "  - |",
    "    text: 3",
    "last: 4",
]


def test_colours_of_lines() -> None:
    lines = json.dumps([line for line, _parts in COLOURS])
    lists = run_module("colours.js", f"return {lines}.map((line) => it.colourYaml([line], 0, 1)[0]);")
    found = ["".join(f"<{kind or ''}>{text}" for kind, text in parts) for parts in lists]
    assert found == [parts for _line, parts in COLOURS]


def test_texts_of_several_lines_are_found_from_anywhere() -> None:
    code = f"const lines = {json.dumps(BLOCKS)}; return lines.map((_, at) => it.colourYaml(lines, at, at + 1)[0]);"
    alone = run_module("colours.js", code)
    whole = run_module("colours.js", f"return it.colourYaml({json.dumps(BLOCKS)}, 0, {len(BLOCKS)});")
    assert alone == whole, "what is in sight has the same colours wherever one has scrolled to"
    inside = [at for at, parts in enumerate(whole) if parts and all(kind in ("text", "template") for kind, _ in parts)]
    assert inside == [3, 5, 8]


TEXTS = ["", "a", "a\n", "a\nb\nc", "b\nc\n", "x\na\nb\nc\ny", "a\n\nb", "\n", "c\nb\na", "a\nb\nc\n\n"]


def test_edits_make_one_text_the_other() -> None:
    code = f"""
      const texts = {json.dumps(TEXTS)};
      const change = (text, edit) => text.slice(0, edit.from) + edit.text + text.slice(edit.to);
      const isRight = (one, other) => it.listEdits(one, other).reduceRight(change, one) === other;
      return texts.flatMap((one) => texts.filter((other) => !isRight(one, other)).map((other) => [one, other]));
    """
    assert run_module("diff.js", code) == []


@pytest.mark.parametrize(
    ("mine", "theirs", "merged", "conflicts"),
    [
        ("a\nB\nc", "a\nb\nc\nd", "a\nB\nc\nd", 0),
        ("a\nb", "a\nb\nc", "a\nb", 0),
        ("a\nX\nc", "a\nX\nc", "a\nX\nc", 0),
        ("a\nB\nc", "a\nQ\nc", "a\n<<<<<<< mine\nB\n=======\nQ\n>>>>>>> theirs\nc", 1),
        ("", "", "", 0),
    ],
)
def test_merges(mine: str, theirs: str, merged: str, conflicts: int) -> None:
    base = "" if not mine else "a\nb\nc"
    found = run_module("diff.js", f"return it.mergeTexts(...{json.dumps([base, mine, theirs])});")
    assert found == {"text": merged, "conflicts": conflicts}


def test_differences_show_what_is_near() -> None:
    texts = json.dumps(["a\nb\nc\nd\ne\nf\ng\nh", "a\nx\nc\nd\ne\nf\ng\ny"])
    rows = run_module("diff.js", f"return it.listDifferences(...{texts});")
    lines = ["…" if row is None else row["sign"] + row["text"] for row in rows]
    assert lines == [" a", "-b", "+x", " c", " d", "…", " f", " g", "-h", "+y"]


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "jobs": {"type": "array", "items": {"$ref": "#/$defs/Job"}},
        "sweep": {"type": "object", "properties": {"fail_fast": {"type": "boolean"}}},
    },
    "$defs": {
        "Job": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "kind": {"enum": ["cpu", "gpu"]},
                "depends_on": {"type": "array", "items": {"type": "string"}},
            },
        }
    },
}


@pytest.mark.parametrize(
    ("before", "after", "labels", "insert"),
    [
        ("", "", ["name", "jobs", "sweep"], "name: "),
        ("na", "", ["name"], "name: "),
        ("sw", "", ["sweep"], "sweep:\n  "),
        ("jobs:\n  - ", "", ["name", "kind", "depends_on"], "name: "),
        ("jobs:\n- name: a\n  ", "", ["kind", "depends_on"], "kind: "),
        ("jobs:\n- name: a\n  dep", "", ["depends_on"], "depends_on:\n  - "),
        ("jobs:\n  - name: a\n    dep", "", ["depends_on"], "depends_on:\n      - "),
        ("jobs:\n  - kind: ", "", ["cpu", "gpu"], "cpu"),
        ("jobs:\n  - ki", ": gpu", ["kind"], "kind"),
        ("jobs:\n  - name: a\n    depends_on: [b, ", "]", ["first", "second"], "first"),
        ("sweep:\n  fail_fast: t", "", ["true"], "true"),
        ("# na", "", None, None),
        ("jobs:\n  - name: |\n      ki", "", None, None),
        ("name: na", "", None, None),
    ],
)
def test_what_may_stand_at_the_caret(before: str, after: str, labels: list[str] | None, insert: str | None) -> None:
    code = f"""
      const getValues = (path) => path.join(".") === "jobs.[].depends_on.[]" ? ["first", "second"] : [];
      return it.complete({json.dumps(before + after)}, {len(before)}, {{ schema: {json.dumps(SCHEMA)}, getValues }});
    """
    found = run_module("completion.js", code)
    assert (found and [item["label"] for item in found["items"]]) == labels
    assert (found and found["items"][0]["insert"]) == insert

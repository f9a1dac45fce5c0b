"""Workflow files edited over the API: what is not changed stays byte for byte."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from store.errors import Invalid
from store.rendering.renderer import Renderer
from store.rules import workflows
from store.rules.workflows import parse_workflow
from store.workflow_files.edits import edit_workflow, merge_workflow

TEXT = """\
# Trains and scores.
args: &defaults {lr: 0.1, note: 'as is'}   # tuned by hand

jobs:
  # gets the data
  - name: fetch
    command: [python, fetch.py, "--url", 'https://x']  # no proxy
    exports: {data: /d}

  # the long one
  - name: train
    depends_on: fetch
    path: train.sh
    script_vars: {lr: "{{ lr }}"}

  - name: score
    depends_on: [train, "afterany:fetch"]
    command: python score.py --lr {{ lr }}
    resources:
      time_limit: 0:30:00   # generous
      memory_per_node: 32GB
    environment: {env_vars: {MODE: fast, A_TOKEN: 'of {{ lr }}'}}
    retry:
# the end
"""
NO_FORM = {"job_id", "status", "script_path", "script_vars"}


def fill_form(text: str, renderer: Renderer) -> tuple[Any, Any]:
    """Return what a form was given, and what it sends back unchanged."""
    given = workflows.to_rendered_json(parse_workflow(text.encode(), stem="w"), renderer)
    form = copy.deepcopy(given)
    form["jobs"] = [{key: value for key, value in job.items() if key not in NO_FORM} for job in form["jobs"]]
    for job in form["jobs"]:
        if not job["command"]:
            del job["command"]
    return given, form


def send_form(text: str, given: Any, form: Any) -> str:
    old = parse_workflow(text.encode(), stem="w")
    after = edit_workflow(text.encode(), old, merge_workflow(old, form, given))
    parse_workflow(after, stem="w")
    return after.decode()


CRLF, BARE = TEXT.replace("\n", "\r\n"), TEXT.removesuffix("\n")


@pytest.mark.parametrize("text", [TEXT, CRLF, BARE, "\ufeff" + TEXT], ids=["lf", "crlf", "no last line end", "bom"])
def test_a_form_that_changes_nothing_leaves_every_byte(text: str, renderer: Renderer) -> None:
    assert send_form(text, *fill_form(text, renderer)) == text


def change(at: int, **keys: Any) -> Any:
    return lambda jobs: jobs[at].update(keys)


EDITS: list[tuple[str, Any, list[tuple[str, str]]]] = [
    ("a word of a command", lambda jobs: jobs[0]["command"].__setitem__(1, "get.py"), [("fetch.py", "get.py")]),
    ("a word in quotes", lambda jobs: jobs[0]["command"].__setitem__(3, "on"), [("'https://x'", "'on'")]),
    ("another word between brackets", lambda jobs: jobs[0]["command"].append("-v"),
     [("'https://x']", "'https://x', -v]")]),
    ("a word less", lambda jobs: jobs[0]["command"].pop(2), [(' "--url",', "")]),
    ("a new key", change(0, retry=3), [("    exports: {data: /d}\n", "    exports: {data: /d}\n    retry: 3\n")]),
    ("a value that YAML 1.1 takes for a number", change(2, resources={"time_limit": "2:00:00"}),
     [("0:30:00", '"2:00:00"')]),
    ("a value in braces, beside a mask", change(2, environment={"env_vars": {"MODE": "yes", "A_TOKEN": "***"}}),
     [("MODE: fast", 'MODE: "yes"')]),
    ("another one in braces", change(2, environment={"env_vars": {"MODE": "fast", "A_TOKEN": "***", "N": "1"}}),
     [("lr }}'}", "lr }}', \"N\": \"1\"}")]),
    ("another secret", change(2, environment={"env_vars": {"MODE": "fast", "A_TOKEN": "new"}}),
     [("'of {{ lr }}'", "'new'")]),
    ("a job is renamed", lambda jobs: (jobs[0].update(name="get"), jobs[1].update(depends_on=["get"]),
                                       jobs[2].update(depends_on=["train", "afterany:get"])),
     [("- name: fetch", "- name: get"), ("depends_on: fetch\n", "depends_on:\n      - get\n"),
      ('"afterany:fetch"', '"afterany:get"')]),
    ("a job comes last", lambda jobs: jobs.append({"name": "tell", "command": ["mail"]}),
     [("    retry:\n", "    retry:\n  - name: tell\n    command:\n      - mail\n")]),
    ("a job comes first", lambda jobs: jobs.insert(0, {"name": "tell", "command": ["mail"]}),
     [("  # gets the data\n", "  - name: tell\n    command:\n      - mail\n  # gets the data\n")]),
    ("a job between", lambda jobs: jobs.insert(1, {"name": "tell", "command": ["mail"]}),
     [("    exports: {data: /d}\n", "    exports: {data: /d}\n  - name: tell\n    command:\n      - mail\n")]),
    ("a job goes", lambda jobs: (jobs.pop(1), jobs[1].update(depends_on=["afterany:fetch"])),
     [('  - name: train\n    depends_on: fetch\n    path: train.sh\n    script_vars: {lr: "{{ lr }}"}\n', ""),
      ("[train, ", "[")]),
]  # fmt: skip


@pytest.mark.parametrize(("why", "edit", "swaps"), EDITS, ids=[row[0] for row in EDITS])
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_an_edit_changes_its_lines_only(why: str, edit: Any, swaps: Any, ends: str, renderer: Renderer) -> None:
    text, wanted = TEXT.replace("\n", ends), TEXT
    given, form = fill_form(text, renderer)
    edit(form["jobs"])
    for swap in swaps:
        assert swap[0] in wanted
        wanted = wanted.replace(*swap, 1)
    assert send_form(text, given, form) == wanted.replace("\n", ends)


def test_masks_of_nothing_are_refused(renderer: Renderer) -> None:
    given, form = fill_form(TEXT, renderer)
    form["jobs"][0]["environment"] = {"env_vars": {"B_TOKEN": "***"}}
    with pytest.raises(Invalid) as caught:
        send_form(TEXT, given, form)
    assert caught.value.problems[0]["loc"] == ["body", "jobs", 0, "environment", "env_vars", "B_TOKEN"]


def test_what_cannot_be_edited_in_its_place_is_written_anew(renderer: Renderer) -> None:
    """Both jobs are the same words in the file; only one of them changes."""
    text = "jobs:\n  - {name: a, command: &c [echo, a]}\n  - {name: b, command: *c}\n"
    given, form = fill_form(text, renderer)
    form["jobs"][0]["command"] = ["echo", "z"]
    after = parse_workflow(send_form(text, given, form).encode(), stem="w")
    assert [job.command for job in after.jobs] == [["echo", "z"], ["echo", "a"]]


ANCHORS = """\
# what all share
jobs:
  - name: a
    command: [echo, a]
    resources: &small  # few
      nodes: 1
      time_limit: 1:00:00
    work_dir: &dir /data
  - {name: b, command: [echo, b], resources: *small, work_dir: *dir}
  - name: c
    command: [echo, c]
    resources: {<<: *small, nodes: 4}
"""
ANCHOR_EDITS: list[tuple[str, Any, list[tuple[str, str]]]] = [
    ("what others repeat", change(0, resources={"nodes": 2, "time_limit": "1:00:00"}),
     [("nodes: 1\n", "nodes: 2\n"), ("resources: *small", 'resources: {nodes: 1, time_limit: "1:00:00"}'),
      ("<<: *small", '<<: {nodes: 1, time_limit: "1:00:00"}')]),
    ("a text that others repeat", change(0, work_dir="/new"),
     [("work_dir: &dir /data", "work_dir: /new"), ("work_dir: *dir", "work_dir: /data")]),
    ("what repeats another", change(1, work_dir="/new"), [("work_dir: *dir", "work_dir: /new")]),
    ("a part of what repeats another", change(1, resources={"nodes": 2, "time_limit": "1:00:00"}),
     [("resources: *small", 'resources: {nodes: 2, time_limit: "1:00:00"}')]),
    ("over what is merged", change(2, resources={"nodes": 5, "time_limit": "1:00:00"}), [("nodes: 4", "nodes: 5")]),
]  # fmt: skip


@pytest.mark.parametrize(("why", "edit", "swaps"), ANCHOR_EDITS, ids=[row[0] for row in ANCHOR_EDITS])
def test_an_edit_of_what_others_repeat_leaves_them_what_they_are(
    why: str, edit: Any, swaps: Any, renderer: Renderer
) -> None:
    wanted = ANCHORS
    given, form = fill_form(ANCHORS, renderer)
    edit(form["jobs"])
    for swap in swaps:
        assert swap[0] in wanted
        wanted = wanted.replace(*swap, 1)
    assert send_form(ANCHORS, given, form) == wanted


@pytest.mark.parametrize(
    ("why", "text", "edit", "swap"),
    [
        ("a new key", '{"jobs": [{"name": "a", "command": ["é"]}]}', change(0, resources={"nodes": 2}),
         ('["é"]', '["é"], "resources": {"nodes": 2}')),
        ("a text instead of a number", '{\n "jobs": [\n  {"name": "a",\n   "command": ["x", 1]}]}\n',
         change(0, command=["x", "on"]), ("1]", '"on"]')),
        ("written anew", '{"jobs": [{"name": "a", "path": "x.sh"}, {"name": "b", "command": "x"}]}',
         lambda jobs: jobs.reverse(), None),
    ],
)  # fmt: skip
def test_json_stays_json(why: str, text: str, edit: Any, swap: tuple[str, str] | None, renderer: Renderer) -> None:
    given, form = fill_form(text, renderer)
    assert send_form(text, given, form) == text
    edit(form["jobs"])
    after = send_form(text, given, form)
    assert after == text.replace(*swap) if swap else json.loads(after)["jobs"][0]["name"] == "b"

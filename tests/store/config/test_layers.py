"""The layers of the configuration as pure rules: what each says, what counts, where it is from, what is masked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.config import config_file, layers, masks
from store.config.layers import Layer
from store.documents import SrunxConfig
from store.errors import Invalid
from store.yaml import writer

HOOK = "https://hooks.slack.com/services/T/B/x"

VARIABLES = [
    ("a number", {"SRUNX_DEFAULT_NODES": "4"}, {"resources": {"nodes": 4}}, ""),
    ("a number with blanks", {"SRUNX_DEFAULT_NODES": " 4 "}, {"resources": {"nodes": 4}}, ""),
    ("a number that is none", {"SRUNX_DEFAULT_NODES": "four"}, {}, "SRUNX_DEFAULT_NODES"),
    ("a number out of bounds", {"SRUNX_DEFAULT_NODES": "0"}, {}, "SRUNX_DEFAULT_NODES"),
    ("digits for a text", {"SRUNX_DEFAULT_TIME_LIMIT": "90"}, {"resources": {"time_limit": "90"}}, ""),
    ("truth", {"SRUNX_SYNC_REQUIRE_CLEAN": "Yes"}, {"sync": {"require_clean": True}}, ""),
    ("truth that is none", {"SRUNX_SYNC_REQUIRE_CLEAN": "maybe"}, {}, "SRUNX_SYNC_REQUIRE_CLEAN"),
    ("set to nothing", {"SRUNX_DEFAULT_PARTITION": ""}, {}, ""),
    ("an image", {"SRUNX_DEFAULT_CONTAINER": "a.sif"}, {"environment": {"container": {"image": "a.sif"}}}, ""),
    ("an option", {"SRUNX_DEFAULT_PARTITION": "-p x"}, {}, "SRUNX_DEFAULT_PARTITION"),
    (
        "only the wrong one",
        {"SRUNX_DEFAULT_LOG_DIR": "a\nb", "SRUNX_DEFAULT_WORK_DIR": "/w"},
        {"work_dir": "/w"},
        "LOG",
    ),
    ("another program's", {"SRUNX_WEB_TOKEN": "x", "PATH": "y"}, {}, ""),
]


@pytest.mark.parametrize(("why", "environment", "tree", "reason"), VARIABLES, ids=[row[0] for row in VARIABLES])
def test_what_variables_say(why: str, environment: dict[str, str], tree: dict[str, Any], reason: str) -> None:
    found = layers.from_environment(environment)
    assert {key: value for key, value in found.tree.items() if value} == tree
    assert bool(found.problems) == bool(reason) and reason in str(found.problems)


def test_every_variable_goes_to_a_place_that_there_is() -> None:
    for place, _ in layers.VARIABLES.values():
        holder: Any = {
            **layers.DEFAULTS,
            "environment": {**layers.DEFAULTS["environment"], "container": layers.EMPTY_CONTAINER},
        }
        for part in place.split(".") if place else ():
            holder = holder[part]


def merge(*trees: dict[str, Any]) -> dict[str, Any]:
    """Merge these, the lowest first."""
    return layers.merge_layers([Layer("user", tree) for tree in trees]).config


MERGES = [
    ("nothing", [], ("resources", "nodes"), 1),
    ("the higher counts", [{"resources": {"nodes": 2}}, {"resources": {"nodes": 3}}], ("resources", "nodes"), 3),
    ("what the higher leaves out stays", [{"resources": {"nodes": 2}}, {"resources": {}}], ("resources", "nodes"), 2),
    ("null undoes", [{"work_dir": "/w"}, {"work_dir": None}], ("work_dir",), None),
    (
        "variables add up",
        [{"environment": {"env_vars": {"A": "1", "B": "1"}}}, {"environment": {"env_vars": {"B": "2"}}}],
        ("environment", "env_vars"),
        {"A": "1", "B": "2"},
    ),
    ("venv takes conda away", [{"environment": {"conda": "a"}}, {"environment": {"venv": "b"}}],
     ("environment", "conda"), None),
    ("conda takes venv away", [{"environment": {"venv": "a"}}, {"environment": {"conda": "b"}}],
     ("environment", "venv"), None),
    ("a runtime alone is no container", [{"environment": {"container": {"runtime": "apptainer"}}}],
     ("environment", "container"), None),
    ("a runtime for an image of another layer",
     [{"environment": {"container": {"image": "i"}}}, {"environment": {"container": {"runtime": "apptainer"}}}],
     ("environment", "container", "runtime"), "apptainer"),
    ("a container is undone", [{"environment": {"container": {"image": "i"}}}, {"environment": {"container": None}}],
     ("environment", "container"), None),
]  # fmt: skip


@pytest.mark.parametrize(("why", "trees", "place", "value"), MERGES, ids=[row[0] for row in MERGES])
def test_merges(why: str, trees: list[dict[str, Any]], place: tuple[str, ...], value: Any) -> None:
    found: Any = merge(*trees)
    for part in place:
        found = found[part]
    assert found == value


FILES = [
    ("foreign keys are no problem", {"profiles": {}, "current_profile": "x", "$schema": "s"}, {}, 0),
    ("an unknown key is told", {"resorces": {}, "log_dir": "x"}, {"log_dir": "x"}, 1),
    ("one wrong value among good ones", {"resources": {"nodes": "x", "partition": "p"}},
     {"resources": {"partition": "p"}}, 1),
    ("a section that is none", {"resources": [1], "log_dir": "x"}, {"log_dir": "x"}, 1),
    ("both conda and venv, the rest stays", {"environment": {"conda": "a", "venv": "b", "env_vars": {"A": "1"}}},
     {"environment": {"env_vars": {"A": "1"}}}, 1),
    ("a name that no shell takes", {"environment": {"env_vars": {"a;b": "1"}, "conda": "c"}},
     {"environment": {"conda": "c"}}, 1),
    ("wrong deep down", {"environment": {"container": {"image": "i", "mounts": ["/a", 7]}}},
     {"environment": {"container": {"image": "i"}}}, 1),
]  # fmt: skip


@pytest.mark.parametrize(("why", "value", "tree", "count"), FILES, ids=[row[0] for row in FILES])
def test_what_counts_of_a_file(why: str, value: Any, tree: dict[str, Any], count: int) -> None:
    said = layers.parse_layer(json.dumps(value).encode())
    assert said.tree == tree and len(said.problems) == count and said.raw == value


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"{\n 1}", 2),
        (b"nope", 1),
        (b"[]", 1),
        (b'"x"', 1),
        (b"1" * 1_000_001, 0),
        (b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", 1),
    ],
)
def test_what_is_no_layer_at_all(data: bytes, line: int) -> None:
    with pytest.raises(Invalid) as caught:
        layers.parse_layer(data)
    assert (caught.value.problems[0]["line"] or 0) == line


scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8) | st.sampled_from([HOOK, "***", "gpu"])
keys = st.sampled_from([*SrunxConfig.model_fields, "nodes", "env_vars", "container", "image", "conda", "A_TOKEN", "x"])
trees = st.dictionaries(
    keys, st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=4)),
    max_size=5,
)  # fmt: skip


@given(st.lists(trees, max_size=3))
@settings(deadline=None)
def test_whatever_files_say_there_is_a_whole_configuration(said: list[dict[str, Any]]) -> None:
    found = [layers.parse_layer(json.dumps(tree).encode()) for tree in said]
    force = layers.merge_layers([Layer("system", layer.tree, "p", problems=layer.problems) for layer in found])
    assert SrunxConfig.model_validate(force.config).model_dump(mode="json") == force.config or (
        force.config["environment"]["container"] is None
    )
    assert set(force.config) == set(SrunxConfig.model_fields)
    assert set(force.origins) == set(layers.iterate_leaves(force.config))
    assert len(force.problems) == sum(len(layer.problems) for layer in found)
    assert "T/B/x" not in json.dumps(force.explain())


good = trees.map(lambda tree: layers.keep_valid_part(tree)[0])


@given(good, good, good)
@settings(deadline=None)
def test_an_update_makes_what_was_given_count(
    kept: dict[str, Any], below: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """For a user's file that says `kept` over `below`: afterwards everything that was given is in force."""
    under, now = merge(below), merge(below, kept)
    changes = config_file.compute_changes(wanted, kept, now, under)
    after, wrong = layers.keep_valid_part(writer.merge_changes(kept, changes))
    if wrong:
        return  # conda beside a venv that was there: refused as a whole
    found = merge(below, after)
    for loc in layers.iterate_leaves(wanted):
        value, counts = wanted, found
        for part in loc:
            value, counts = value[part], counts.get(part) if isinstance(counts, dict) else None  # type: ignore[assignment]
        if loc[:2] != ("environment", "container") or found["environment"]["container"]:
            assert counts == value or value == {}, (loc, value, counts)


@given(good)
@settings(deadline=None)
def test_masks_hide_and_come_back(tree: dict[str, Any]) -> None:
    masked_tree = masks.mask_secrets(tree)
    assert "T/B/x" not in json.dumps(masked_tree)
    try:
        assert masks.unmask_secrets(masked_tree, tree) == tree
    except Invalid:
        assert "***" in json.dumps(tree), "only a kept value that is itself a mask is refused"


MASKS = [
    ("a mask of nothing", {"env_vars": {"A_TOKEN": "***"}}, {}),
    ("a mask of another name", {"env_vars": {"B_TOKEN": "***"}}, {"env_vars": {"A_TOKEN": "s"}}),
    ("a webhook's", {"slack_webhook_url": "https://hooks.slack.com/services/***"}, {"slack_webhook_url": None}),
    ("a URL's", {"image": "docker://a:***@h"}, {"image": "docker://b:pw@h"}),
]


@pytest.mark.parametrize(("why", "given_", "kept"), MASKS, ids=[row[0] for row in MASKS])
def test_masks_of_nothing_are_refused(why: str, given_: dict[str, Any], kept: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="mask of a secret"):
        masks.unmask_secrets(given_, kept)

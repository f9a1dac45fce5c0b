"""Bodies that two parsers would read differently are refused."""

from __future__ import annotations

import pytest

from store.config.layers import parse_layer
from store.errors import Invalid
from tests.app_client import Client

JSON = {"content-type": "application/json"}
TWICE = [  # why, body, the key that is named
    ("at the top", b'{"yaml": "a", "yaml": "b"}', "yaml"),
    ("the same value", b'{"yaml": "a", "yaml": "a"}', "yaml"),
    ("spelled in another way", b'{"yaml": "a", "\\u0079aml": "b"}', "yaml"),
    ("deep inside", b'{"yaml": "a", "x": [{"y": {"z": 1, "z": 2}}]}', "z"),
    ("empty", b'{"": 1, "": 2}', ""),
    ("beside a number beyond 64 bits", b'{"x": 99999999999999999999, "y": 1, "y": 2}', "y"),
]


@pytest.mark.parametrize(("why", "body", "key"), TWICE, ids=[row[0] for row in TWICE])
def test_a_key_that_stands_twice_is_named(client: Client, why: str, body: bytes, key: str) -> None:
    for path in ("/api/workflows/validate", "/srtslurm/api/jobs", "/api/jobs"):
        answer = client.request("POST", path, content=body, headers=JSON)
        assert (answer.status_code, f"The key '{key}' stands twice" in answer.text) == (400, True), answer.text


def test_the_same_key_in_two_objects_is_fine(client: Client) -> None:
    body = b'{"yaml": "name: a\\njobs: [{name: a, command: x}, {name: b, command: y}]"}'
    assert client.request("POST", "/api/workflows/validate", content=body, headers=JSON).status_code == 200
    body = b'{"stage": "a", "metadata": {"stage": [{"stage": 1}, {"stage": 2}]}}'
    answer = client.request("PUT", "/srtslurm/api/jobs/1", content=body, headers=JSON)
    assert "stands twice" not in answer.text


def test_a_json_file_of_people_is_a_problem_that_names_the_key() -> None:
    with pytest.raises(Invalid, match="the key 'nodes' stands twice"):
        parse_layer(b'{"resources": {"nodes": 1, "nodes": 2}}')

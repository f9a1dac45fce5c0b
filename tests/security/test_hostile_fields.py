"""Every string that the contract takes, filled with what breaks programs: refused or taken, never answered with 500."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from tests.app_client import Client, serving
from tests.contract_judge import CONTRACT, YAPTIDE, operations, resolve

CONFIG = """\
cluster: {execute: false, nodes: 2, cpus: 64, gpus: 16}
poll: {min_s: 1, max_s: 1}
webhooks: {deliver: false}
"""
# The names in the contract's examples, so that hostile values reach what is behind them.
PROFILES = """\
profiles:
  here:
    mounts: [{{name: ml-project, local: {project}, remote: /far/away}}]
"""
WORKFLOW = "args: {lr: 1, seed: 1}\njobs: [{name: train, command: [echo, '{{ lr }} {{ seed }}']}]\n"
# Why it may break something, and what it is. Half a surrogate pair is JSON's escape here: UTF-8 cannot hold it.
HOSTILE = {
    "ends a C string": "a\0b",
    "escapes, in a shell and in SLURM's file names": "a\\b",
    "looks like an option": "-oops",
    "more digits than Python makes an integer of": "9" * 5000,
    "cannot be written as UTF-8": "a\ud800b",
    "several lines": "a\nb\t",
    "longer than a path": "/" + "a" * 5000,
    "no user": "~nobody-here/x",
    "nothing": "",
    "a pattern": "%j%%x%",
}
NUL = "ends a C string"
# An answer without end.
STREAMS = ("sluice_list_events",)


class Call(NamedTuple):
    """One request with one hostile value in it."""

    reason: str
    method: str
    path: str
    place: tuple[Any, ...]
    body: Any


def list_places(schema: Any, value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of a body that may hold text: those of the example, and those that only the schema knows."""
    schema = resolve(schema) or {}
    branches = [*schema.get("oneOf", ()), *schema.get("anyOf", ()), *schema.get("allOf", ())]
    kinds = schema.get("type", [])
    if isinstance(value, dict) or "properties" in schema:
        fields = {**{key: {} for key in value or {}}, **schema.get("properties", {})}
        for key, part in fields.items():
            yield from list_places(part, (value or {}).get(key), (*place, key))
    elif isinstance(value, list) or "items" in schema:
        first = value[0] if value else None
        yield from list_places(schema.get("items", {}), first, (*place, 0))
    elif isinstance(value, str) or "string" in kinds or "const" in schema or "enum" in schema:
        yield place
    for branch in branches:
        yield from list_places(branch, value, place)


def replace_at(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """The body with another value at this place; what leads there is made where it is missing."""
    if not place:
        return new
    key, rest = place[0], place[1:]
    if isinstance(key, int):
        old = list(value) if isinstance(value, list) else []
        return [replace_at(old[0] if old else None, rest, new), *old[1:]]
    old = dict(value) if isinstance(value, dict) else {}
    return {**old, key: replace_at(old.get(key), rest, new)}


def list_examples(operation: dict[str, Any]) -> tuple[Any, list[Any]]:
    """The schema of the body, and the bodies that the contract gives as examples."""
    content = resolve(operation.get("requestBody", {})).get("content", {}).get("application/json")
    if content is None:
        return None, []
    schema = resolve(content["schema"])
    found = [content.get("example"), schema.get("example"), *schema.get("examples", ())]
    found += [example["value"] for example in map(resolve, content.get("examples", {}).values())]
    return schema, [example for example in found if example is not None]


def encode(value: str) -> str:
    """The value in a URL."""
    return quote(value.encode("utf-8", "surrogatepass"), safe="")


def fill_path(path: str, parameters: list[dict[str, Any]], name: str = "", value: str = "") -> str:
    """The path with examples for its parameters, the one of this name replaced."""
    for part in parameters:
        if part["in"] == "path":
            schema = resolve(part["schema"])
            usual = part.get("example", schema.get("example", (schema.get("examples") or ["1"])[0]))
            path = path.replace(f"{{{part['name']}}}", encode(value if part["name"] == name else str(usual)))
    return path


def list_calls() -> Iterator[Call]:
    """Every call with one hostile value, for every place of every operation."""
    for path, method, operation in operations():
        if operation["operationId"] in STREAMS:
            continue
        parameters = [*CONTRACT["paths"][path].get("parameters", []), *operation.get("parameters", [])]
        parameters = [resolve(part) for part in parameters]
        schema, bodies = list_examples(operation)
        usual = bodies[0] if bodies else None
        owners = {place: body for body in bodies for place in list_places(schema, body)}
        for reason, value in HOSTILE.items():
            for part in parameters:
                place = (part["in"], part["name"])
                if part["in"] == "path" and value:  # without one it is another path
                    yield Call(reason, method, fill_path(path, parameters, part["name"], value), place, usual)
                if part["in"] == "query":
                    yield Call(
                        reason, method, f"{fill_path(path, parameters)}?{part['name']}={encode(value)}", place, usual
                    )
            for place, body in owners.items():
                yield Call(
                    reason, method, fill_path(path, parameters), ("body", *place), replace_at(body, place, value)
                )


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    store, project = folder / "store", folder / "project"
    (store / "workflows").mkdir(parents=True)
    project.mkdir()
    (project / "train.sh").write_text("#!/bin/bash\n")
    (store / "config.yaml").write_text(CONFIG)
    (store / "profiles.yaml").write_text(PROFILES.format(project=project))
    (store / "workflows" / "ml-pipeline.yaml").write_text(WORKFLOW)
    with serving(store, "embedded", HOME=str(folder), SRUNX_SSH_PROFILE="here") as made:
        made.server.callers.failures.burst = math.inf  # of wrong passwords and keys there are many
        yield made


def test_hostile_values_are_refused_or_taken(client: Client) -> None:
    wrong = []
    for call in list_calls():
        # As JSON's escapes, which alone can carry NUL and half a surrogate pair.
        body = {} if call.body is None else {
            "content": json.dumps(call.body).encode(), "headers": {"content-type": "application/json"}
        }  # fmt: skip
        answer = client.request(call.method, call.path, token="admin", **body)
        if answer.status_code == 500 and "Conversion failed: " not in answer.text:  # as its document has it
            wrong.append((call, answer.text[:200]))
        refusal = 400 if call.path.startswith(("/api/v1/", "/oauth/")) or YAPTIDE.match(call.path) else 422
        # Of results nothing is looked at before their key counts.
        is_told = "NUL" in answer.text or (call.method, call.path) == ("POST", "/results")
        if call.reason == NUL and (answer.status_code, is_told) != (refusal, True):
            wrong.append((call, f"{answer.status_code} {answer.text[:200]}"))
    assert wrong == []

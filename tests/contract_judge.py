"""The contract as a judge: an answer that it does not promise fails the test that asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs

from store.contract import find_needed_components, parse_contract
from tests import ROOT

CONTRACT = parse_contract((ROOT / "contract.yaml").read_bytes())


def resolve(part: Any) -> Any:
    """Return the part of the contract that a reference stands for."""
    while isinstance(part, dict) and "$ref" in part:
        target: Any = CONTRACT
        for key in part["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        part = target
    return part


def validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """A validator for a schema of the contract."""
    return jsonschema_rs.validator_for(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **schema,
            "components": find_needed_components(CONTRACT, schema),
        }
    )


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation, for all of the contract."""
    for path, item in CONTRACT["paths"].items():
        for method in ("get", "put", "post", "delete", "patch"):
            if method in item:
                yield path, method.upper(), item[method]


def path_of(path: str) -> str | None:
    """The contract's path for a request's; one without braces comes first."""
    path = f"/api{path}" if path.startswith("/v1/") else path  # an alias of the S9S API
    for template in sorted(CONTRACT["paths"], key=lambda path: "{" in path):
        pattern = "[^/]+".join(re.escape(part) for part in re.split(r"\{[^}]+\}", template))
        if re.fullmatch(pattern, path):
            return str(template)
    return None


def usual_token(method: str, path: str) -> str:
    """The name of the token that a test calls an operation with when it does not care."""
    spec = CONTRACT["paths"].get(path_of(path.partition("?")[0]), {}).get(method.lower(), {})
    return "admin" if {"bearer": ["admin"]} in spec.get("security", ()) else "write"


VALIDATORS: dict[tuple[str, str, int], jsonschema_rs.Validator] = {}


ENVELOPES = {
    name: validator({"$ref": f"#/components/schemas/{name}"})
    for name in ("Error", "S9sError", "S9sTokenError", "YaptideError")
}  # of refusals, by family


YAPTIDE = re.compile("/(jobs|auth|user|tasks|results|estimators|inputs|logfiles|clusters)([/?]|$)")


def find_envelope(method: str, path: str) -> jsonschema_rs.Validator:
    """The shape of a refusal of this path."""
    if (method, path) == ("POST", "/oauth/token"):
        return ENVELOPES["S9sTokenError"]
    if YAPTIDE.match(path):
        return ENVELOPES["YaptideError"]
    return ENVELOPES["S9sError" if re.match(r"(/api)?/v1(/|$)|/oauth(/|$)", path) else "Error"]


def judge(method: str, path: str, answer: httpx.Response) -> httpx.Response:
    """The answer, after the contract has nothing to say against it."""
    status, where = answer.status_code, f"{method} {path} -> {answer.status_code} {answer.text[:500]}"
    assert answer.headers.get("x-request-id"), where
    if not 200 <= status < 400:
        assert answer.headers["content-type"] == "application/json", where
        if method != "HEAD":
            assert find_envelope(method, path).is_valid(answer.json()), where
    known = path_of(path)
    item = CONTRACT["paths"].get(known, {})
    if known is None or (method.lower() not in item and (method, "get" in item) != ("HEAD", True)):
        assert status in ((404,) if known is None else (405,)), where
        return answer
    operation = item["get" if method == "HEAD" else method.lower()]
    assert str(status) in operation["responses"], f"not declared: {where}"
    response = resolve(operation["responses"][str(status)])
    for name, header in response.get("headers", {}).items():
        schema = resolve(header)["schema"]
        if resolve(header).get("required") is False and name not in answer.headers:
            continue
        assert name in answer.headers and validator(schema).is_valid(answer.headers[name]), f"{name}: {where}"
    if method == "HEAD" or "content" not in response:
        assert not answer.content, where
        return answer
    kind = answer.headers["content-type"].split(";")[0]
    assert kind in response["content"], where
    if kind == "application/json":
        key = (known, method, status)
        if key not in VALIDATORS:
            VALIDATORS[key] = validator(response["content"][kind]["schema"])
        wrong = [
            f"{list(error.instance_path)}: {error.message}" for error in VALIDATORS[key].iter_errors(answer.json())
        ]
        assert not wrong, f"{wrong[:3]} {where}"
    return answer

"""The S9S API as OpenAPI 3.0: a valid document that promises what the contract promises."""

from __future__ import annotations

import re
from typing import Any

import pytest
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator

from store.contract_export import LEFT_OUT, convert_schema, export_family
from store.operations import METHODS, list_operations
from tests.contract_judge import CONTRACT

FAMILIES = {"s9s": ("/api/v1", "/v1"), "srunx": ("/api",), "srtslurm": ("/srtslurm/api",), "sluice": ("/",)}
S9S = export_family(CONTRACT, "s9s", FAMILIES["s9s"])

SCHEMAS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("a text or null", {"type": ["string", "null"]}, {"type": "string", "nullable": True}),
    (
        "a choice that may be null keeps its null, which 3.0.3 wants among the values",
        {"type": ["string", "null"], "enum": ["a", None]},
        {"type": "string", "nullable": True, "enum": ["a", None]},
    ),
    (
        "more than one type; words count for their own type",
        {"type": ["integer", "string"], "minimum": 1, "maxLength": 9},
        {"minimum": 1, "maxLength": 9, "anyOf": [{"type": "integer"}, {"type": "string"}]},
    ),
    (
        "more than one type beside an anyOf: both count",
        {"type": ["integer", "string"], "anyOf": [{"minimum": 1}]},
        {"anyOf": [{"type": "integer"}, {"type": "string"}], "allOf": [{"anyOf": [{"minimum": 1}]}]},
    ),
    (
        "a component or null",
        {"anyOf": [{"$ref": "#/components/schemas/Time"}, {"type": "null"}]},
        {
            "anyOf": [
                {"$ref": "#/components/schemas/Time"},
                {"type": "object", "nullable": True, "enum": [None]},
            ]
        },
    ),
    ("one value", {"const": "healthy"}, {"enum": ["healthy"]}),
    ("null as the one value", {"const": None}, {"enum": [None], "type": "object", "nullable": True}),
    ("examples: the first", {"type": "string", "examples": ["a", "b"]}, {"type": "string", "example": "a"}),
    (
        "a bound that is not reached",
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "number", "minimum": 0, "exclusiveMinimum": True},
    ),
    (
        "two bounds: the closer one counts",
        {"type": "number", "minimum": 2, "exclusiveMinimum": 0, "maximum": 5, "exclusiveMaximum": 4},
        {"type": "number", "minimum": 2, "maximum": 4, "exclusiveMaximum": True},
    ),
    (
        "what stands beside a reference would be ignored",
        {"$ref": "#/components/schemas/Time", "description": "When."},
        {"allOf": [{"$ref": "#/components/schemas/Time"}], "description": "When."},
    ),
    (
        "bytes",
        {"type": "string", "contentMediaType": "application/octet-stream"},
        {"type": "string", "format": "binary"},
    ),
    ("base64", {"type": "string", "contentEncoding": "base64"}, {"type": "string", "format": "byte"}),
    (
        "keys by a pattern: their values are described, the pattern is lost",
        {"type": "object", "patternProperties": {"^[A-Z]+$": {"type": "string"}}, "additionalProperties": False},
        {"type": "object", "additionalProperties": {"type": "string"}},
    ),
    ("a condition is left out", {"type": "string", "if": {"minLength": 2}, "then": False}, {"type": "string"}),
    ("a list says what is in it", {"type": "array", "prefixItems": [True]}, {"type": "array", "items": {}}),
    ("anything", {"type": "array", "items": True}, {"type": "array", "items": {}}),
    ("nothing", {"type": "object", "properties": {"a": False}}, {"type": "object", "properties": {"a": {"not": {}}}}),
    (
        "all depths",
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": ["integer", "null"]}}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer", "nullable": True}}}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("why", "given", "expected"), SCHEMAS, ids=[row[0] for row in SCHEMAS])
def test_a_schema_says_the_same_in_the_words_of_3_0(why: str, given: Any, expected: Any) -> None:
    assert convert_schema(given) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_a_valid_document(family: str) -> None:
    document = export_family(CONTRACT, family, FAMILIES[family])
    assert document["openapi"] == "3.0.3"
    assert [error.message for error in OpenAPIV30SpecValidator(document).iter_errors()] == []
    assert find_new_words(document) == []
    exported = {(path, method): spec["operationId"] for path, method, spec in list_operations(document)}
    assert sorted(exported.values()) == sorted(
        spec["operationId"] for _, _, spec in list_operations(CONTRACT) if spec["tags"] == [family]
    )


def find_new_words(document: Any, place: str = "") -> list[str]:
    """Return the places of what OpenAPI 3.0 does not have in its schemas."""
    found = []
    if isinstance(document, dict):
        is_schema = bool(re.search(r"/(schema|items|properties/[^/]+|schemas/[^/]+|(all|any|one)Of/\d+)$", place))
        if is_schema and (set(document) & {*LEFT_OUT, "const", "examples"} or isinstance(document.get("type"), list)):
            found.append(place)
        for key, value in document.items():
            if key not in ("example", "examples", "enum", "default"):
                found += find_new_words(value, f"{place}/{key}")
    elif isinstance(document, list):
        for at, value in enumerate(document):
            found += find_new_words(value, f"{place}/{at}")
    return found


def list_answers() -> list[Any]:
    """Every JSON answer of the S9S operations with its examples."""
    found = []
    for path, method, spec in list_operations(S9S):
        for code, response in spec["responses"].items():
            response = resolve(response)
            for kind, content in response.get("content", {}).items():
                if kind == "application/json":
                    examples = [resolve(example)["value"] for example in content.get("examples", {}).values()]
                    found.append(pytest.param(content["schema"], examples, id=f"{method} {path} {code}"))
    return found


def resolve(part: Any) -> Any:
    """Return the part of the document that a reference stands for."""
    while "$ref" in part:
        _, kind, name = part["$ref"].removeprefix("#/").split("/")
        part = S9S["components"][kind][name]
    return part


@pytest.mark.parametrize(("schema", "examples"), list_answers())
def test_the_examples_of_the_contract_fit(schema: Any, examples: list[Any]) -> None:
    judge = OAS30Validator({**schema, "components": S9S["components"]})
    for value in examples:
        assert [error.message for error in judge.iter_errors(value)] == []


def test_the_paths_are_relative_to_the_roots() -> None:
    assert S9S["servers"] == [{"url": "/api/v1"}, {"url": "/v1"}]
    for path, item in S9S["paths"].items():
        assert not path.startswith(("/api", "/v1")), path
        if path.startswith("/oauth"):
            assert item["servers"] == [{"url": "/"}], "outside of the roots"
    subjects = {spec["tags"][0] for _, _, spec in list_operations(S9S)}
    assert subjects == {tag["name"] for tag in S9S["tags"]} >= {"jobs", "status"}


def test_an_operation_names_its_scope() -> None:
    for path, item in S9S["paths"].items():
        for method in set(METHODS) & set(item):
            ways = item[method]["security"]
            assert ways[-1] == {} and all(
                scopes == [] for way in ways for name, scopes in way.items() if name == "bearer"
            )
            assert ("x-scope" in item[method]) == (ways != [{}]), path


def test_only_needed_components_are_there() -> None:
    text = repr([S9S["paths"], S9S["components"]])
    for kind, parts in S9S["components"].items():
        for name in parts:
            assert kind == "securitySchemes" or f"#/components/{kind}/{name}'" in text, name
    assert "StoreProblem" not in S9S["components"]["schemas"]

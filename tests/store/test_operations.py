"""What is read from the contract of one operation, and what a request's texts become."""

from __future__ import annotations

from typing import Any

import pytest

from store import operations
from store.errors import Invalid
from store.operations import Parameter, Specification

CONTRACT: Any = {
    "paths": {
        "/things/{thing_id}": {
            "parameters": [{"$ref": "#/components/parameters/ThingId"}],
            "put": {
                "operationId": "put_thing",
                "tags": ["things"],
                "parameters": [
                    {"name": "from", "in": "query", "schema": {"$ref": "#/components/schemas/Count"}},
                    {"name": "all", "in": "query", "schema": {"type": "boolean"}, "allowEmptyValue": True},
                    {"name": "If-Match", "in": "header", "schema": {"type": "string"}},
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                },
                "responses": {
                    "404": {"description": "there is none"},
                    "201": {"headers": {"X-Change": {}}, "content": {"text/plain": {}}},
                },
            },
            "get": {"operationId": "get_thing", "tags": ["things"], "responses": {"200": {}}},
        },
        "/things": {
            "get": {
                "operationId": "list_things",
                "tags": ["things"],
                "parameters": [
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "default": 20}},
                    {"name": "name", "in": "query", "schema": {"type": "string"}},
                    {"name": "kind", "in": "query", "x-commas": True, "schema": {"type": "string"}},
                    {"name": "order", "in": "query", "schema": {"enum": ["asc", "desc"], "default": "asc"}},
                ],
                "responses": {"200": {"$ref": "#/components/responses/Things"}},
            }
        },
    },
    "components": {
        "parameters": {
            "ThingId": {"name": "thing_id", "in": "path", "required": True, "schema": {"type": "string"}},
        },
        "schemas": {
            "Count": {"$ref": "#/components/schemas/Number"},
            "Number": {"type": "integer", "default": 3},
            "Thing": {"type": "object", "properties": {"size": {"default": 1}, "name": {}}},
        },
        "responses": {"Things": {"content": {"application/json": {}}}},
    },
}


def specify(path: str, method: str) -> Specification:
    """Return an operation of the small contract."""
    return Specification(CONTRACT, path, CONTRACT["paths"][path][method])


def test_all_operations_are_listed_in_the_order_of_the_contract() -> None:
    found = [(path, method, spec["operationId"]) for path, method, spec in operations.list_operations(CONTRACT)]
    assert found == [
        ("/things/{thing_id}", "GET", "get_thing"),
        ("/things/{thing_id}", "PUT", "put_thing"),
        ("/things", "GET", "list_things"),
    ]


def test_a_reference_to_a_reference_is_followed() -> None:
    assert operations.resolve_reference(CONTRACT, {"$ref": "#/components/schemas/Count"})["type"] == "integer"
    assert operations.resolve_reference(CONTRACT, {"type": "string"}) == {"type": "string"}
    assert operations.resolve_reference(CONTRACT, ["$ref"]) == ["$ref"]


def test_an_operation_is_taken_apart() -> None:
    put = specify("/things/{thing_id}", "put")
    assert (put.operation_id, put.family, put.status, put.media_type) == ("put_thing", "things", 201, "text/plain")
    assert put.has_change_number and put.has_body and put.body_required and put.body_defaults == {"size": 1}
    assert [parameter.argument for parameter in put.parameters] == ["thing_id", "from_", "all", "if_match"]
    assert put.parameters_schema["properties"]["path"]["required"] == ["thing_id"]
    assert set(put.parameters_schema["properties"]) == {"path", "query", "header"}
    assert set(put.parameters_schema["properties"]["header"]["properties"]) == {"if-match"}
    get = specify("/things", "get")
    assert (get.media_type, get.has_body, get.has_change_number) == ("application/json", False, False)


@pytest.mark.parametrize(
    ("why", "path", "method", "defaults"),
    [
        ("all of it can be left out", "/things", "get", {"limit": 20, "name": None, "kind": None, "order": "asc"}),
        ("the path must be given", "/things/{thing_id}", "get", None),
        ("a header can be given", "/things/{thing_id}", "put", None),
    ],
)
def test_arguments_of_a_request_without_a_query(why: str, path: str, method: str, defaults: Any) -> None:
    assert specify(path, method).defaults == defaults, why


def test_texts_become_arguments_and_values_to_be_checked() -> None:
    put = specify("/things/{thing_id}", "put")
    texts = {"path": {"thing_id": "7"}, "query": {"from": "+4", "all": ""}, "header": {"if-match": 'W/"0a.3"'}}
    arguments, values = put.read_arguments(texts)
    assert arguments == {"thing_id": "7", "from_": 4, "all": None, "if_match": "0a"}
    assert values == {"path": {"thing_id": "7"}, "query": {"from": 4}, "header": {"if-match": 'W/"0a.3"'}}
    _, values = put.read_arguments({**texts, "query": {"form": "4"}})
    assert values["query"] == {"form": "4"}, "what is not in the contract is refused by it"
    arguments, values = put.read_arguments({"path": {"thing_id": "7"}, "query": {"from": "x"}, "header": {}})
    assert arguments == {"thing_id": "7", "from_": "x", "all": None, "if_match": None}, "the contract refuses it then"


def test_what_stands_twice_in_a_query() -> None:
    get = specify("/things", "get")
    assert get.read_query("kind=a&kind=b,c&name=x") == {"kind": "a,b,c", "name": "x"}
    for query in ("name=x&name=y", "limit=1&limit=1", "unknown=1&unknown=2"):
        with pytest.raises(Invalid) as refusal:
            get.read_query(query)
        assert refusal.value.problems[0]["loc"] == ["query", query.partition("=")[0]]


def test_a_word_may_come_in_any_case() -> None:
    arguments, values = specify("/things", "get").read_arguments({"path": {}, "query": {"order": "DESC"}})
    assert (arguments["order"], values["query"]) == ("desc", {"order": "desc"})


@pytest.mark.parametrize(
    ("why", "body", "corrected"),
    [
        ("a field", {"kind": "LARGE"}, {"kind": "large"}),
        ("one that is right", {"kind": "small"}, {"kind": "small"}),
        ("below other fields, and in a list", {"parts": [{"kind": "Small"}, 1]}, {"parts": [{"kind": "small"}, 1]}),
        ("in lists of words", {"kinds": ["Small", None]}, {"kinds": ["small", None]}),
        ("what is wrong is told as it came", {"kind": "HUGE", "parts": 1}, {"kind": "HUGE", "parts": 1}),
        ("no object", ["LARGE"], ["LARGE"]),
    ],
)
def test_the_words_of_a_body_may_come_in_any_case(why: str, body: Any, corrected: Any) -> None:
    kind: Any = {"enum": [None, "small", "large"]}
    part = {"properties": {"kind": kind, "name": {"type": "string"}}}
    schema = {"properties": {"kind": kind, "kinds": {"items": kind}, "parts": {"items": part}}}
    correct = operations.compile_words(CONTRACT, schema)
    assert correct is not None and correct(body) == corrected, why
    assert operations.compile_words(CONTRACT, {"properties": {"name": {"type": "string"}}}) is None


@pytest.mark.parametrize(
    ("text", "number", "boolean"),
    [
        ("1", 1, True),
        ("0", 0, False),
        ("-12", -12, "-12"),
        ("TRUE", "TRUE", True),
        ("false", "false", False),
        ("1.0", "1.0", "1.0"),
        ("", "", ""),
        ("9" * 19, "9" * 19, "9" * 19),
    ],
)
def test_numbers_and_booleans(text: str, number: Any, boolean: Any) -> None:
    assert operations.parse_integer(text) == number
    assert operations.parse_boolean(text) == boolean


@pytest.mark.parametrize(
    ("header", "etags"),
    [
        ("*", "*"),
        ('"0a1b"', "0a1b"),
        ('W/"0a1b.77"', "0a1b"),
        ('"0a1b.77"', "0a1b"),
        ('"0a1b.77" , W/"2c","3"', "0a1b 2c 3"),
    ],
)
def test_the_versions_in_if_match(header: str, etags: str) -> None:
    assert operations.unquote_etags(header) == etags


@pytest.mark.parametrize(
    ("accept", "csv"),
    [
        ("", False),
        ("*/*", False),
        ("text/csv", True),
        ("TEXT/CSV", True),
        ("application/json, text/csv", False),
        ("text/csv, application/json", True),
        ("application/json;q=0.5, text/csv", True),
        ("text/csv;q=0.5, application/json;q=0.9", False),
        ("text/csv;q=0", False),
        ("text/csv; charset=utf-8; q=0.9, application/json;q=0.8", True),
    ],
)
def test_who_prefers_csv(accept: str, csv: bool) -> None:
    assert operations.prefers_csv(accept) is csv


def test_a_parameter_needs_little() -> None:
    assert operations.read_parameter(CONTRACT, {"name": "A-b", "in": "query", "schema": {}}) == Parameter(
        "A-b", "query", "a_b", str
    )

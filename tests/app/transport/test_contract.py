"""The contract itself: a valid document whose examples are true, and an app that has exactly what it promises."""

from __future__ import annotations

import copy
import inspect
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from store.contract import find_needed_components
from tests import ROOT
from tests.contract_judge import CONTRACT, operations, resolve, validator

OPERATIONS = [pytest.param(*operation, id=operation[2]["operationId"]) for operation in operations()]
# What a client must be ready for, whatever it asks for. The S9S document has 400 for what is 422 elsewhere.
EVERYWHERE = {"400", "401", "403", "422", "429"}
NEVER = {"s9s": {"422"}, "yaptide": {"422"}}
ENVELOPES = {"yaptide": "YaptideError", "s9s": "S9sError", "s9s_create_token": "S9sTokenError"}
# How callers may say who they are, by family.
SCHEMES = {
    "s9s": ["bearer", "s9s_oauth", "s9s_api_key", "s9s_munge", "s9s_certificate", "session"],
    "yaptide": ["bearer", "yaptide_cookie", "session"],
}
# What is said of a login, by its cookies alone.
LOGINS = {"yaptide_get_status": ["yaptide_cookie"], "yaptide_refresh_login": ["yaptide_refresh"]}
REPORT = {"bearer": ["report"]}
# The only form: RFC 6749 wants it, with unknown fields ignored.
FORMS = {"s9s_create_token"}

# What may be called without credentials.
OPEN = {
    "srtslurm_get_health",
    "s9s_get_health",
    "s9s_get_openapi_json",
    "s9s_get_openapi_yaml",
    "s9s_create_token",
    "yaptide_register_user",
    "yaptide_log_in",
    "yaptide_log_out",
    "yaptide_log_in_keycloak",
    "yaptide_log_out_keycloak",
    "yaptide_update_job",  # its update key stands in the body
    "yaptide_update_task",
    "yaptide_save_results",
    "yaptide_save_logfiles",
    "sluice_get_start",
    "sluice_create_session",
    "sluice_get_health",
    "sluice_get_contract_json",
    "sluice_get_contract_yaml",
}
# What needs the scope admin: changes of the configuration and of whatever says where something goes, and all of tokens.
ADMIN = {
    "srunx_update_config", "srunx_reset_config", "srunx_update_project", "srunx_init_project",
    "srunx_create_profile", "srunx_update_profile", "srunx_delete_profile", "srunx_activate_profile",
    "srunx_deactivate_profile", "srunx_connect_profile", "srunx_add_profile_mount", "srunx_delete_profile_mount",
    "srunx_add_mount", "srunx_delete_mount",
    "srunx_create_template", "srunx_change_template", "srunx_delete_template",
    "srunx_create_endpoint", "srunx_change_endpoint", "srunx_delete_endpoint",
    "srunx_disable_endpoint", "srunx_enable_endpoint", "srunx_test_profile",
    "s9s_drain_node", "s9s_resume_node", "s9s_set_node_state",
    "sluice_list_tokens", "sluice_create_token", "sluice_revoke_token",
}  # fmt: skip
# What makes or ends something that only serves to read.
READING = {"s9s_make_ticket", "sluice_delete_session"}
LINE_CHARACTERS = 140
# Most refusals come from the named sets, in two lines for each operation; half as many operations had 620 once.
REFUSAL_LINES = 300


def parts(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every mapping of the contract with its place; references are not followed, examples are not looked into."""
    if isinstance(value, dict):
        yield path, value
        for key, inner in value.items():
            if key not in ("example", "examples", "default", "enum", "const"):
                yield from parts(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from parts(inner, f"{path}/{index}")


def examples_of(holder: dict[str, Any]) -> list[Any]:
    """The example values of a media type or a parameter."""
    found = [resolve(example)["value"] for example in holder.get("examples", {}).values()]
    return found + ([holder["example"]] if "example" in holder else [])


def test_the_document_is_openapi() -> None:
    assert re.fullmatch(r"3\.1\.\d+", CONTRACT["openapi"])
    assert {"title", "version"} <= set(CONTRACT["info"])
    for path, item in CONTRACT["paths"].items():
        assert path == "/" or (path.startswith("/") and not path.endswith("/"))
        assert set(item) <= {"parameters", "get", "put", "post", "delete", "patch", "summary", "description"}
    for path, _method, spec in operations():
        assert set(spec) <= {
            "operationId", "tags", "summary", "description", "parameters", "requestBody", "responses", "security",
            "x-progress", "x-websocket",
        }, path  # fmt: skip
        assert spec["responses"], path


def test_no_body_has_a_choice_of_which_thousands_of_parts_could_be_wrong() -> None:
    """The first problem of a choice holds all problems of each alternative, however many there are."""

    def find_open_parts(schema: Any) -> list[Any]:
        found = resolve(schema)
        if not isinstance(found, dict):
            return []
        ours = [found] if "items" in found or isinstance(found.get("additionalProperties"), dict) else []
        inner = [*found.get("properties", {}).values(), found.get("items"), found.get("additionalProperties")]
        return ours + [part for each in inner for part in find_open_parts(each)]

    def find_choices(schema: Any) -> list[Any]:
        found = resolve(schema)
        if not isinstance(found, dict):
            return []
        ours = [*found.get("oneOf", ()), *found.get("anyOf", ())]
        inner = [*found.get("properties", {}).values(), found.get("items"), found.get("additionalProperties")]
        return ours + [part for each in (*inner, *ours) for part in find_choices(each)]

    for _, _, spec in operations():
        content = resolve(spec.get("requestBody", {})).get("content", {})
        for choice in find_choices(content.get("application/json", {}).get("schema")):
            assert find_open_parts(choice) == [], spec["operationId"]


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    used = {part["$ref"] for _, part in parts(CONTRACT) if "$ref" in part}
    for holder in (part for _, part in parts(CONTRACT) if "examples" in part):
        used |= {
            example["$ref"]
            for example in holder["examples"].values()
            if isinstance(example, dict) and "$ref" in example
        }
    for reference in used:
        resolve({"$ref": reference})
    components = {f"#/components/{kind}/{name}" for kind, named in CONTRACT["components"].items() for name in named}
    assert {component for component in components - used if "securitySchemes" not in component} == set()


def test_the_file_reads_well() -> None:
    lines = (ROOT / "contract.yaml").read_text().splitlines()
    assert [line for line in lines if len(line) > LINE_CHARACTERS] == []
    refusals = re.compile(r' {8}("[45][0-9][0-9]": \{\$ref: |<<: \[)')
    assert len([line for line in lines if refusals.match(line)]) <= REFUSAL_LINES


def test_families_stand_together_in_the_order_of_their_documents() -> None:
    families = [tag["name"] for tag in CONTRACT["tags"]]
    assert [name for name, _ in itertools.groupby(spec["tags"][0] for _, _, spec in operations())] == families
    users: dict[tuple[str, str], set[str]] = {}
    for path, _, spec in operations():
        for kind, named in find_needed_components(CONTRACT, [spec, CONTRACT["paths"][path].get("parameters")]).items():
            for name in named:
                users.setdefault((kind, name), set()).add(spec["tags"][0])
    for kind, named in CONTRACT["components"].items():
        owners = [users[kind, name] for name in named if (kind, name) in users]
        places = [families.index(*owner) if len(owner) == 1 else -1 for owner in owners]
        assert places == sorted(places), f"{kind}: what several families use comes first"


def test_every_schema_is_one() -> None:
    for path, part in parts(CONTRACT):
        if path.endswith("/schema") or re.fullmatch("/components/schemas/[^/]+", path):
            jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **part})
            validator(part)


@pytest.mark.parametrize(("path", "method", "spec"), OPERATIONS)
def test_every_operation_is_whole(path: str, method: str, spec: dict[str, Any]) -> None:
    item = CONTRACT["paths"][path]
    given = [resolve(parameter) for parameter in [*item.get("parameters", []), *spec.get("parameters", [])]]
    in_path = {parameter["name"] for parameter in given if parameter["in"] == "path"}
    assert in_path == set(re.findall(r"\{([^}]+)\}", path))
    assert all(parameter.get("required") for parameter in given if parameter["in"] == "path")
    assert len({(parameter["in"], parameter["name"].lower()) for parameter in given}) == len(given)
    assert all(parameter.get("description") and parameter.get("schema") for parameter in given)
    assert re.fullmatch("[a-z0-9]+(_[a-z0-9]+){2,}", spec["operationId"])
    assert spec["operationId"].split("_")[0] == spec["tags"][0] in {tag["name"] for tag in CONTRACT["tags"]}
    assert re.fullmatch(r"[A-Z][a-z]+ .+\.", spec["summary"]) and len(spec["summary"]) <= 72
    codes = set(spec["responses"]) - {"206"}  # a part of what 200 promises
    # 101 is the answer of an address that only speaks over WebSockets.
    answers = [code for code in codes if code.startswith("2") or code == "101"]
    assert len(answers) == 1, "what is returned says which status it is"
    assert answers != ["101"] or codes >= {"426"}
    assert "x-websocket" not in spec or (method, spec["x-websocket"].split("_")[0]) == ("GET", spec["tags"][0])
    assert codes >= (EVERYWHERE if spec["security"] != [{}] else {"400", "403", "422"}) - NEVER.get(
        spec["tags"][0], set()
    )
    assert method == "GET" or "415" in codes
    answer = resolve(spec["responses"][answers[0]])
    assert ("304" in codes) == (method == "GET" and "ETag" in answer.get("headers", {}))
    if "requestBody" in spec:
        assert codes >= {"413", "415"}
        kinds = list(resolve(spec["requestBody"])["content"])
        forms = ["application/x-www-form-urlencoded"] * (spec["operationId"] in FORMS)
        assert kinds in (["application/json", *forms], ["application/octet-stream"])


@pytest.mark.parametrize(("path", "method", "spec"), OPERATIONS)
def test_a_body_takes_no_unknown_field(path: str, method: str, spec: dict[str, Any]) -> None:
    """Except those of the Status API and of OAuth, whose documents say that unknown fields are ignored."""
    schema = resolve(spec.get("requestBody", {})).get("content", {}).get("application/json", {}).get("schema", {})
    components = find_needed_components(CONTRACT, schema).get("schemas", {})
    described = [part for _, part in parts([schema, components]) if part.get("properties")]
    assert {part.get("additionalProperties") for part in described} <= {
        spec["tags"][0] == "srtslurm" or spec["operationId"] in FORMS
    }


def test_patterns_of_the_s9s_api_are_also_told_in_words() -> None:
    """A refusal shows these words instead of the pattern."""
    for path, _, spec in operations():
        if spec["tags"] == ["s9s"]:
            parameters = [*CONTRACT["paths"][path].get("parameters", []), *spec.get("parameters", [])]
            sent = [resolve(part) for part in [*parameters, spec.get("requestBody", {})]]
            components = find_needed_components(CONTRACT, sent).get("schemas", {})
            found = [part for _, part in parts([sent, components]) if isinstance(part.get("pattern"), str)]
            assert [part for part in found if "x-form" not in part] == [], spec["operationId"]


@pytest.mark.parametrize(("path", "method", "spec"), OPERATIONS)
def test_every_operation_says_who_may_call_it(path: str, method: str, spec: dict[str, Any]) -> None:
    assert "security" not in CONTRACT, "what an operation does not say would be open to everybody who is let in"
    schemes = [scheme for way in spec["security"] for scheme in way]
    if spec["operationId"] in LOGINS:
        assert [[*way] for way in spec["security"]] == [LOGINS[spec["operationId"]]]
        return
    assert spec["security"][-1] == {}, "the server's own user over loopback"
    if not schemes:
        assert spec["operationId"] in OPEN
        return
    # Jobs report by a token in their URL, which browsers do not do; what browsers read there they read as elsewhere.
    usual = ["bearer", *["basic"] * (spec["tags"] == ["srtslurm"]), *["session"] * (spec["security"][0] != REPORT)]
    assert schemes == SCHEMES.get(spec["tags"][0], usual)
    assert set(schemes) <= set(CONTRACT["components"]["securitySchemes"])
    (scope,) = {scope for way in spec["security"] for scopes in way.values() for scope in scopes}
    is_reading = method == "GET" or spec["operationId"] in READING
    assert (scope == "read") == (is_reading and spec["operationId"] not in ADMIN)  # who else may call is not for all
    assert (scope == "report") == (method != "GET" and spec["tags"] == ["srtslurm"])
    assert (scope == "admin") == (spec["operationId"] in ADMIN)


@pytest.mark.parametrize(("path", "method", "spec"), OPERATIONS)
def test_every_answer_has_a_schema_and_examples_that_are_true(path: str, method: str, spec: dict[str, Any]) -> None:
    for code, response in spec["responses"].items():
        found = resolve(response)
        assert found["description"], code
        if code in ("101", "204", "304", "414"):
            assert "content" not in found
            continue
        for kind, content in found["content"].items():
            values = examples_of(content)
            assert values, f"{code} {kind} shows no example"
            judge = validator(content["schema"])
            for value in values:
                assert [error.message for error in judge.iter_errors(value)] == [], f"{code} {value}"
        if not code.startswith("2"):
            assert list(found["content"]) == ["application/json"]
            assert found["content"]["application/json"]["schema"]["$ref"].endswith(
                f"/{ENVELOPES.get(spec['operationId'], ENVELOPES.get(spec['tags'][0], 'Error'))}"
            )


@pytest.mark.parametrize(("path", "method", "spec"), OPERATIONS)
def test_every_example_of_a_request_is_taken(path: str, method: str, spec: dict[str, Any]) -> None:
    if "requestBody" in spec:
        for content in resolve(spec["requestBody"])["content"].values():
            assert examples_of(content)
            for value in examples_of(content):
                assert [error.message for error in validator(content["schema"]).iter_errors(value)] == []
    for parameter in map(resolve, [*CONTRACT["paths"][path].get("parameters", []), *spec.get("parameters", [])]):
        for value in [
            *examples_of(parameter),
            *[parameter["schema"][key] for key in ("default",) if key in parameter["schema"]],
        ]:
            assert validator(parameter["schema"]).is_valid(value), parameter["name"]


@pytest.mark.parametrize(("path", "method", "spec"), OPERATIONS)
def test_links_lead_to_operations_and_their_parameters(path: str, method: str, spec: dict[str, Any]) -> None:
    known = {operation["operationId"]: (where, operation) for where, _, operation in operations()}
    for response in map(resolve, spec["responses"].values()):
        for name, link in response.get("links", {}).items():
            where, target = known[link["operationId"]]
            given = [
                resolve(parameter)
                for parameter in [*CONTRACT["paths"][where].get("parameters", []), *target.get("parameters", [])]
            ]
            assert set(link.get("parameters", {})) <= {parameter["name"] for parameter in given}, name


def list_properties(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every property of a request's body with its place."""
    for path, part in parts(schema, place):
        if "$ref" in part:
            yield from list_properties(resolve(part), f"{path} {part['$ref'].rpartition('/')[2]}")
        yield from ((f"{path}/{name}", inner) for name, inner in part.get("properties", {}).items())


def test_everything_that_callers_send_is_described() -> None:
    for path, method, spec in operations():
        assert spec.get("description"), f"{method} {path}"
        for content in resolve(spec.get("requestBody", {})).get("content", {}).values():
            for place, schema in list_properties(content["schema"], f"{method} {path}"):
                assert {**resolve(schema), **schema}.get("description"), place


def test_generators_of_clients_find_what_they_need() -> None:
    """What such programs stumbled over; tests/clients/test_clients.py runs two of them."""
    for path, part in parts(CONTRACT):
        kinds = part.get("type") if isinstance(part.get("type"), list) else [part.get("type")]
        assert "array" not in kinds or "items" in part, path
        assert "object" not in kinds or {"properties", "additionalProperties"} & part.keys(), (
            f"{path}: nothing may be in it"
        )
        for name, inner in part.get("properties", {}).items():
            assert isinstance(inner, dict), f"{path}/{name}: a generator does not know `true`"
            assert "default" not in inner or "/requestBod" in path, f"{path}/{name}: taken for one that is always there"


def test_every_object_says_what_it_has_and_every_list_of_an_answer_is_bounded() -> None:
    for path, part in parts(CONTRACT["components"]["schemas"]):
        kinds = part.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if "properties" in part:
            assert "object" in kinds, path
            assert set(part.get("required", ())) <= set(part["properties"]), path
    for path, method, spec in operations():
        for code, response in spec["responses"].items():
            for content in resolve(response).get("content", {}).values():
                schema = resolve(content["schema"])
                assert schema.get("type") != "array" or "maxItems" in schema, f"{method} {path} {code}"


def test_every_text_that_callers_send_is_bounded() -> None:
    unbounded = []
    for path, method, spec in operations():
        raw = resolve(spec.get("requestBody", {})).get("content", {}).get("application/octet-stream")
        assert raw is None or raw["schema"]["maxLength"], f"{method} {path}"
        body = resolve(spec.get("requestBody", {})).get("content", {}).get("application/json", {}).get("schema")
        given = [
            resolve(parameter)
            for parameter in [*CONTRACT["paths"][path].get("parameters", []), *spec.get("parameters", [])]
        ]
        schemas = [(parameter["name"], resolve(parameter["schema"])) for parameter in given]
        schemas += [(key, resolve(property_)) for key, property_ in (resolve(body) or {}).get("properties", {}).items()]
        for name, schema in schemas:
            kinds = schema.get("type", [])
            if "string" in kinds and not {"maxLength", "pattern", "enum", "const"} & set(schema):
                unbounded.append(f"{method} {path} {name}")
            if kinds == "array" and "maxItems" not in schema:
                unbounded.append(f"{method} {path} {name}")
    assert unbounded == []


# --- the app and the contract ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app() -> Any:
    """The app's module."""
    import app as module

    return module


def test_contract_and_operations_match_one_to_one(app: Any) -> None:
    sockets = {spec["x-websocket"] for _, _, spec in operations() if "x-websocket" in spec}
    assert set(app.OPERATIONS) == {spec["operationId"] for _, _, spec in operations()} | sockets


@pytest.mark.parametrize(("path", "method", "spec"), OPERATIONS)
def test_every_function_is_what_the_contract_says(app: Any, path: str, method: str, spec: dict[str, Any]) -> None:
    function = app.OPERATIONS[spec["operationId"]]
    signature = inspect.signature(function)
    if function.__module__ == app.__name__:  # others are called for their own sake, too
        assert inspect.getdoc(function) == spec["summary"]
        assert all(parameter.default is inspect.Parameter.empty for parameter in signature.parameters.values())
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in signature.parameters.values())


@pytest.mark.parametrize("name", [spec["operationId"] for _, _, spec in operations()])
def test_every_operation_says_what_it_does_and_takes_the_server_first(app: Any, name: str) -> None:
    function = app.OPERATIONS[name]
    first_line, *_ = (inspect.getdoc(function) or "").splitlines() or [""]
    assert first_line.strip()
    places = [at for at, parameter in enumerate(inspect.signature(function).parameters) if parameter == "server"]
    assert places in ([], [0])


def break_contract(change: str) -> dict[str, Any]:
    """Copy the contract, with one thing wrong."""
    contract = copy.deepcopy(CONTRACT)
    if change == "promises more":
        contract["paths"]["/api/more"] = {
            "get": {**contract["paths"]["/api/jobs"]["get"], "operationId": "srunx_more_of"}
        }
    elif change == "promises less":
        del contract["paths"]["/api/history"]
    elif change == "gives less":
        del contract["paths"]["/api/jobs/{job_id}"]["parameters"]
    elif change == "calls it otherwise":
        contract["paths"]["/api/history"]["get"]["parameters"][0]["name"] = "count"
    return contract


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("promises more", "contract.yaml promises srunx_more_of, which app.py does not have"),
        ("promises less", r"app.py has \['srunx_list_history'\], which contract.yaml does not promise"),
        ("gives less", r"srunx_get_job asks for \['job_id'\], which contract.yaml does not give"),
        ("calls it otherwise", r"srunx_list_history asks for \['limit'\], which contract.yaml does not give"),
    ],
)
def test_the_app_does_not_start_when_they_differ(app: Any, change: str, said: str) -> None:
    app.compile_paths(copy.deepcopy(CONTRACT), app.FAMILIES, app.OPERATIONS)
    with pytest.raises(RuntimeError, match=said):
        app.compile_paths(break_contract(change), app.FAMILIES, app.OPERATIONS)


def test_a_validator_holds_only_the_components_that_it_needs(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with all of them takes 85 MB and 0.2 s in all."""
    compiled: list[dict[str, Any]] = []
    compile_schema = jsonschema_rs.validator_for

    def validator_for(schema: dict[str, Any]) -> jsonschema_rs.Validator:
        compiled.append(schema)
        return compile_schema(schema)

    monkeypatch.setattr(jsonschema_rs, "validator_for", validator_for)
    items = app.compile_paths(copy.deepcopy(CONTRACT), app.FAMILIES, app.OPERATIONS)
    assert compiled == [], "each is compiled for the first request that needs it"
    endpoints = [endpoint for item in items.values() for endpoint in item.endpoints.values()]
    for checker in [made for endpoint in endpoints for made in (endpoint.parameters, endpoint.body)]:
        assert checker is None or checker.validator is checker.validator
    assert len(compiled) > len(OPERATIONS) / 2
    for schema in compiled:
        named = {key: value for key, value in schema.items() if key != "components"}
        assert schema["components"] == find_needed_components(CONTRACT, named)


# What a start does without; each takes time and memory.
NOT_AT_START = {"yaml", "granian", "uvicorn", "swagger_ui", "httpx", "sqlite3", "statistics", "unittest", "hypothesis"}


def test_the_app_loads_little(tmp_path: Path) -> None:
    """With the contract in the cache, as from the second start on."""
    command = [sys.executable, "-c", "import sys, app; print(*sys.modules)"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    first, second = (
        set(
            subprocess.run(
                command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.split()
        )
        for _ in range(2)
    )
    assert first & NOT_AT_START == {"yaml"} and second & NOT_AT_START == set()

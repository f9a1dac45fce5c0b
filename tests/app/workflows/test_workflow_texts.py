"""Texts of workflow files over HTTP, for editors: also wrong ones, checked by place, completed by schema."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.app_client import Client
from tests.waiting import eventually

GOOD = "# mine\njobs:\n  - name: a\n    command: [echo, x]\n"
WRONG = "jobs:\n  - name: a\n    comand: [echo, x]\n"
SWEEP = """\
description: It counts
args: {lr: 1}
sweep: {matrix: {lr: [1, 2]}}
jobs: [{name: a, command: 'echo {{ lr }}'}]
"""
SECRET = "jobs:\n  - name: a\n    command: [echo]\n    environment: {env_vars: {HF_TOKEN: hf_very}}\n"


def upload(client: Client, name: str, text: str, version: str | None = None, **body: Any) -> Any:
    """Upload a text, over this version."""
    headers = {} if version is None else {"If-Match": f'"{version}"'}
    return client.post("/api/workflows/upload", {"yaml": text, "filename": f"{name}.yaml", **body}, headers=headers)


def read(client: Client, name: str, **more: Any) -> tuple[dict[str, Any], str]:
    """Return a text with what is said of it, and its version."""
    answer = client.get(f"/api/workflows/{name}/text", **more)
    assert answer.status_code == 200, answer.text
    return answer.json(), answer.headers["etag"].strip('"')


def spoil(client: Client, name: str, text: str = WRONG) -> None:
    """Write a wrong file by hand; wait until that is seen."""
    (client.store / "workflows" / f"{name}.yaml").write_text(text)
    eventually(lambda: name in str(client.get("/api/store/problems").json()))


def test_a_text_comes_as_it_lies_there(client: Client) -> None:
    upload(client, "plain", GOOD)
    found, version = read(client, "plain")
    assert (found["text"], found["path"]) == (GOOD, "workflows/plain.yaml")
    assert found["valid"] and not found["masked"]
    assert hashlib.sha256(GOOD.encode()).hexdigest() in version
    assert client.get("/api/workflows/plain/text", headers={"If-None-Match": f'"{version}"'}).status_code == 304
    assert client.get("/api/workflows/nowhere/text").status_code == 404


def test_what_is_no_yaml_is_told_in_the_same_sentence_everywhere(client: Client) -> None:
    text, sentence = "name: torn\njobs\n  - name: a\n", "the colon after 'jobs' is missing"
    spoil(client, "torn", text)
    rows = [row for row in client.get("/api/store/problems").json() if row["path"] == "workflows/torn.yaml"]
    rows += read(client, "torn")[0]["problems"]
    rows += client.post("/api/workflows/validate", {"yaml": text, "details": True}).json()["problems"]
    assert [(row["line"], row["column"], sentence in row["reason"]) for row in rows] == [(2, 5, True)] * 3
    assert sentence in str(client.post("/api/workflows/validate", {"yaml": text}).json()["errors"])
    assert sentence in upload(client, "never", text).text


def test_a_wrong_file_is_mended_by_who_has_seen_it(client: Client) -> None:
    upload(client, "bent", GOOD)
    before = read(client, "bent")[1]
    spoil(client, "bent")
    found, version = read(client, "bent")
    assert (found["text"], found["valid"]) == (WRONG, False)
    assert found["workflow"] == client.get("/api/workflows/bent").json(), "the last good version is in force"
    assert [(row["line"], row["severity"]) for row in found["problems"]] == [(2, "error"), (3, "error")]
    for why, seen in (("nothing seen", None), ("the version before", before), ("whatever is there", "*")):
        assert upload(client, "bent", GOOD, seen).status_code == 409, why
    assert upload(client, "bent", GOOD, "0" * 64).status_code == 412
    assert upload(client, "bent", WRONG, version).status_code == 422, "still wrong"
    mended = upload(client, "bent", GOOD, version)
    assert mended.status_code == 200 and read(client, "bent")[0]["problems"] == []


def test_a_file_that_never_was_right_is_mended_or_deleted(client: Client) -> None:
    spoil(client, "young")
    found, version = read(client, "young")
    assert found["workflow"] is None
    assert client.delete("/api/workflows/young").status_code == 409
    assert client.delete("/api/workflows/young", headers={"If-Match": f'"{version}"'}).status_code == 200
    assert not (client.store / "workflows" / "young.yaml").exists()
    spoil(client, "young")
    assert upload(client, "young", GOOD, read(client, "young")[1]).status_code == 200


def test_who_may_not_write_sees_no_secrets(client: Client) -> None:
    upload(client, "secret", SECRET)
    assert read(client, "secret")[0]["text"] == SECRET
    reader = {"token": client.tokens["read"]}
    found = read(client, "secret", **reader)[0]
    assert found["masked"] and "hf_very" not in found["text"] and "HF_TOKEN" in found["text"]
    spoil(client, "secret", SECRET + "more: 1\n")
    assert "hf_very" not in read(client, "secret", **reader)[0]["text"]
    spoil(client, "unread", SECRET + "more: 1\n")
    assert client.get("/api/workflows/unread/text", **reader).status_code == 404


def test_bytes_that_are_no_text_are_not_edited(client: Client) -> None:
    path = client.store / "workflows" / "latin.yaml"
    path.write_bytes(b"jobs:\n- {name: a, command: 'echo \xe9'}\n")
    answer = eventually(lambda: (got := client.get("/api/workflows/latin/text")).status_code != 404 and got)
    assert answer.status_code == 409 and "not UTF-8" in answer.json()["detail"]


def test_a_new_one_replaces_nothing(client: Client) -> None:
    assert upload(client, "fresh", GOOD, overwrite=False).status_code == 200
    assert upload(client, "fresh", GOOD, overwrite=False).status_code == 409
    assert upload(client, "fresh", GOOD, overwrite=True).status_code == 200


def test_validation_tells_places_and_what_the_text_says(client: Client) -> None:
    wrong = client.post("/api/workflows/validate", {"yaml": WRONG, "details": True}).json()
    (_missing, problem) = wrong["problems"]
    assert (wrong["valid"], wrong["workflow"], problem["line"], problem["column"]) == (False, None, 3, 5)
    assert "did you mean 'command'" in problem["reason"]
    text = SWEEP
    good = client.post("/api/workflows/validate", {"yaml": text, "details": True}).json()
    found = good["workflow"]
    assert (found["args"], found["sweep"]["matrix"], found["description"]) == ({"lr": 1}, {"lr": [1, 2]}, "It counts")
    assert good["problems"] == [] and [job["name"] for job in found["jobs"]] == ["a"]
    doubtful = client.post("/api/workflows/validate", {"yaml": text.replace("{lr: [", "{x: ["), "details": True})
    assert [(row["line"], row["severity"]) for row in doubtful.json()["problems"]] == [(3, "warning")]
    assert client.post("/api/workflows/validate", {"yaml": "", "details": True}).json()["problems"][0]["line"] is None


@pytest.mark.parametrize(
    ("kind", "path", "wanted"),
    [
        ("workflow", ("Job", "resources"), {"$ref": "#/$defs/Resources"}),
        ("workflow", ("Container", "runtime"), {"enum": ["pyxis", "apptainer", "singularity"]}),
        ("workflow", ("Container", "nv"), {"type": "boolean"}),
        ("config", ("SweepsConfig", "max_cells"), {"type": "integer"}),
    ],
)
def test_schemas_tell_keys_and_values(client: Client, kind: str, path: tuple[str, str], wanted: dict[str, Any]) -> None:
    schema = client.get(f"/api/schemas/{kind}").json()
    found = schema["$defs"][path[0]]["properties"][path[1]]
    assert {key: found[key] for key in wanted} == wanted


def test_only_some_kinds_have_a_schema(client: Client) -> None:
    assert client.get("/api/schemas/access").status_code == 422

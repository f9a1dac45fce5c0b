"""The way of a request: what is refused before anything happens, and how answers travel."""

from __future__ import annotations

import asyncio
import gc
import gzip
import re
import weakref
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import PIECE_BYTES, Call, has_version, read_body
from store.contract import dump_contract
from tests.app_client import Client, serving
from tests.contract_judge import CONTRACT
from tests.waiting import eventually

JSON = {"Content-Type": "application/json"}
GOOD = b'{"yaml": "name: a"}'


def send(client: Client, content: bytes, headers: dict[str, str] | None = None, path: str = "validate") -> Any:
    """A body sent as it is."""
    return client.request(
        "POST", f"/api/workflows/{path}", content=content, headers=JSON if headers is None else headers
    )


def first(answer: Any) -> tuple[str, list[Any]]:
    """Type and place of the first thing that is wrong."""
    problem = answer.json()["detail"][0]
    return problem["type"], problem["loc"]


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "body", "kind", "loc"),
    [
        ("missing", b"", "missing", ["body"]),
        ("cut off", b'{"yaml": "x', "json_invalid", ["body", 11]),
        ("a comma too many", b'{"yaml": "x",}', "json_invalid", None),
        ("two values", b"{} {}", "json_invalid", ["body", 3]),
        ("single quotes", b"{'yaml': 1}", "json_invalid", ["body", 1]),
        ("NaN", b'{"yaml": NaN}', "json_invalid", ["body", 9]),
        ("Infinity", b'{"yaml": Infinity}', "json_invalid", ["body", 9]),
        ("-Infinity", b'{"yaml": -Infinity}', "json_invalid", None),
        ("a lone surrogate", b'{"yaml": "\\ud800"}', "json_invalid", None),
        ("the other half alone", b'{"yaml": "\\udc00"}', "json_invalid", None),
        ("a byte order mark", b"\xef\xbb\xbf{}", "json_invalid", None),
        ("a raw line break in a text", b'{"yaml": "a\nb"}', "json_invalid", None),
        ("a comment", b"{} // x", "json_invalid", None),
        ("NUL", b"\0", "json_invalid", None),
        ("no JSON at all", b"yaml=x", "json_invalid", ["body", 0]),
        ("deep", b"[" * 65 + b"]" * 65, "json_invalid", ["body"]),
        ("deep in an object", b'{"a":' * 70 + b"1" + b"}" * 70, "json_invalid", ["body"]),
        ("deeper than any parser goes", b"[" * 100_000 + b"]" * 100_000, "json_invalid", None),
        ("never closed", b"[" * 400_000, "json_invalid", None),
        ("a list", b"[]", "object_type", ["body"]),
        ("a text", b'"x"', "object_type", ["body"]),
        ("null", b"null", "object_type", ["body"]),
        ("a wrong type", b'{"yaml": 5}', "string_type", ["body", "yaml"]),
        ("another wrong type", b'{"yaml": ["x"]}', "string_type", ["body", "yaml"]),
    ],
)
def test_bodies_that_are_refused(client: Client, why: str, body: bytes, kind: str, loc: list[Any] | None) -> None:
    answer = send(client, body)
    assert answer.status_code == 422, f"{why}: {answer.text[:300]}"
    assert first(answer)[0] == kind, why
    assert first(answer)[1] == loc or loc is None, why
    assert len(answer.content) < 3000, "a refusal does not send the request back"


@pytest.mark.parametrize(
    ("why", "body", "said"),
    [
        ("as Windows has it", '{"yaml": "x"}'.encode("utf-16"), "UTF-16"),
        ("without a mark, little end first", '{"yaml": "x"}'.encode("utf-16-le"), "UTF-16"),
        ("without a mark, big end first", '{"yaml": "x"}'.encode("utf-16-be"), "UTF-16"),
        ("wide", '{"yaml": "x"}'.encode("utf-32"), "UTF-32"),
        ("wide, without a mark", '{"yaml": "x"}'.encode("utf-32-be"), "UTF-32"),
        ("as old programs write", '{"yaml": "é"}'.encode("latin-1"), "another encoding (byte 10)"),
        ("half a surrogate", b'{"yaml": "\xed\xa0\x80"}', "another encoding (byte 10)"),
    ],
)
def test_json_that_is_not_utf_8(client: Client, why: str, body: bytes, said: str) -> None:
    answer = send(client, body)
    assert (answer.status_code, answer.json()["detail"]) == (415, f"The body must be UTF-8, not {said}"), why
    reported = client.request("POST", "/srtslurm/api/jobs", content=body, headers=JSON)
    assert reported.status_code == 415, why


@pytest.mark.parametrize(
    ("coding", "status"), [("gzip", 415), ("deflate, br", 415), ("IDENTITY", 200), ("identity ", 200), ("", 200)]
)
def test_bodies_that_are_encoded(client: Client, coding: str, status: int) -> None:
    answer = send(client, GOOD, {**JSON, "Content-Encoding": coding})
    assert answer.status_code == status
    assert status == 200 or f"Content-Encoding {coding} is not taken" in answer.json()["detail"]


def test_a_number_that_is_not_one_does_not_get_in(client: Client) -> None:
    client.workflow("number", "name: number\nargs: {x: 1}\njobs:\n  - {name: a, command: [echo, '{{ x }}']}\n")
    body = b'{"dry_run": true, "args_override": {"x": 1e999}}'
    answer = client.request("POST", "/api/workflows/number/run", content=body, headers=JSON)
    assert answer.status_code == 422 or "inf" not in answer.text.lower()


@pytest.mark.parametrize("size_bytes", [1_000_001, 5_000_000])
def test_bodies_that_are_too_large(client: Client, size_bytes: int) -> None:
    body = b'{"yaml": "' + b"x" * (size_bytes - 12) + b'"}'
    answer = send(client, body)
    assert (answer.status_code, answer.json()["detail"]) == (413, "the body is larger than 1000000 bytes")
    pieces = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]
    streamed = client.request("POST", "/api/workflows/validate", chunks=pieces, headers=JSON)
    assert "content-length" not in streamed.request.headers
    assert streamed.status_code == 413, "counted, whatever is declared"


def test_the_largest_body_that_is_taken(client: Client) -> None:
    body = b'{"filename": "' + b"x" * 900_000 + b'"}'
    assert send(client, body, path="upload").status_code == 422, "read whole, and refused for what it says"


@pytest.mark.parametrize(
    ("why", "kind", "status"),
    [
        ("as it should be", "application/json", 200),
        ("with its character set", "application/json; charset=utf-8", 200),
        ("case does not matter", "Application/JSON", 200),
        ("a kind of JSON", "application/vnd.api+json", 200),
        ("what a form sends", "application/x-www-form-urlencoded", 415),
        ("what a page may send without asking", "text/plain", 415),
        ("files", "multipart/form-data; boundary=x", 415),
        ("YAML", "application/yaml", 415),
        ("JSON only in passing", "text/plain; application/json", 415),
        ("a picture with JSON in its name", "image/svg+json", 415),
        ("empty", "", 415),
        ("nothing is said", None, 415),
    ],
)
def test_media_types(client: Client, why: str, kind: str | None, status: int) -> None:
    answer = send(client, GOOD, {} if kind is None else {"Content-Type": kind})
    assert answer.status_code == status, why


def test_everything_that_is_wrong_is_told_at_once(client: Client) -> None:
    answer = client.post("/api/workflows/upload", {"yaml": 5, "mount": []})
    types = {tuple(problem["loc"]): problem["type"] for problem in answer.json()["detail"]}
    assert types == {("body", "yaml"): "string_type", ("body", "filename"): "missing", ("body", "mount"): "string_type"}


@pytest.mark.parametrize(
    ("why", "change", "kind", "loc"),
    [
        ("missing", {"name": None}, "string_type", ["body", "name"]),
        ("too long", {"name": "x" * 201}, "string_too_long", ["body", "name"]),
        ("too short", {"name": ""}, "string_too_short", ["body", "name"]),
        ("a number for a text", {"job_name": 5}, "string_type", ["body", "job_name"]),
        ("a text for a switch", {"notify": "yes"}, "boolean_type", ["body", "notify"]),
        ("a text for a number", {"endpoint_id": "5"}, "int_parsing", ["body", "endpoint_id"]),
        ("below its bound", {"endpoint_id": 0}, "greater_than_equal", ["body", "endpoint_id"]),
        ("a fraction", {"endpoint_id": 1.5}, "integer_type", ["body", "endpoint_id"]),
    ],
)
def test_types_and_places_of_what_is_wrong(
    client: Client, why: str, change: dict[str, Any], kind: str, loc: list[str]
) -> None:
    answer = client.post("/api/jobs", {"name": "n", "script_content": "#!/bin/sh\n", **change})
    assert (answer.status_code, first(answer)) == (422, (kind, loc)), why
    item = answer.json()["detail"][0]
    assert set(item) >= {"type", "loc", "msg", "input"}


def test_what_the_contract_does_not_describe_is_refused(client: Client) -> None:
    job = {"name": "a", "command": ["echo"], "depend_on": 1}
    answer = client.post("/api/workflows/create", {"name": "extra", "jobs": [job]})
    assert answer.status_code == 422 and first(answer) == ("extra_forbidden", ["body", "jobs", 0, "depend_on"])
    assert answer.json()["detail"][0]["msg"] == "unknown field 'depend_on'; did you mean 'depends_on'?"
    for path in (
        "/api/jobs?cluser=a",
        "/api/jobs/1?cluser=a",
        "/api/workflows/runs?cluser=a&limit=3",
        "/health?cluser=",
    ):
        answer = client.get(path)
        assert answer.status_code == 422 and first(answer) == ("extra_forbidden", ["query", "cluser"]), path


def test_defaults_are_filled_in(client: Client) -> None:
    client.workflow("defaults", "name: defaults\njobs:\n  - {name: a, command: [echo]}\n")
    assert client.post("/api/workflows/defaults/run", {"dry_run": True}).json()["dry_run"] is True
    assert len(client.get("/api/history").json()) <= 50
    empty = client.get("/api/history", params={"limit": ""})
    assert empty.status_code == 200, "an empty parameter is one that is not given"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(body=st.one_of(st.binary(max_size=60), values.map(orjson.dumps)))
def test_whatever_is_sent_is_answered_in_the_envelope(client: Client, body: bytes) -> None:
    for path in ("validate", "upload", "create"):
        assert send(client, body, path=path).status_code in (200, 415, 422)


# --- paths and methods -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/nothing",
        "/api/jobs//",
        "/api/jobs/1/2",
        "/api/jobs/1/logs//",
        "/v2/jobs",
        "/API/jobs",
    ],
)
def test_unknown_paths(client: Client, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"}), path


@pytest.mark.parametrize("path", ["/api/jobs", "/srtslurm/api/jobs", "/srtslurm/api/jobs/none", "/health"])
def test_a_slash_at_the_end_changes_nothing(client: Client, path: str) -> None:
    answers = [client.get(f"{path}{end}", judged=False) for end in ("", "/")]
    assert answers[0].status_code == answers[1].status_code == (404 if path.endswith("none") else 200)
    assert answers[1].json() != {"detail": "Not Found"}


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        ("/api/jobs", "PUT", "GET, HEAD, POST"),
        ("/api/jobs/1", "POST", "DELETE, GET, HEAD"),
        ("/api/history", "DELETE", "GET, HEAD"),
        ("/api/workflows/upload", "PUT", "POST"),
        ("/api/workflows/runs/x/cancel", "GET", "POST"),
        ("/api/jobs", "OPTIONS", "GET, HEAD, POST"),
        ("/health", "POST", "GET, HEAD"),
    ],
)
def test_methods_that_a_path_does_not_have(client: Client, path: str, method: str, allow: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize("path", ["/api/jobs", "/api/workflows", "/health", "/openapi.json", "/api/jobs/0", "/nothing"])
def test_head_is_get_without_the_body(client: Client, path: str) -> None:
    got, head = client.get(path), client.request("HEAD", path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert path == "/health" or head.headers["content-length"] == got.headers["content-length"]


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "given", "echoed"),
    [
        ("the caller's own", "abc-DEF_1.2", True),
        ("as long as it may be", "x" * 64, True),
        ("too long", "x" * 65, False),
        ("blanks", "a b", False),
        ("markup", "<script>", False),
        ("empty", "", False),
    ],
)
def test_request_ids(client: Client, why: str, given: str, echoed: bool) -> None:
    for path in ("/health", "/nothing"):
        request_id = client.get(path, headers={"X-Request-ID": given}).headers["x-request-id"]
        assert (request_id == given) is echoed, why
        assert re.fullmatch("[A-Za-z0-9._-]{1,64}", request_id)


def test_two_requests_have_two_ids(client: Client) -> None:
    assert client.get("/health").headers["x-request-id"] != client.get("/health").headers["x-request-id"]


def test_what_a_client_has_is_not_sent_again(client: Client) -> None:
    client.workflow("etagged", "name: etagged\njobs:\n  - {name: a, command: [echo]}\n")
    for path in ("/api/workflows", "/api/workflows/etagged", "/api/workflows/runs", "/openapi.json", "/openapi.yaml"):
        got = client.get(path)
        etag = got.headers["etag"]
        assert re.fullmatch('"[!-~]+"', etag)
        for known in (etag, f'"other", {etag}', f"W/{etag}", f'W/"other", W/{etag}', "*"):
            answer = client.get(path, headers={"If-None-Match": known})
            assert (answer.status_code, answer.headers["etag"]) == (304, etag), f"{path} {known}"
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
        assert client.request("HEAD", path, headers={"If-None-Match": etag}).status_code == 304


def test_an_etag_changes_with_its_list(client: Client) -> None:
    before = client.get("/api/workflows").headers["etag"]
    client.workflow("fresh", "name: fresh\njobs:\n  - {name: a, command: [echo]}\n")
    answer = client.get("/api/workflows", headers={"If-None-Match": before})
    assert answer.status_code == 200 and answer.headers["etag"] != before


def test_large_answers_are_compressed_for_who_can_read_that(client: Client) -> None:
    plain = client.get("/openapi.json", headers={"Accept-Encoding": "identity"})
    small = client.get("/openapi.json", headers={"Accept-Encoding": "gzip, br"})
    assert "content-encoding" not in plain.headers and small.headers["content-encoding"] == "gzip"
    assert small.json() == plain.json()
    assert int(small.headers["content-length"]) < len(plain.content) / 3
    assert "accept-encoding" in small.headers["vary"].lower()
    refused = client.get("/openapi.json", headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers, "who says no gets none"
    assert gzip.compress(b"") and client.get("/health").headers.get("content-encoding") is None


def test_an_unexpected_failure_tells_nothing_but_its_id(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble() -> None:
        raise RuntimeError("the secret is in /etc/shadow")

    monkeypatch.setattr(client.server.store, "get_problems_body", stumble)
    answer = client.get("/api/store/problems", headers={"X-Request-ID": "find-me"}, judged=False)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/json")
    assert answer.json() == {"detail": "Internal Server Error (find-me)"}


def test_a_call_that_the_end_of_the_server_cuts_off_is_a_503(client: Client) -> None:
    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    async def call_and_cancel() -> None:
        reading = asyncio.Event()

        async def receive() -> dict[str, Any]:
            reading.set()
            await asyncio.Event().wait()
            return {}

        scope = {
            "type": "http", "method": "POST", "path": "/api/jobs", "raw_path": b"/api/jobs", "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"9"),
                        (b"authorization", f"Bearer {client.tokens['write']}".encode())],
            "scheme": "http", "http_version": "1.1", "client": ("127.0.0.1", 4), "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        call = asyncio.ensure_future(client.serve(scope, receive, send))
        await reading.wait()
        call.cancel()
        await call

    client.run(call_and_cancel())
    assert messages[0]["status"] == 503 and (b"retry-after") in dict(messages[0]["headers"])
    assert b"The server is ending" in messages[1]["body"]


def test_health(client: Client) -> None:
    found = eventually(lambda: (now := client.get("/health", token=None).json())["status"] == "healthy" and now)
    assert found["slurm"]["answers"] is True and found["store"]["problems"] == 0
    assert found["cluster"] == ("embedded" if client.cluster == "embedded" else found["cluster"])


def test_health_names_the_tasks_that_failed(
    tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_notifications: Any) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr("engine.notify.notifications.Notifications.run_forever", fail)
    with serving(tmp_path / "store", cluster) as client:
        found = eventually(lambda: (now := client.get("/health").json()).get("tasks") and now)
        assert (found["status"], found["tasks"]) == ("degraded", ["notifications"])
    assert "the task notifications failed" in caplog.text


def test_the_contract_is_served(client: Client) -> None:
    assert client.get("/openapi.json", token=None).json() == CONTRACT
    answer = client.get("/openapi.yaml", token=None)
    assert answer.content == dump_contract(CONTRACT)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_a_large_answer_is_handed_over_in_pieces(method: str, size: int) -> None:
    """A server takes a piece when the client has read enough, and so keeps little of what nobody reads."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    asyncio.run(Call({"type": "http", "method": method, "path": "/", "headers": []}, None, send).finish(body))  # type: ignore[arg-type]
    assert b"".join(message["body"] for message in sent) == (b"" if method == "HEAD" else body)
    assert all(len(message["body"]) <= PIECE_BYTES for message in sent)
    assert [message.get("more_body", False) for message in sent] == [True] * (len(sent) - 1) + [False]


def test_the_end_of_a_body_of_known_length_is_not_waited_for() -> None:
    """What a server says in one more message, that the body is whole, may never come."""
    pieces = [b'{"a"', b": 1}"]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": True}

    headers = [(b"content-length", b"8"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "PUT", "path": "/", "headers": headers}
    call = Call(scope, receive, None)  # type: ignore[arg-type]
    assert asyncio.run(read_body(call, 100, "application/json")) == b'{"a": 1}'
    assert not call.has_unread


@pytest.mark.parametrize(("last", "is_known"), [(b'"c", W/"b"', True), (b'"c"', False)])
def test_several_headers_if_none_match_are_one_list(last: bytes, is_known: bool) -> None:
    """RFC 9110 5.3: the order of two headers of a list is that of one."""
    for headers in ([b'"a"', last], [last, b'"a"']):
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"if-none-match", tag) for tag in headers]}
        assert has_version(Call(scope, None, None), b'"b"') is is_known  # type: ignore[arg-type]


def test_nothing_of_a_call_is_left_that_was_watched_for_its_client() -> None:
    """What the collector of cycles would have to free may be kept from it."""

    async def watch() -> weakref.ref[Call]:
        call = Call({"type": "http", "method": "GET", "path": "/", "headers": []}, asyncio.Event().wait, None)  # type: ignore[arg-type]
        watching = call.watch_client()
        await asyncio.wait({watching}, timeout=0)
        call.stop_watching()
        await asyncio.wait({watching})
        assert watching.cancelled()
        return weakref.ref(call)

    gc.disable()
    try:
        assert asyncio.run(watch())() is None
    finally:
        gc.enable()

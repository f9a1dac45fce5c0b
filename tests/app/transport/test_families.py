"""A family is a row: a made-up one gets its own shape for everything, and answers of every kind."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import app
from store import access, errors
from store.config.settings import Settings
from store.indexes.bodies import Answer, Body, Versioned
from tests.app_client import Client
from tests.contract_judge import CONTRACT, operations

PAGE = "http://page.example"


def write_moon(refusal: app.Refusal) -> bytes:
    """The shape of refusals of the made-up family."""
    wrong = [problem["msg"] for problem in refusal.problems]
    return orjson.dumps(
        {
            "moon": refusal.status,
            "what": refusal.code,
            "text": refusal.message,
            "wrong": wrong,
            "id": refusal.request_id,
        }
    )


def check_key(facts: access.Facts) -> access.Caller | None:
    """The caller whose token is sent as X-Key."""
    given = facts.headers.get(b"x-key")
    if given is None:
        return None
    caller = facts.access.find_caller(given.decode("latin-1"))
    if caller is None:
        raise access.WrongCredentials("wrong key")
    return caller


def find_odd_limit(problem: dict[str, Any]) -> tuple[int, str] | None:
    return (400, "no such limit") if list(problem["loc"]) == ["query", "limit"] and problem["input"] == -1 else None


MOON = app.Family(
    name="moon",
    roots=("/moon/v2", "/v2"),
    envelope=write_moon,
    credentials={"key": check_key},
    statuses={("moon_put_thing", errors.Exists): 418, ("moon", errors.NotFound): 410},
    odd_value=find_odd_limit,
    headers=lambda caller, _window: [(b"x-left", b"9" if caller else b"0")],
    aliases={"/v2": "/moon/v2"},
    cors=(PAGE,),
)


def list_things(limit: int) -> list[int]:
    if limit == 0:
        raise errors.NotFound("Thing", "0")
    if limit == 1:
        raise RuntimeError("the secret is in /etc/shadow")
    return list(range(limit))


async def put_thing(thing_id: str, body: dict[str, Any], caller: access.Caller, if_match: str | None) -> Any:
    if thing_id == "taken":
        raise errors.Exists("Thing", thing_id)
    if thing_id == "missing":
        raise errors.NotFound("Thing", thing_id)
    return {"id": thing_id, "by": caller.name, "over": if_match}


def describe(operation_id: str, scope: str, **more: Any) -> dict[str, Any]:
    """An operation of a contract."""
    content = {"application/json": {"schema": {}}}
    return {
        "operationId": operation_id, "tags": ["moon"], "security": [{"key": [scope]}, {}],
        "responses": {"200": {"content": content}}, **more,
    }  # fmt: skip


LIMIT = {"type": "integer", "minimum": 0, "default": 3}
SMALL: dict[str, Any] = {
    "components": {},
    "paths": {
        "/moon/v2/things": {
            "get": describe(
                "moon_list_things", "read",
                parameters=[{"name": "limit", "in": "query", "schema": LIMIT}],
            )
        },
        "/moon/v2/things/{thing_id}": {
            "parameters": [
                {"name": "thing_id", "in": "path", "required": True, "schema": {"type": "string"}},
                {"name": "If-Match", "in": "header", "schema": {"type": "string", "pattern": "^[!-~]+$"}},
            ],
            "put": describe(
                "moon_put_thing", "write",
                requestBody={"required": True, "content": {"application/json": {"schema": {"type": "object",
                             "required": ["mass"], "properties": {"mass": {"type": "number"}}}}}},
            ),
        },
    },
}  # fmt: skip
FUNCTIONS = {"moon_list_things": list_things, "moon_put_thing": put_thing}
THINGS, THING = "/moon/v2/things", "/moon/v2/things/a"


@pytest.fixture(scope="module")
def moon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The app of the made-up family alone."""
    made = Client(tmp_path_factory.mktemp("moon") / "store", "embedded", app=app.App(SMALL, [MOON], FUNCTIONS, {}))
    made.end_jobs = lambda: None  # type: ignore[method-assign]
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture(autouse=True)
def forgive_failures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Wrong keys of one test do not count in the next."""
    yield
    if "moon" in request.fixturenames:
        request.getfixturevalue("moon").server.callers.failures.spent.clear()


def call(client: Client, method: str, path: str, key: str | None = "write", **more: Any) -> Any:
    """An answer to a call with this key, not judged by the contract of the project."""
    headers = {**({"x-key": client.tokens.get(key, key)} if key else {}), **more.pop("headers", {})}
    return client.request(method, path, token=None, judged=False, headers=headers, **more)


# --- refusals --------------------------------------------------------------------------------------------------------

GOOD = {"mass": 1}
REFUSED: list[tuple[str, str, str, dict[str, Any], int, str]] = [
    ("a value with a text of its own", "GET", f"{THINGS}?limit=-1", {}, 400, "Invalid"),
    ("nobody", "GET", THINGS, {"key": None}, 401, "Unauthenticated"),
    ("nobody, a change", "PUT", THING, {"key": None, "json": GOOD}, 401, "Unauthenticated"),
    ("nobody, an unknown path", "GET", "/moon/v2/nothing", {"key": None}, 401, "Unauthenticated"),
    ("a wrong key", "PUT", THING, {"key": "wrong", "json": GOOD}, 401, "WrongCredentials"),
    ("a foreign page", "PUT", THING, {"json": GOOD, "headers": {"origin": "https://evil.example"}}, 403, "Denied"),
    ("a foreign host", "GET", THINGS, {"headers": {"host": "evil.example"}}, 403, "Denied"),
    ("may only read", "PUT", THING, {"key": "read", "json": GOOD}, 403, "ScopeMissing"),
    ("may only report", "GET", THINGS, {"key": "report"}, 403, "ScopeMissing"),
    ("a status of the operation", "PUT", "/moon/v2/things/taken", {"json": GOOD}, 418, "Exists"),
    ("a status of the family", "PUT", "/moon/v2/things/missing", {"json": GOOD}, 410, "NotFound"),
    ("a status of the family, a GET", "GET", f"{THINGS}?limit=0", {}, 410, "NotFound"),
    ("an unknown path", "GET", "/moon/v2/nothing", {}, 404, "UnknownPath"),
    ("an unknown path, a change", "PUT", "/moon/v2", {"json": GOOD}, 404, "UnknownPath"),
    ("an unknown path of the alias", "GET", "/v2/nothing", {}, 404, "UnknownPath"),
    ("an unknown method", "DELETE", THINGS, {}, 405, "UnknownMethod"),
    ("too large", "PUT", THING, {"content": b'"' + b"x" * 1_000_000 + b'"',
                                 "headers": {"content-type": "application/json"}}, 413, "TooLarge"),
    ("a form", "PUT", THING, {"content": b"mass=1", "headers": {"content-type": "text/plain"}}, 415, "MediaType"),
    ("nothing said of the body", "PUT", THING, {"content": b"{}"}, 415, "MediaType"),
    ("a wrong body", "PUT", THING, {"json": {"mass": "x"}}, 422, "Invalid"),
    ("no JSON", "PUT", THING, {"content": b"{", "headers": {"content-type": "application/json"}}, 422, "NotJson"),
    ("a wrong number", "GET", f"{THINGS}?limit=x", {}, 422, "Invalid"),
    ("a bug", "GET", f"{THINGS}?limit=1", {}, 500, "RuntimeError"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("why", "method", "path", "more", "status", "code"), [pytest.param(*row, id=row[0]) for row in REFUSED]
)
def test_refusals_have_the_familys_shape(
    moon: Client, why: str, method: str, path: str, more: dict[str, Any], status: int, code: str
) -> None:
    answer = call(moon, method, path, **more)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), answer.text
    body = answer.json()
    assert (body["moon"], body["what"]) == (status, code)
    assert body["id"] == answer.headers["x-request-id"] and "shadow" not in body["text"]
    assert bool(body["wrong"]) == (status == 422)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-left"] in ("0", "9")
    assert ("allow" in answer.headers) == (status == 405)
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_no_host_is_refused_in_the_familys_shape(moon: Client) -> None:
    answer = moon.bare("GET", THINGS, [])
    assert (answer.status_code, answer.json()["moon"]) == (400, 400)


def test_too_many_wrong_keys_are_refused_in_the_familys_shape(moon: Client) -> None:
    answers = [call(moon, "GET", THINGS, key="wrong") for _ in range(12)]
    assert [answer.json()["moon"] for answer in answers] == [401] * 10 + [429] * 2
    assert answers[-1].headers["retry-after"] and answers[-1].json()["what"] == "TooMany"
    assert call(moon, "GET", THINGS).status_code == 200


def test_what_belongs_to_no_family_is_refused_plainly(moon: Client) -> None:
    assert call(moon, "GET", "/sun", headers={"authorization": f"Bearer {moon.tokens['read']}"}).json() == {
        "detail": "Not Found"
    }
    assert call(moon, "GET", "/moon/v22").json() == {"detail": "Missing or invalid bearer token"}


def test_the_audit_names_the_refused_operation(moon: Client) -> None:
    before = len(read_audit(moon))
    call(moon, "PUT", THING, key=None, json=GOOD)
    call(moon, "PUT", THING, key="read", json=GOOD)
    call(moon, "PUT", THING, content=b"x", headers={"content-type": "text/plain"})
    call(moon, "PUT", "/v2/things/b", json=GOOD)
    call(moon, "PUT", "/moon/v2/nothing", json=GOOD)
    call(moon, "DELETE", THINGS)
    lines = read_audit(moon)[before:]
    assert [(line["what"], line["status"]) for line in lines] == [
        ("moon_put_thing", 401), ("moon_put_thing", 403), ("moon_put_thing", 415), ("moon_put_thing", 200),
        ("PUT", 404), ("DELETE", 405),
    ]  # fmt: skip
    assert (lines[3]["who"], lines[3]["made"]) == ("write", "b")


def read_audit(client: Client) -> list[dict[str, Any]]:
    paths = sorted((client.store / "audit").glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def fail(*_given: Any) -> Any:
    raise ZeroDivisionError("the row itself is wrong")


class FailingTable(dict[Any, Any]):
    """A table that cannot be looked into."""

    __contains__ = fail


@pytest.mark.parametrize(
    ("part", "broken"),
    [("envelope", fail), ("statuses", FailingTable()), ("odd_value", fail), ("headers", fail)],
    ids=["envelope", "statuses", "odd_value", "headers"],
)
def test_a_broken_row_still_gives_a_well_formed_refusal(moon: Client, part: str, broken: Any) -> None:
    whole, moon.app = moon.app, app.App(SMALL, [dataclasses.replace(MOON, **{part: broken})], FUNCTIONS, {})
    try:
        answer = call(moon, "GET", f"{THINGS}?limit=x", headers={"x-request-id": "find-me"})
    finally:
        moon.app = whole
    assert (answer.status_code, answer.json()) == (500, {"detail": "Internal Server Error (find-me)"})
    assert answer.headers["content-type"] == "application/json" and answer.headers["x-request-id"] == "find-me"
    assert answer.headers["x-frame-options"] == "DENY"


# --- paths, CORS -----------------------------------------------------------------------------------------------------


def test_an_alias_leads_to_the_same_operations(moon: Client) -> None:
    assert call(moon, "GET", "/v2/things?limit=2").json() == call(moon, "GET", f"{THINGS}?limit=2").json() == [0, 1]
    answer = call(moon, "PUT", "/v2/things/a", json=GOOD, headers={"if-match": '"abc.123"'})
    assert answer.json() == {"id": "a", "by": "write", "over": "abc"}, "If-Match is unquoted once"
    assert call(moon, "PUT", THING, json=GOOD, headers={"if-match": "*"}).json()["over"] == "*"
    assert call(moon, "HEAD", "/v2/things").status_code == 200
    assert call(moon, "GET", "/v22/things").status_code == 401


def test_a_prefix_of_a_proxy_is_left_out(moon: Client) -> None:
    key = [(b"host", b"localhost"), (b"x-key", moon.tokens["read"].encode())]
    assert moon.bare("GET", f"/slurm{THINGS}", key, root_path="/slurm").json() == [0, 1, 2]
    assert moon.bare("GET", "/slurm/v2/nothing", key, root_path="/slurm").json()["moon"] == 404


def test_pages_of_allowed_origins_may_read(moon: Client) -> None:
    answer = call(moon, "GET", THINGS, headers={"origin": PAGE})
    assert answer.headers["access-control-allow-origin"] == PAGE and answer.headers["vary"] == "origin"
    assert "access-control-allow-credentials" not in answer.headers
    refused = call(moon, "GET", f"{THINGS}?limit=x", headers={"origin": PAGE})
    assert refused.status_code == 422 and refused.headers["access-control-allow-origin"] == PAGE
    for headers in ({}, {"origin": "http://other.example"}):
        answer = call(moon, "GET", THINGS, headers=headers)
        assert answer.status_code == (403 if headers else 200)
        assert answer.headers["vary"] == "origin" and "access-control-allow-origin" not in answer.headers
    asked = {"origin": PAGE, "access-control-request-method": "GET"}
    preflight = call(moon, "OPTIONS", THINGS, key=None, headers=asked)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, PAGE)
    assert preflight.headers["access-control-allow-methods"] == "GET, HEAD"
    asked["access-control-request-method"] = "PUT"
    assert call(moon, "OPTIONS", THING, key=None, headers=asked).status_code == 401
    asked = {"origin": "http://other.example", "access-control-request-method": "GET"}
    assert call(moon, "OPTIONS", THINGS, key=None, headers=asked).status_code == 403
    assert call(moon, "PUT", THING, json=GOOD, headers={"origin": PAGE}).status_code == 403


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://any.example", "null"])
def test_every_page_may_read_a_family_that_is_open_to_all(client: Client, origin: str) -> None:
    folder = client.server.store.single["access"]
    text = folder.get_raw("access")[0].decode() + "cors: {srtslurm: ['*']}\n"
    known = folder.parse(text.encode(), "access.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(client.server.store), "access", property(lambda _store: known))
        headers = {"origin": origin}
        answer = client.get("/srtslurm/api/jobs", headers=headers)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        preflight = {
            **headers,
            "access-control-request-method": "GET",
            "access-control-request-headers": "authorization",
        }
        answer = client.request("OPTIONS", "/srtslurm/api/jobs", token=None, judged=False, headers=preflight)
        assert answer.status_code == 204 and "authorization" in answer.headers["access-control-allow-headers"]
        assert client.post("/srtslurm/api/jobs", {}, headers=headers).status_code == 403, "reading only"
        assert "access-control-allow-origin" not in client.get("/api/jobs", headers=headers).headers


def test_origins_of_access_yaml_may_read_their_family_only(client: Client) -> None:
    folder = client.server.store.single["access"]
    text = folder.get_raw("access")[0].decode() + "cors: {srtslurm: ['http://localhost:3000']}\n"
    known = folder.parse(text.encode(), "access.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(client.server.store), "access", property(lambda _store: known))
        headers = {"origin": "http://localhost:3000"}
        answer = client.get("/srtslurm/api/jobs", headers=headers)
        assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
        readable = answer.headers["access-control-expose-headers"].lower().split(", ")
        assert {"etag", "x-change"} & answer.headers.keys() <= set(readable)
        assert {"retry-after", "x-ratelimit-remaining"} <= set(readable), "by these a client of the S9S API waits"
        assert "access-control-allow-origin" not in client.get("/api/jobs", headers=headers).headers
    with pytest.raises(errors.Invalid, match="unknown family 'moon'"):
        folder.parse(b"cors: {moon: ['http://localhost:3000']}\n", "access.yaml")


# --- answers ---------------------------------------------------------------------------------------------------------


class Pieces:
    """A stream of a test, which knows whether it was closed."""

    def __init__(self) -> None:
        self.more: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.closed = False

    async def read(self) -> AsyncIterator[bytes]:
        try:
            while True:
                piece = await self.more.get()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed = True


class Reading:
    """A request whose answer is read as it comes."""

    def __init__(self, made: app.App, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> None:
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.heard.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        given = [(name.encode(), value.encode()) for name, value in {"host": "localhost", **(headers or {})}.items()]
        scope = {
            "type": "http", "method": method, "path": path, "query_string": b"", "root_path": "", "headers": given,
            "client": ("127.0.0.1", 4), "server": ("127.0.0.1", 8000), "state": {},
        }  # fmt: skip
        self.is_asked = asyncio.Event()
        self.task = asyncio.ensure_future(made(scope, self.receive, self.said.put))

    async def receive(self) -> dict[str, Any]:
        """Give what the client sends; as granian, tell that it left where one receive did not end."""
        if self.is_asked.is_set():
            return {"type": "http.disconnect"}
        self.is_asked.set()
        message = await self.heard.get()
        self.is_asked.clear()
        return message

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.said.get(), 20)

    def leave(self) -> None:
        self.heard.put_nowait({"type": "http.disconnect"})


def make_answering(function: Any, kind: str = "application/json") -> app.App:
    """An app with one open operation that this function answers."""
    spec = describe("moon_give_it", "read", security=[{}], responses={"200": {"content": {kind: {}}}})
    contract = {"components": {}, "paths": {"/moon/v2/it": {"get": spec}}}
    return app.App(contract, [MOON], {"moon_give_it": function}, {})


def read_whole(made: app.App, headers: dict[str, str] | None = None, method: str = "GET") -> tuple[int, Any, bytes]:
    """Status, headers and body of the answer."""

    async def read() -> tuple[int, Any, bytes]:
        reading = Reading(made, "/moon/v2/it", headers, method)
        await asyncio.wait_for(reading.task, 20)
        said = [reading.said.get_nowait() for _ in range(reading.said.qsize())]
        return said[0]["status"], dict(said[0]["headers"]), b"".join(part.get("body", b"") for part in said[1:])

    return asyncio.run(read())


def test_values_with_a_version() -> None:
    status, headers, body = read_whole(make_answering(lambda: Versioned({"a": 1}, "v7")))
    assert (status, body) == (200, b'{"a":1}') and headers[b"etag"].startswith(b'"v7.')
    kept = Body(b"[1]")
    assert read_whole(make_answering(lambda: Versioned(kept, "v7")))[1][b"etag"] == b'"v7"'
    assert read_whole(make_answering(lambda: Versioned({}, None)))[1][b"etag"] == Body(b"{}").etag.encode()
    _, headers, _ = read_whole(make_answering(lambda: Answer(kept, 1.25, 7)))
    assert (headers[b"x-snapshot-age"], headers[b"x-total-count"]) == (b"1.2", b"7")
    assert read_whole(make_answering(lambda: kept), {"if-none-match": kept.etag})[::2] == (304, b"")


def test_a_file_is_sent_whole_or_in_part(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"0123456789")
    made = make_answering(lambda: Answer(tmp_path / "log", download=True), "application/octet-stream")
    status, headers, body = read_whole(made)
    assert (status, body, headers[b"content-type"]) == (200, b"0123456789", b"application/octet-stream")
    assert headers[b"content-disposition"] == b"attachment" and headers[b"x-request-id"]
    status, headers, body = read_whole(made, {"range": "bytes=2-4"})
    assert (status, body, headers[b"content-range"]) == (206, b"234", b"bytes 2-4/10")
    assert read_whole(made, method="HEAD")[::2] == (200, b"")


def test_a_stream_is_sent_as_it_comes_and_closed_when_the_client_leaves() -> None:
    async def follow() -> None:
        pieces = Pieces()
        made = make_answering(pieces.read, "text/event-stream")
        reading = Reading(made, "/moon/v2/it")
        await pieces.more.put(b"one")
        begin = await reading.next()
        headers = dict(begin["headers"])
        assert (begin["status"], headers[b"content-type"]) == (200, b"text/event-stream")
        assert (headers[b"x-accel-buffering"], headers[b"cache-control"]) == (b"no", b"no-store, no-transform")
        assert await reading.next() == {"type": "http.response.body", "body": b"one", "more_body": True}
        await pieces.more.put(b"two")
        assert (await reading.next())["body"] == b"two"
        reading.leave()
        await asyncio.wait_for(reading.task, 20)
        assert pieces.closed and not made.streams

    asyncio.run(follow())


def test_a_stream_that_was_waited_for_is_sent_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "WATCH_AFTER_S", 0)

    async def iterate() -> AsyncIterator[bytes]:
        for piece in (b"one", b"two"):
            for _ in range(100):  # others have their turns meanwhile
                await asyncio.sleep(0)
            yield piece

    async def follow() -> None:
        async def prepare() -> AsyncIterator[bytes]:
            await reading.is_asked.wait()  # now it is watched whether the client leaves
            return iterate()

        reading = Reading(make_answering(prepare), "/moon/v2/it")
        reading.heard.get_nowait()  # the client's own words are late
        await asyncio.wait_for(reading.task, 20)
        said = [reading.said.get_nowait() for _ in range(reading.said.qsize())]
        assert [message.get("body") for message in said] == [None, b"one", b"two", b""]

    asyncio.run(follow())


def test_streams_end_with_the_server() -> None:
    async def follow() -> None:
        streams = [Pieces() for _ in range(3)]
        made = make_answering(lambda: next(waiting).read(), "text/event-stream")
        waiting = iter(streams)
        readings = [Reading(made, "/moon/v2/it") for _ in streams]
        for pieces in streams[:2]:
            await pieces.more.put(b"one")
        for reading in readings[:2]:
            assert [(await reading.next())["type"] for _ in range(2)] == ["http.response.start", "http.response.body"]
        while len(made.streams) < 3:
            await asyncio.sleep(0)
        made.end_streams()
        for reading in readings:
            await asyncio.wait_for(reading.task, 20)
        for reading in readings[:2]:
            assert await reading.next() == {"type": "http.response.body", "body": b""}
        assert (await readings[2].next())["status"] == 200, "it had sent nothing yet"
        assert all(pieces.closed for pieces in streams[:2])

    asyncio.run(follow())


def test_what_is_sent_in_pieces_is_sent_whole_also_when_the_server_ends() -> None:
    async def follow() -> None:
        pieces = Pieces()
        made = make_answering(pieces.read)
        reading = Reading(made, "/moon/v2/it")
        await pieces.more.put(b'{"text":"')
        assert [(await reading.next())["type"] for _ in range(2)] == ["http.response.start", "http.response.body"]
        made.end_streams()
        await pieces.more.put(b'whole"}')
        assert (await reading.next())["body"] == b'whole"}'
        reading.task.cancel()  # there was no time for the rest
        await asyncio.wait({reading.task})
        assert reading.task.cancelled() and reading.said.empty(), "it must not look as if this were all"

    asyncio.run(follow())


def test_what_goes_wrong_before_the_first_piece_is_a_refusal() -> None:
    async def follow() -> None:
        pieces = Pieces()
        reading = Reading(make_answering(pieces.read, "text/event-stream"), "/moon/v2/it")
        await pieces.more.put(errors.NotFound("Thing", "x"))
        begin = await reading.next()
        assert begin["status"] == 410 and json.loads((await reading.next())["body"])["what"] == "NotFound"
        await reading.task
        assert pieces.closed

    asyncio.run(follow())


def test_head_of_a_stream_reads_nothing() -> None:
    pieces = Pieces()
    status, headers, body = read_whole(make_answering(pieces.read, "text/event-stream"), method="HEAD")
    assert (status, headers[b"content-type"], body) == (200, b"text/event-stream", b"")


# --- state -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"), [("/api/jobs", 503), ("/srtslurm/api/jobs", 503), ("/health", 503), ("/nowhere", 503),
                         ("/srtslurm/api/health", 503), ("/openapi.json", 200)],
)  # fmt: skip
def test_without_its_lifespan_the_app_says_so(path: str, status: int) -> None:
    async def read() -> tuple[int, bytes]:
        reading = Reading(app.make_app(), path)
        await reading.task
        return (await reading.next())["status"], (await reading.next())["body"]

    found, body = asyncio.run(read())
    assert found == status
    assert status == 200 or json.loads(body) == {"detail": "The server has not started"}


def test_without_its_lifespan_a_family_keeps_its_shape() -> None:
    async def read() -> Any:
        reading = Reading(app.App(SMALL, [MOON], FUNCTIONS, {}), THINGS)
        await reading.task
        await reading.next()
        return json.loads((await reading.next())["body"])

    assert asyncio.run(read())["what"] == "NotStarted"


def test_two_apps_work_side_by_side(tmp_path: Path) -> None:
    stores = [tmp_path / "a", tmp_path / "b"]
    clients = [
        Client(store, "embedded", app=app.make_app(Settings(store=store, cluster="embedded"))) for store in stores
    ]
    try:
        for client in clients:
            client.start()
        for client in clients:
            name = client.store.name
            client.workflow(name, f"name: {name}\njobs:\n  - {{name: one, command: [echo]}}\n")
        assert [[row["name"] for row in client.get("/api/workflows").json()] for client in clients] == [["a"], ["b"]]
        assert clients[0].get("/api/workflows", token=clients[1].tokens["read"]).status_code == 401
    finally:
        for client in clients:
            client.stop()


# --- scopes ----------------------------------------------------------------------------------------------------------

ITEMS = app.compile_paths(CONTRACT, app.FAMILIES, app.OPERATIONS)
SPECS = [pytest.param(*row, id=row[2]["operationId"]) for row in operations()]


@pytest.mark.parametrize(("path", "method", "spec"), SPECS)
def test_each_scope_may_do_what_the_contract_says(path: str, method: str, spec: dict[str, Any]) -> None:
    requirement = ITEMS[path].endpoints[method].requirement
    if requirement.credentials and access.check_own_user not in requirement.credentials:
        pytest.skip("it asks for a cookie alone")
    (needed,) = {scope for way in spec["security"] for scopes in way.values() for scope in scopes} or {None}
    for scope, included in access.INCLUDED.items():
        token, hashed = access.make_token()
        known = access.parse_access(f"tokens:\n  - {{name: a, sha256: {hashed}, scopes: [{scope}]}}\n".encode())
        facts = access.Facts({b"authorization": f"Bearer {token}".encode()}, None, known, access.Caller("me", included))
        if needed is None or needed in included:
            access.admit_caller(requirement, access.identify_caller(requirement, facts))
            continue
        with pytest.raises(errors.Denied, match=f"scope {needed}$"):
            access.admit_caller(requirement, access.identify_caller(requirement, facts))

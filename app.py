"""Sluice: one small server in front of SLURM. This file is its whole HTTP side.

    request ─ guard ─ contract ─ operation ─┬─ store/        files under $SLUICE_STORE, index in memory
     answer ─ envelope of the family ───────┴─ slurm_shim/   one shared snapshot; sh → sbatch squeue … (PATH decides)
    between requests: engine/ reconciles runs, sweeps and jobs in store/ with what the snapshot says

The words in use:
    contract    contract.yaml, read once at start: what every operation takes and answers
    operation   a plain function named after its operationId; its parameters are the contract's
    caller      who asks, with scopes read / write / admin
    run         one execution of a workflow: {"id": "a1b2…", "status": "running", "jobs": [...]}
    attempt     one try of one job of a run; `tag` travels in SLURM's comment, `job_id` is SLURM's
    record      one job submitted outside of any run
    snapshot    what SLURM said last; every read answers from it
    watch       who is to hear of one job, run or sweep; what there is to tell becomes deliveries to endpoints
    step        what a pure rule asks to be done next: submit, cancel, read a result
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import importlib.util
import inspect
import logging
import os
import random
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jsonschema_rs
import orjson
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine import jobs, loop, reports, runs, ssh_profiles, start, templates, workflow_files
from engine import sweeps as sweeping
from engine.mounts import sync
from engine.notify import watches as asking
from engine.server import Server
from engine.tasks import end_task, log
from slurm_shim import errors as slurm_errors
from slurm_shim.pace import Pace
from store import access, errors, jsons
from store.config import layers, profile_edits, profiles
from store.config.settings import CHOICES, Settings
from store.contract import dump_contract, find_needed_components, load_contract
from store.indexes import sweeps as board
from store.indexes.bodies import Body
from store.rules import deliveries, endpoints, records, requests, sweeps, watches, workflows
from store.views import srunx

HERE = Path(__file__).resolve().parent
VERSION = "0.1.0"


# ====================================================================================================================
# Settings
# ====================================================================================================================


# What the environment says (SLUICE_…); flags only set the environment. See store/config/settings.py.
settings_now = Settings.from_environment


# ====================================================================================================================
# The way of a request
# ====================================================================================================================

Operation = Callable[..., Any]
OPERATIONS: dict[str, Operation] = {}


def operation(*operation_ids: str) -> Callable[[Operation], Operation]:
    """Register a function for these operationIds; with none, for its own name."""

    def register(function: Operation) -> Operation:
        for operation_id in operation_ids or (function.__name__,):
            OPERATIONS[operation_id] = function
        return function

    return register


@dataclass(frozen=True)
class Prepared:
    """An answer whose bytes are kept: body, strong ETag, and more headers."""

    body: bytes
    etag: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    gzip: Callable[[], bytes] | None = None
    media_type: bytes = b"application/json"


@dataclass(frozen=True)
class Parameter:
    """One parameter of an operation: where it comes from and what it is called there and here."""

    name: str
    place: str
    argument: str
    coerce: Callable[[str], Any]
    default: Any = None
    may_be_empty: bool = False


def _integer(text: str) -> Any:
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text


def _boolean(text: str) -> Any:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)


COERCE: dict[str, Callable[[str], Any]] = {"integer": _integer, "boolean": _boolean}


def resolved(contract: dict[str, Any], part: Any) -> Any:
    """The part of the contract that a `$ref` stands for, or the part itself."""
    while isinstance(part, dict) and "$ref" in part:
        target: Any = contract
        for key in part["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        part = target
    return part


class Endpoint:
    """One operation of the contract with its function: request → checked arguments → function → answer."""

    def __init__(
        self, contract: dict[str, Any], path_item: dict[str, Any], spec: dict[str, Any], function: Operation
    ) -> None:
        self.operation_id: str = spec["operationId"]
        self.family: str = spec["tags"][0]
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.status = int(next(code for code in spec["responses"] if code.startswith("2")))
        given = [resolved(contract, one) for one in [*path_item.get("parameters", []), *spec.get("parameters", [])]]
        self.parameters = [self._parameter(contract, one) for one in given]
        self.check_parameters = self._compile(contract, self._parameters_schema(given)) if given else None
        self.places = {one.place for one in self.parameters}
        optional = self.places == {"query"} and not any(one.get("required") for one in given)
        self.unasked = {one.argument: one.default for one in self.parameters} if optional else None
        content = resolved(contract, spec.get("requestBody", {})).get("content", {})
        self.body_required: bool = resolved(contract, spec.get("requestBody", {})).get("required", False)
        self.body_schema = content.get("application/json", {}).get("schema")
        self.raw_limit_bytes: int | None = content.get(RAW, {}).get("schema", {}).get("maxLength")
        self.check_body = self._compile(contract, self.body_schema) if self.body_schema else None
        whole = resolved(contract, self.body_schema) or {}
        self.body_defaults = {
            key: one["default"] for key, one in whole.get("properties", {}).items() if "default" in one
        }
        self.wants = set(inspect.signature(function).parameters)
        offered = {one.argument for one in self.parameters} | {"caller", "accept"} | ({"body"} if content else set())
        if missing := self.wants - offered:
            raise RuntimeError(f"{self.operation_id} asks for {sorted(missing)}, which contract.yaml does not give")

    @staticmethod
    def _parameter(contract: dict[str, Any], one: dict[str, Any]) -> Parameter:
        schema = resolved(contract, one["schema"])
        argument = one["name"].lower().replace("-", "_")
        return Parameter(
            name=one["name"].lower() if one["in"] == "header" else one["name"],
            place=one["in"],
            argument=f"{argument}_" if argument in ("from", "in", "is", "not") else argument,
            coerce=COERCE.get(schema.get("type"), str),
            default=schema.get("default"),
            may_be_empty=one.get("allowEmptyValue", False),
        )

    @staticmethod
    def _parameters_schema(given: list[dict[str, Any]]) -> dict[str, Any]:
        places: dict[str, Any] = {}
        for one in given:
            schema = places.setdefault(one["in"], {"type": "object", "properties": {}, "required": []})
            name = one["name"].lower() if one["in"] == "header" else one["name"]
            schema["properties"][name] = one["schema"]
            if one.get("required"):
                schema["required"].append(name)
        return {"type": "object", "properties": places}

    @staticmethod
    def _compile(contract: dict[str, Any], schema: dict[str, Any]) -> jsonschema_rs.Validator:
        return jsonschema_rs.validator_for(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                **schema,
                "components": find_needed_components(contract, schema),
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["endpoint_of"] = self
        arguments = self.arguments(scope) if self.parameters else {}
        if self.check_body is not None:
            arguments["body"] = await self.body(scope, receive)
        elif self.raw_limit_bytes is not None:
            arguments["body"] = await read_body(scope, receive, self.raw_limit_bytes, RAW)
        if "caller" in self.wants:
            arguments["caller"] = scope.get("caller")
        if "accept" in self.wants:
            arguments["accept"] = (header(scope, b"accept") or b"").decode("latin-1")
        if len(arguments) != len(self.wants):
            arguments = {name: value for name, value in arguments.items() if name in self.wants}
        answer = self.function(**arguments)
        if self.is_async:
            answer = await answer
        await self.answer(scope, send, answer)

    def arguments(self, scope: Scope) -> dict[str, Any]:
        """The checked parameters by the names that the function uses; Invalid tells everything that is wrong."""
        if self.unasked is not None and not scope["query_string"]:
            return dict(self.unasked)
        given: dict[str, dict[str, str]] = {}
        if "path" in self.places:
            given["path"] = scope["path_params"]
        if "query" in self.places:
            given["query"] = dict(
                parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, errors="replace")
            )
        if "header" in self.places:
            given["header"] = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        found: dict[str, dict[str, Any]] = {place: {} for place in self.places}
        arguments: dict[str, Any] = {}
        for one in self.parameters:
            value = given[one.place].get(one.name)
            if value is None or (value == "" and one.may_be_empty):
                arguments[one.argument] = one.default
            else:
                arguments[one.argument] = found[one.place][one.name] = one.coerce(value)
        if self.check_parameters is not None and not self.check_parameters.is_valid(found):
            raise errors.Invalid([jsons.to_problem(one) for one in self.check_parameters.iter_errors(found)])
        return arguments

    async def body(self, scope: Scope, receive: Receive) -> Any:
        """The parsed and checked JSON body, top-level defaults filled in."""
        data = await read_body(scope, receive, server.store.config.limits.body_bytes)
        if not data and not self.body_required:
            return dict(self.body_defaults)
        value = jsons.parse_json(data)
        assert self.check_body is not None
        if not self.check_body.is_valid(value):
            is_object = isinstance(value, dict)
            prefix = () if self.operation_id in BARE_PLACES and is_object else ("body",)
            found = (jsons.to_problem(one, *prefix) for one in self.check_body.iter_errors(value))
            raise (errors.Invalid if is_object else errors.NotJson)(list(found))
        return {**self.body_defaults, **value} if isinstance(value, dict) else value

    async def answer(self, scope: Scope, send: Send, answer: Any) -> None:
        """Send what the function gave, with the status that the contract declares."""
        if self.status == 204:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        if not isinstance(answer, Prepared):
            if isinstance(answer, dict):
                scope["sluice.made"] = answer.get("id") or answer.get("job_id") or answer.get("run_id")
            answer = Prepared(orjson.dumps(answer))
        await send_prepared(scope, send, self.status, answer)


def prepared(body: Body, etag: str | None = None, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Prepared:
    """Kept bytes as an answer; `etag` instead of the bytes' own where clients send it back as If-Match."""
    return Prepared(body.data, f'"{etag}"' if etag else body.etag, headers, lambda: body.gzipped)


def changed(body: Body, etag: str) -> Prepared:
    """What a file of the store says now, as an answer, with the ETag that a later change of it names in If-Match."""
    return prepared(body, etag)


def tagged(value: Any, tag: str) -> Prepared:
    """An answer that more than one file has a part in; its ETag names the one that a change of it would be made in."""
    body = Body(orjson.dumps(value))
    return prepared(body, f"{tag}.{body.etag[1:17]}")


def project_of(mount: profiles.Mount, shown: dict[str, Any]) -> Prepared:
    """The project of a mount as an answer."""
    return tagged(shown, server.store.configuration.get_project_tag(mount.root))


def own_profile() -> str:
    """The name of the current profile, which is to be changed; NoProfile."""
    return profile_edits.require_current(server.store.stored_profiles, server.store.profiles)


def detailed(value: dict[str, Any], etag: str | None) -> Prepared:
    """A value made from one file of the store as an answer, with the ETag that a later change names in If-Match."""
    return prepared(Body(orjson.dumps(value)), etag)


def unquoted(if_match: str | None) -> str | None:
    """The sha256 within an If-Match header; None for none and for `*`."""
    # What `tagged` adds of the body tells two answers apart, not two files.
    return None if if_match in (None, "*") else (if_match or "").removeprefix("W/").strip('"').partition(".")[0]


def age(cluster: str | None) -> tuple[tuple[bytes, bytes], ...]:
    """The header that says how old a cluster's snapshot is; none while there is none."""
    snapshot = server.clusters.resolve(cluster).snapshot
    snapshot.keep_fresh()
    return () if snapshot.age_s is None else aged(snapshot.age_s)


def aged(age_s: float) -> tuple[tuple[bytes, bytes], ...]:
    """The header that says how old what is shown is."""
    return ((b"x-snapshot-age", f"{age_s:.1f}".encode()),)


def prefers_csv(accept: str) -> bool:
    """Whether an Accept header names CSV, and JSON neither with more weight nor, with the same, before it."""
    named = [one.partition(";") for one in accept.lower().split(",")]
    kinds = [(name.strip(), float(weight[1]) if (weight := WEIGHT.search(rest)) else 1.0) for name, _, rest in named]
    ours = [one for one in kinds if one[0] in ("text/csv", "application/json") and one[1] > 0]
    return bool(ours) and max(ours, key=lambda one: one[1])[0] == "text/csv"


WEIGHT = re.compile(r"\bq=([01](?:\.[0-9]*)?)\s*(?:;|$)")
GZIP = re.compile(rb"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))")


async def send_prepared(scope: Scope, send: Send, status: int, answer: Prepared) -> None:
    """Send kept bytes: nothing but their ETag when the client has them, gzipped when it is worth it and wanted."""
    headers = [(b"content-type", answer.media_type), *answer.headers]
    body = answer.body
    if answer.etag is not None:
        etag = answer.etag.encode()
        headers += [(b"etag", etag), (b"cache-control", b"private, max-age=0"), (b"vary", b"accept-encoding")]
        known = [one.strip().removeprefix(b"W/") for one in (header(scope, b"if-none-match") or b"").split(b",")]
        if scope["method"] in ("GET", "HEAD") and (etag in known or b"*" in known):
            await send({"type": "http.response.start", "status": 304, "headers": headers[1:]})
            await send({"type": "http.response.body", "body": b""})
            return
        if answer.gzip is not None and len(body) > 2000 and GZIP.search(header(scope, b"accept-encoding") or b""):
            body = answer.gzip()
            headers.append((b"content-encoding", b"gzip"))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def header(scope: Scope, name: bytes) -> bytes | None:
    """The header of this lower-case name, the last of several; all of them are put into a dict once a request."""
    try:
        headers = scope["sluice.headers"]
    except KeyError:
        headers = scope["sluice.headers"] = dict(scope["headers"])
    value: bytes | None = headers.get(name)
    return value


JSON, RAW = "application/json", "application/octet-stream"


async def read_body(scope: Scope, receive: Receive, limit_bytes: int, kind: str = JSON) -> bytes:
    """The body, counted while it comes in; refused when it is not declared as what it must be, or too large."""
    length = header(scope, b"content-length")
    if length is not None and length.isdigit() and int(length) > limit_bytes:
        raise errors.TooLarge(limit_bytes, "the body")
    chunks: list[bytes] = []
    size_bytes = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = message.get("body", b"")
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise errors.TooLarge(limit_bytes, "the body")
        chunks.append(chunk)
        if not message.get("more_body"):
            break
    data = b"".join(chunks)
    if data:
        require_kind(scope, kind)
    return data


def require_kind(scope: Scope, *kinds: str) -> None:
    """Nothing, or 415: a form that a foreign page can send without asking is never taken."""
    kind = (header(scope, b"content-type") or b"").split(b";")[0].strip().lower().decode("latin-1")
    if kind not in kinds and not (JSON in kinds and kind.startswith("application/") and kind.endswith("+json")):
        raise MediaType(f"Content-Type must be {' or '.join(kinds)}")


class PathItem:
    """All operations of one path, by method."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.endpoints: dict[str, Endpoint] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self.endpoints.get("GET" if scope["method"] == "HEAD" else scope["method"])
        if endpoint is None:
            allowed = ", ".join(sorted(self.endpoints))
            raise HTTPException(405, "Method Not Allowed", headers={"Allow": allowed})
        await endpoint(scope, receive, send)


METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def routes(contract: dict[str, Any]) -> dict[str, PathItem]:
    """What answers each path of the contract; RuntimeError when contract and functions do not match one to one."""
    found: dict[str, PathItem] = {}
    declared: set[str] = set()
    for path, item in contract["paths"].items():
        path_item = PathItem(path)
        for method in METHODS:
            if method not in item:
                continue
            operation_id = item[method]["operationId"]
            if operation_id not in OPERATIONS:
                raise RuntimeError(f"contract.yaml promises {operation_id}, which app.py does not have")
            declared.add(operation_id)
            path_item.endpoints[method.upper()] = Endpoint(contract, item, item[method], OPERATIONS[operation_id])
        found[path] = path_item
    if unpromised := set(OPERATIONS) - declared:
        raise RuntimeError(f"app.py has {sorted(unpromised)}, which contract.yaml does not promise")
    return found


class Paths:
    """Leads a request to what answers its path: one look for a path without parameters, the router for all others."""

    def __init__(self, items: dict[str, PathItem], more: list[Route], lifespan: Callable[..., Any]) -> None:
        self.exact = {path: item for path, item in items.items() if "{" not in path}
        matched = [Route(path, item) for path, item in items.items() if "{" in path]
        self.router = Router([*matched, *more], redirect_slashes=False, default=not_found, lifespan=lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exact = self.exact.get(scope.get("path", "")) if scope["type"] == "http" else None
        # Where there is an app, Starlette's routes raise their 405 instead of answering in plain text.
        scope["app"] = self
        await (exact or self.router)(scope, receive, send)


async def not_found(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Nothing is here."""
    raise HTTPException(404, "Not Found")


class Guard:
    """The outermost layer: who may call what, for http and websocket, every method and path; nothing passes by default.

    Decides on the bytes of `scope` alone. Adds the request id and the headers that keep browsers strict, and turns
    whatever goes wrong further in into the family's envelope.
    """

    def __init__(self, app: ASGIApp, open_paths: Iterable[str]) -> None:
        self.app = app
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, told_plainly(send))
            return
        without_prefix(scope)
        given = header(scope, b"x-request-id") or b""
        request_id = given if re.fullmatch(rb"[A-Za-z0-9._-]{1,64}", given) else new_request_id()
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id), *STRICT]
            await send(message)

        try:
            self.admit(scope)
            await self.app(scope, receive, send_on)
        except Disconnected:
            return
        except Exception as problem:
            if status:
                raise
            await self.refuse(problem, request_id.decode(), scope, send_on)
        if scope["type"] == "http" and scope["method"] not in READING:
            await self.note(scope, status, request_id.decode())

    @staticmethod
    async def note(scope: Scope, status: int, request_id: str) -> None:
        """Nothing; who did what, with which result, stands in the audit."""
        caller, endpoint = scope.get("caller"), scope.get("endpoint_of")
        await server.audit.append(
            {
                "who": caller.name if caller else None,
                "from": (scope.get("client") or ("",))[0],
                "what": endpoint.operation_id if endpoint else scope["method"],
                "path": scope["path"],
                "status": status,
                "made": scope.get("sluice.made"),
                "request_id": request_id,
            }
        )

    @staticmethod
    async def refuse(problem: Exception, request_id: str, scope: Scope, send: Send) -> None:
        """The refusal as an answer; a websocket is closed before it is accepted."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4401 if isinstance(problem, Unauthenticated) else 4403})
            return
        status, headers, body = refusal(problem, request_id, scope)
        await send_prepared(scope, send, status, Prepared(body, headers=headers))

    def admit(self, scope: Scope) -> None:
        """Put the caller into the scope, or raise why it may not call."""
        check_host(scope)
        changing = scope["type"] == "websocket" or scope["method"] not in READING
        if changing:
            check_origin(scope)
            if scope["type"] == "http" and header(scope, b"content-type") is not None:
                require_kind(scope, JSON, RAW)
        if scope["path"] in self.open_paths:
            return
        scope["caller"] = caller = caller_of(scope)
        needed = "write" if changing else "read"
        if needed not in caller.scopes and "admin" not in caller.scopes:
            raise errors.Denied(f"This needs the scope {needed}")


def new_request_id() -> bytes:
    """An id for a request that brought none."""
    return b"req_%012x" % random.getrandbits(48)


def without_prefix(scope: Scope) -> None:
    """Nothing; the path is the contract's from now on, also when a proxy or a mount has put its prefix before it."""
    for prefix in (scope.get("root_path") or "", server.settings.root_path):
        if prefix and f"{scope['path']}/".startswith(f"{prefix}/"):
            scope["path"] = scope["path"][len(prefix) :] or "/"
            break
    scope["root_path"] = ""


READING = frozenset({"GET", "HEAD", "OPTIONS"})
# What callers have sent is never shown by a browser as a page of this server.
DOWNLOAD = ((b"content-disposition", b"attachment"), (b"content-security-policy", b"sandbox"))
STRICT = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]


def check_host(scope: Scope) -> None:
    """Nothing, or why the Host header is refused: missing, doubled, malformed, or not a name of this server."""
    given = header(scope, b"host") or b""
    doubled = (
        len(scope["sluice.headers"]) != len(scope["headers"]) and sum(k == b"host" for k, _ in scope["headers"]) > 1
    )
    name = None if doubled else access.host_name(given)
    if name is None:
        raise BadRequest("A single well-formed Host header is needed")
    if name not in server.hosts:
        raise errors.Denied(
            "Host header not allowed; name it in SLUICE_ALLOWED_HOSTS or in access.yaml (allowed_hosts)"
        )


def check_origin(scope: Scope) -> None:
    """Nothing, or why a browser's request is refused: it comes from a page that is not this server's."""
    site = header(scope, b"sec-fetch-site")
    origin = header(scope, b"origin")
    if site is not None and site not in (b"same-origin", b"none"):
        raise errors.Denied("Requests from other sites are not allowed")
    if origin is not None:
        own = (header(scope, b"host") or b"").lower()
        if origin.lower() not in (b"http://" + own, b"https://" + own):
            raise errors.Denied("Origin not allowed")


# Whose clients can write a token into a URL only.
BASIC = "/srtslurm/"
FORWARDED = frozenset({b"forwarded", b"x-real-ip", b"via"})


def caller_of(scope: Scope) -> access.Caller:
    """Who asks: the holder of a token, or the server's own user over loopback; else Unauthenticated."""
    client = scope.get("client") or ("", 0)
    given = header(scope, b"authorization")
    if given is not None:
        token = access.token_in(given, basic=scope["path"].startswith(BASIC))
        caller = server.store.access.caller(token) if token is not None else None
        # A right token always passes: who guesses from the same address, as behind a proxy, locks nobody else out.
        if caller is None and server.failures.wait_s(client[0]):
            raise TooMany("Too many wrong tokens; wait a little")
        if caller is None:
            server.failures.failed(client[0])
            raise Unauthenticated("Missing or invalid bearer token")
        return caller
    if any(name in FORWARDED or name.startswith(b"x-forwarded-") for name in scope["sluice.headers"]):
        raise Unauthenticated("Requests through a proxy need a bearer token")
    if server.peers.uid(client, scope.get("server") or ("", 0)) == os.getuid():
        return server.own_caller
    raise Unauthenticated("Missing or invalid bearer token")


# ====================================================================================================================
# Refusals
# ====================================================================================================================


class BadRequest(Exception):
    """The request makes no sense, whatever the state."""


class Unauthenticated(Exception):
    """Nobody knows who asks."""


class TooMany(Exception):
    """The client has tried too often."""


class MediaType(Exception):
    """The body is not declared as JSON."""


class Disconnected(Exception):
    """The client has gone; nobody is there to answer to."""


# What went wrong → status. The first class along the exception's own line of ancestors counts.
STATUS: dict[type[Exception], int] = {
    BadRequest: 400,
    Unauthenticated: 401,
    MediaType: 415,
    TooMany: 429,
    errors.NotFound: 404,
    errors.NoProfile: 503,
    errors.Exists: 409,
    errors.Conflict: 409,
    errors.Changed: 412,
    errors.Denied: 403,
    errors.WrongKind: 400,
    errors.TooLarge: 413,
    errors.Invalid: 422,
    errors.StoreFull: 507,
    errors.StoreUnavailable: 503,
    slurm_errors.SlurmUnreachable: 503,
    slurm_errors.SlurmDenied: 403,
    slurm_errors.SlurmConflict: 409,
    slurm_errors.JobUnknown: 404,
    slurm_errors.SlurmError: 502,
}

# Where an operation, or a family, deviates from the table, by its document.
DEVIATIONS: dict[tuple[str, type[Exception]], int] = {
    ("srunx_cancel_run", errors.Conflict): 422,
    ("srunx_submit_job", slurm_errors.SlurmConflict): 502,
    ("srtslurm", errors.NotJson): 400,
    ("srunx_browse_files", errors.NoProfile): 404,
    ("srunx_read_file", errors.NoProfile): 404,
    ("srunx_update_config", errors.StoreUnavailable): 500,
    ("srunx_reset_config", errors.StoreUnavailable): 500,
    ("srunx_get_project", errors.NoProfile): 400,
    ("srunx_update_project", errors.NoProfile): 400,
    ("srunx_update_project", errors.StoreUnavailable): 500,
    ("srunx_init_project", errors.NoProfile): 400,
    ("srunx_init_project", errors.StoreUnavailable): 500,
    ("srunx_apply_template", slurm_errors.SlurmConflict): 502,
    ("srunx_delete_template", errors.NotFound): 400,
    ("srunx_create_subscription", errors.NotFound): 409,
}

# Where the place of what is wrong in a body is told without the word "body": it is that in the document changed.
BARE_PLACES = ("srunx_update_config", "srunx_update_project")

# A value that fails its pattern in a way for which the document has a status and a text of its own.
ODD_VALUES = [
    (("path", "job_id"), re.compile(r"[+-]?[0-9]+"), 400, "Invalid job ID"),
    # Missing (then the input is all parameters) or empty.
    (("query", "path"), re.compile(r"(\{('mount': .{0,200})?\})?"), 400, "path is required"),
]


def refusal(problem: Exception, request_id: str, scope: Scope) -> tuple[int, tuple[tuple[bytes, bytes], ...], bytes]:
    """Status, headers and body for whatever went wrong; an unexpected exception is logged and told as 500 only."""
    endpoint = scope.get("endpoint_of")
    headers: list[tuple[bytes, bytes]] = []
    detail: Any = str(problem)
    if isinstance(problem, HTTPException):
        status, detail = problem.status_code, problem.detail
        headers += [(name.lower().encode(), value.encode()) for name, value in (problem.headers or {}).items()]
    else:
        status = status_of(problem, (endpoint.operation_id, endpoint.family) if endpoint else ())
    if isinstance(problem, slurm_errors.SlurmRefused):
        detail = f"{problem.command} failed: {problem.reason}"
    if isinstance(problem, errors.Invalid):
        status, detail = odd_value(problem) or (status, [item(one) for one in problem.problems])
    if status == 500 and not isinstance(problem, errors.StoreError):
        log.error("request %s failed", request_id, exc_info=problem)
        detail = f"Internal Server Error ({request_id})"
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status in (429, 503):
        headers.append((b"retry-after", b"5"))
    return status, tuple(headers), ENVELOPES[endpoint.family if endpoint else "srunx"](status, detail, request_id)


def status_of(problem: Exception, asked: Iterable[str]) -> int:
    """The status for an exception, by the names of the operation and its family; 500 for one that no table knows."""
    for kind in type(problem).__mro__:
        for name in asked:
            if (name, kind) in DEVIATIONS:
                return DEVIATIONS[name, kind]
        if kind in STATUS:
            return STATUS[kind]
    return 500


def odd_value(problem: errors.Invalid) -> tuple[int, str] | None:
    """Status and text of the document's own for a single wrong value, if it has one."""
    one = problem.problems[0]
    for loc, pattern, status, text in ODD_VALUES:
        if tuple(one["loc"]) == loc and pattern.fullmatch(str(one["input"])):
            return status, text
    return None


def item(one: dict[str, Any]) -> dict[str, Any]:
    """A problem as the srunx family lists it: type, loc, msg, input, and where in a text it stands."""
    place = {key: one[key] for key in ("line", "column") if one.get(key)}
    return {"type": one["type"], "loc": one["loc"], "msg": one["msg"], "input": shortened(one["input"]), **place}


def shortened(value: Any) -> Any:
    """The value, or its beginning when it is large: an error need not send back a megabyte."""
    text = value if isinstance(value, str) else repr(value)
    return value if len(text) <= 500 else f"{text[:500]}…"


def _detail(status: int, detail: Any, request_id: str) -> bytes:
    return orjson.dumps({"detail": detail})


# Family → the shape of its errors.
ENVELOPES: dict[str, Callable[[int, Any, str], bytes]] = dict.fromkeys(("srunx", "srtslurm", "sluice"), _detail)


# ====================================================================================================================
# Operations: srunx
# ====================================================================================================================


@operation()
def srunx_list_jobs(cluster: str | None) -> Prepared:
    """List queued, running and recently finished jobs."""
    return prepared(jobs.list_jobs(server, cluster), headers=age(cluster))


@operation()
async def srunx_submit_job(body: dict[str, Any], idempotency_key: str | None, caller: access.Caller) -> dict[str, Any]:
    """Submit a batch script as a job."""
    records.check_submission(body)
    record = await jobs.submit_job(server, body, requests.make_id(caller.name, "job", idempotency_key), caller)
    return srunx.to_submission_json(record.name, record.job_id or "")


@operation()
async def srunx_get_job(job_id: str, cluster: str | None) -> Prepared:
    """Get one job."""
    return Prepared(orjson.dumps(await jobs.find_job(server, job_id, cluster)), headers=age(cluster))


@operation()
async def srunx_cancel_job(job_id: str, cluster: str | None) -> None:
    """Cancel a job."""
    await jobs.cancel_job(server, job_id, cluster)


@operation()
async def srunx_get_job_logs(
    job_id: str, cluster: str | None, stdout_offset: int, stderr_offset: int
) -> dict[str, Any]:
    """Get the output of a job from the given offsets on."""
    return await jobs.read_logs(server, job_id, stdout_offset, stderr_offset, cluster)


@operation()
def srunx_list_resources(partition: str | None, cluster: str | None) -> Prepared:
    """List GPUs, nodes and running jobs of each partition."""
    return prepared(jobs.list_resources(server, partition, cluster), headers=age(cluster))


@operation()
def srunx_list_workflows(mount: str | None) -> Prepared:
    """List the workflows that parse, by file name."""
    return prepared(server.find_shelf(mount).rows.get_all())


@operation()
async def srunx_validate_workflow(body: dict[str, Any]) -> dict[str, Any]:
    """Check a workflow text and list its errors."""
    wrong = await asyncio.to_thread(workflows.list_complaints, body.get("yaml") or "", server.renderer)
    return {"valid": False, "errors": wrong} if wrong else {"valid": True}


@operation()
async def srunx_upload_workflow(body: dict[str, Any], if_match: str | None) -> Prepared:
    """Check and save a workflow text."""
    name = workflows.parse_uploaded_name(body["filename"])
    return changed(
        *await workflow_files.save_workflow(
            server, server.find_shelf(body.get("mount")), name, body["yaml"].encode(), unquoted(if_match)
        )
    )


@operation()
async def srunx_create_workflow(body: dict[str, Any], if_match: str | None) -> Prepared:
    """Create a workflow from JSON and save it as YAML."""
    place, name = server.find_shelf(body.get("mount") or body.get("default_project")), body["name"]
    if name in place.folder and not body["overwrite"]:
        raise errors.Exists("Workflow", name)
    text = workflow_files.compose_workflow(place, body)
    return changed(*await workflow_files.save_workflow(server, place, name, text, unquoted(if_match)))


@operation()
async def srunx_list_runs(name: str | None, limit: int, offset: int) -> Prepared:
    """List workflow runs, newest first."""
    body, total = await server.run_list.get_window(name, limit, offset)
    return prepared(body, headers=((b"x-total-count", str(total).encode()),))


@operation()
async def srunx_get_run(run_id: str) -> Any:
    """Get one run with the state of each of its jobs."""
    if run_id in server.store.runs and not server.sweep_index.is_rerun_pending(run_id):
        return prepared(server.run_list.get_row(run_id), headers=aged(server.get_age_s(run_id)))
    return prepared(Body(orjson.dumps(await server.sweep_index.get_run_without_file(run_id))), headers=aged(0.0))


@operation()
async def srunx_cancel_run(run_id: str) -> dict[str, Any]:
    """Cancel a run and all of its jobs."""
    warnings = await runs.cancel_run(server, run_id)
    return {"status": "cancelled", "run_id": run_id, **({"warnings": warnings} if warnings else {})}


@operation()
def srunx_get_workflow(name: str, mount: str | None) -> Prepared:
    """Get one workflow with its jobs."""
    place = server.find_shelf(mount)
    return prepared(place.rows.get_row(name), etag=place.folder.get_entry(name).etag)


@operation()
async def srunx_delete_workflow(name: str, mount: str | None, if_match: str | None) -> dict[str, Any]:
    """Delete a workflow; its runs stay."""
    await server.find_shelf(mount).folder.delete(name, if_match=unquoted(if_match))
    return {"status": "deleted", "name": name}


@operation()
async def srunx_run_workflow(
    name: str, mount: str | None, body: dict[str, Any], idempotency_key: str | None, caller: access.Caller
) -> dict[str, Any]:
    """Start a run or a sweep of a workflow, or preview it."""
    return await start.start_workflow(
        server, name, mount, body, requests.make_id(caller.name, "run", idempotency_key), "web"
    )


@operation()
def srunx_list_sweeps() -> list[dict[str, Any]]:
    """List the latest sweeps, newest first."""
    return server.sweep_index.list_newest()


@operation()
async def srunx_get_sweep(sweep_id: int) -> dict[str, Any]:
    """Get one sweep with its matrix and counters."""
    shown, sweep = await server.sweep_index.find(sweep_id)
    return shown.build_row(sweep)


@operation()
async def srunx_change_sweep(sweep_id: int, body: dict[str, Any]) -> dict[str, Any]:
    """Change how many cells of a sweep run at once."""
    return server.sweep_index.build_row(
        await sweeping.change_sweep(
            server, sweep_id, lambda sweep: sweeps.set_max_parallel(sweep, body["max_parallel"])
        )
    )


@operation()
async def srunx_list_cells(sweep_id: int) -> list[dict[str, Any]]:
    """List the cells of a sweep by status, start and id."""
    shown, sweep = await server.sweep_index.find(sweep_id, whole=True)
    return await shown.list_cells(sweep)


@operation()
async def srunx_cancel_sweep(sweep_id: int) -> dict[str, Any]:
    """Cancel a sweep."""
    if server.sweep_index.is_archived(sweep_id):
        return await srunx_get_sweep(sweep_id)
    return server.sweep_index.build_row(
        await sweeping.change_sweep(server, sweep_id, lambda sweep: sweeps.cancel_sweep(sweep, time.time()))
    )


@operation()
async def srunx_rerun_sweep(sweep_id: int, body: dict[str, Any]) -> dict[str, Any]:
    """Rerun ended cells of a sweep."""
    return server.sweep_index.build_row(await sweeping.rerun_cells(server, sweep_id, body["cells"]))


@operation()
async def srunx_list_results(sweep_id: int, accept: str) -> Any:
    """List the results of a sweep's cells in matrix order."""
    shown, sweep = await server.sweep_index.find(sweep_id, whole=True)
    rows = await shown.list_results(sweep)
    return Prepared(board.to_csv(rows), media_type=b"text/csv; charset=utf-8") if prefers_csv(accept) else rows


@operation()
def srunx_list_mounts() -> list[dict[str, Any]]:
    """List the current profile's mounts without local folders."""
    return [{"name": one.name, "remote": one.remote} for one in server.store.profiles.get_mounts().values()]


@operation()
async def srunx_add_mount(body: dict[str, Any], if_match: str | None) -> dict[str, Any]:
    """Add a mount to the current profile."""
    return await profile_edits.add_mount(server.store.single["profiles"], own_profile(), body, unquoted(if_match))


@operation()
def srunx_list_mounts_config() -> list[dict[str, Any]]:
    """List the current profile's mounts with local folders."""
    return [profile_edits.to_mount_json(one) for one in server.store.profiles.get_mounts().values()]


@operation()
async def srunx_delete_mount(mount_name: str, if_match: str | None) -> dict[str, Any]:
    """Remove a mount from the current profile."""
    await profile_edits.remove_mount(server.store.single["profiles"], own_profile(), mount_name, unquoted(if_match))
    return {"status": "deleted", "name": mount_name}


@operation()
async def srunx_get_config(explain: bool, mount: str | None) -> Prepared:
    """Get the configuration merged from all layers."""
    root = server.store.profiles.get_mount(mount).root if mount is not None else None
    found = await server.store.configuration.resolve(root)
    return tagged(found.explain() if explain else found.to_json(), server.store.configuration.get_tag())


@operation()
async def srunx_update_config(body: dict[str, Any], if_match: str | None) -> Prepared:
    """Merge values into the user's configuration."""
    found = await server.store.configuration.update(body, unquoted(if_match))
    return tagged(found.to_json(), server.store.configuration.get_tag())


@operation()
async def srunx_list_config_paths() -> list[dict[str, Any]]:
    """List the configuration files in rising precedence."""
    return await asyncio.to_thread(server.store.configuration.list_paths)


@operation()
async def srunx_reset_config(if_match: str | None) -> Prepared:
    """Empty the user's configuration."""
    found = await server.store.configuration.reset(unquoted(if_match))
    return tagged(found.to_json(), server.store.configuration.get_tag())


@operation()
def srunx_list_profiles() -> Prepared:
    """List all profiles by name, and which one is current."""
    found = profile_edits.list_profiles(server.store.stored_profiles, server.store.profiles.current)
    return tagged(found, profile_edits.get_profiles_tag(server.store.single["profiles"]))


@operation()
async def srunx_create_profile(body: dict[str, Any], if_match: str | None) -> dict[str, Any]:
    """Create a profile."""
    return await profile_edits.create_profile(server.store.single["profiles"], body, unquoted(if_match))


@operation()
async def srunx_update_profile(name: str, body: dict[str, Any], if_match: str | None) -> dict[str, Any]:
    """Update the given fields of a profile."""
    return await profile_edits.update_profile(server.store.single["profiles"], name, body, unquoted(if_match))


@operation()
async def srunx_delete_profile(name: str, if_match: str | None) -> dict[str, Any]:
    """Delete a profile and its mounts."""
    await profile_edits.delete_profile(server.store.single["profiles"], name, unquoted(if_match))
    return {"ok": True}


@operation()
async def srunx_activate_profile(name: str, if_match: str | None) -> dict[str, Any]:
    """Make a profile the current one."""
    await profile_edits.activate_profile(server.store.single["profiles"], name, unquoted(if_match))
    return {"ok": True}


@operation()
async def srunx_add_profile_mount(name: str, body: dict[str, Any], if_match: str | None) -> dict[str, Any]:
    """Add a mount to a profile."""
    return await profile_edits.add_mount(server.store.single["profiles"], name, body, unquoted(if_match))


@operation()
async def srunx_delete_profile_mount(name: str, mount_name: str, if_match: str | None) -> dict[str, Any]:
    """Remove a mount from a profile."""
    await profile_edits.remove_mount(server.store.single["profiles"], name, mount_name, unquoted(if_match))
    return {"ok": True}


@operation()
def srunx_list_env() -> list[dict[str, str]]:
    """List the srunx variables of the server's environment."""
    return layers.list_variables(server.store.environment)


@operation()
async def srunx_list_projects() -> list[dict[str, Any]]:
    """List the projects of the current profile, one per mount."""
    return await asyncio.to_thread(profile_edits.list_projects, server.store.profiles)


@operation()
async def srunx_get_project(mount_name: str) -> Prepared:
    """Get the srunx.json of a mount."""
    mount = profile_edits.get_project(server.store.profiles, mount_name)
    return project_of(mount, await server.store.configuration.describe_project(mount))


@operation()
async def srunx_update_project(mount_name: str, body: dict[str, Any], if_match: str | None) -> Prepared:
    """Update the srunx.json of a mount."""
    mount = profile_edits.get_project(server.store.profiles, mount_name)
    return project_of(mount, await server.store.configuration.save_project(mount, body, unquoted(if_match)))


@operation()
async def srunx_init_project(mount_name: str) -> Prepared:
    """Create a srunx.json with example values for a mount."""
    mount = profile_edits.get_project(server.store.profiles, mount_name)
    return project_of(mount, await server.store.configuration.init_project(mount))


@operation()
async def srunx_browse_files(mount: str, path: str) -> dict[str, Any]:
    """List a folder of a mount."""
    return await sync.list_files(server, mount, path)


@operation()
async def srunx_read_file(mount: str, path: str) -> dict[str, Any]:
    """Get the text of a file of a mount."""
    return await sync.read_file(server, mount, path)


@operation()
async def srunx_sync_mount(body: dict[str, Any]) -> dict[str, Any]:
    """Sync a mount to its cluster, or preview the changes."""
    return await sync.sync_mount(server, body)


@operation()
def srunx_get_sync(sync_id: str) -> dict[str, Any]:
    """Get the progress of a sync that nobody waited for."""
    return sync.get_sync(server, sync_id)


@operation()
def srunx_list_history(limit: int) -> list[dict[str, Any]]:
    """List the jobs submitted through Sluice, newest first."""
    return [srunx.to_history_json(entry) for entry in server.job_index.list_newest(limit if limit >= 0 else 10_000)]


@operation()
def srunx_get_history_stats(from_: str | None, to: str | None) -> dict[str, Any]:
    """Count jobs by outcome and average their running time."""
    return server.job_index.compute_stats(from_, to)


@operation()
def srunx_get_ssh_status() -> dict[str, Any]:
    """Get the state of the active profile's cluster."""
    return ssh_profiles.get_status(server)


@operation()
async def srunx_connect_profile(name: str) -> dict[str, Any]:
    """Connect a profile at once."""
    return await ssh_profiles.connect_profile(server, name)


@operation()
async def srunx_test_profile(name: str) -> dict[str, Any]:
    """Test the connection and the SLURM of a profile."""
    return await ssh_profiles.test_profile(server, name)


@operation()
async def srunx_preview_job(body: dict[str, Any]) -> dict[str, Any]:
    """Render the script of a job without submitting it."""
    return await templates.preview_script(server, body)


@operation()
def srunx_list_templates() -> list[dict[str, Any]]:
    """List the script templates, the built-in one first."""
    return templates.list_templates(server)


@operation()
async def srunx_create_template(body: dict[str, Any]) -> dict[str, Any]:
    """Create a template and save it in the store."""
    return await templates.create_template(server, body)


@operation()
def srunx_get_template(template_name: str) -> Prepared:
    """Get one template with its text."""
    return detailed(*templates.get_template(server, template_name))


@operation()
async def srunx_change_template(template_name: str, body: dict[str, Any], if_match: str | None) -> Prepared:
    """Change the text or the description of a template."""
    return detailed(*await templates.change_template(server, template_name, body, unquoted(if_match)))


@operation()
async def srunx_delete_template(template_name: str, if_match: str | None) -> None:
    """Delete a template."""
    await templates.delete_template(server, template_name, unquoted(if_match))


@operation()
async def srunx_apply_template(
    template_name: str, body: dict[str, Any], idempotency_key: str | None, caller: access.Caller
) -> dict[str, Any]:
    """Submit a job from a template, or preview its script."""
    return await templates.apply_template(server, template_name, body, idempotency_key, caller)


@operation()
def srunx_list_endpoints(include_disabled: bool) -> list[dict[str, Any]]:
    """List the endpoints of notifications, oldest first."""
    return server.notifications.list_endpoints(include_disabled)


@operation()
async def srunx_create_endpoint(body: dict[str, Any]) -> dict[str, Any]:
    """Create an endpoint for notifications."""
    return await server.notifications.create_endpoint(body)


@operation()
async def srunx_delete_endpoint(endpoint_id: int) -> None:
    """Delete an endpoint and its subscriptions."""
    await server.notifications.delete_endpoint(endpoint_id)


@operation()
async def srunx_change_endpoint(endpoint_id: int, body: dict[str, Any]) -> dict[str, Any]:
    """Change the name or the address of an endpoint."""
    return await server.notifications.change_endpoint(
        endpoint_id, lambda data, others: endpoints.edit_endpoint(data, body, others)
    )


@operation()
async def srunx_disable_endpoint(endpoint_id: int) -> dict[str, Any]:
    """Disable an endpoint."""
    return await server.notifications.change_endpoint(
        endpoint_id, lambda data, _: endpoints.switch_endpoint(data, False, time.time())
    )


@operation()
async def srunx_enable_endpoint(endpoint_id: int) -> dict[str, Any]:
    """Enable an endpoint."""
    return await server.notifications.change_endpoint(
        endpoint_id, lambda data, _: endpoints.switch_endpoint(data, True, time.time())
    )


@operation()
def srunx_list_subscriptions(watch_id: int | None, endpoint_id: int | None, limit: int) -> list[dict[str, Any]]:
    """List the subscriptions of endpoints to watches."""
    return asking.list_subscriptions(server, watch_id, endpoint_id, limit)


@operation()
async def srunx_create_subscription(body: dict[str, Any]) -> dict[str, Any]:
    """Subscribe an endpoint to a watch."""
    return await server.notifications.subscribe(int(body["watch_id"]), int(body["endpoint_id"]), body["preset"])


@operation()
async def srunx_delete_subscription(subscription_id: int) -> None:
    """Delete a subscription."""
    await server.notifications.unsubscribe(subscription_id)


@operation()
def srunx_list_watches(open: bool, kind: str | None, target_ref: str | None) -> list[dict[str, Any]]:
    """List watches, newest first."""
    if not open and kind is None and target_ref is None:
        raise BadRequest("open=false needs a kind or a target_ref")
    return asking.list_watches(server, open, kind, target_ref)


@operation()
async def srunx_create_watch(body: dict[str, Any]) -> dict[str, Any]:
    """Watch a job, run or sweep and notify an endpoint."""
    return await asking.create_watch(server, body)


@operation()
def srunx_get_watch(watch_id: int) -> dict[str, Any]:
    """Get one watch."""
    return watches.to_json(server.notifications.get_watch(watch_id))


@operation()
async def srunx_close_watch(watch_id: int) -> dict[str, Any]:
    """Close a watch and stop its notifications."""
    closed = await server.notifications.change_watch(
        str(watch_id), lambda watch: watches.close_watch(watch, time.time())
    )
    return watches.to_json(closed)


@operation()
def srunx_list_deliveries(subscription_id: int | None, status: str | None, limit: int) -> list[dict[str, Any]]:
    """List sent and pending deliveries, newest first."""
    return server.notifications.outbox.list_deliveries(subscription_id, status, limit)


@operation()
def srunx_count_stuck_deliveries(older_than_sec: int) -> dict[str, int]:
    """Count the deliveries that are overdue."""
    return {
        "count": server.notifications.outbox.count_stuck(older_than_sec, time.time()),
        "older_than_sec": older_than_sec,
    }


@operation()
def srunx_get_delivery(delivery_id: int) -> dict[str, Any]:
    """Get one delivery."""
    return deliveries.to_json(server.notifications.outbox.get(delivery_id))


# ====================================================================================================================
# Operations: srtslurm
# ====================================================================================================================


@operation()
def srtslurm_list_jobs(status: str | None, cluster: str | None, tag: str | None, page: int, per_page: int) -> Prepared:
    """List the jobs that reported, last submitted first."""
    return prepared(server.report_index.build_page(status, cluster, tag, page, per_page))


@operation()
async def srtslurm_create_job(body: dict[str, Any], caller: access.Caller) -> dict[str, Any]:
    """Report the submission of a job."""
    return await reports.record_submission(server, body, caller)


@operation()
def srtslurm_get_job(job_id: str) -> dict[str, Any]:
    """Get a job's reports, its history and SLURM's state."""
    return reports.get_report(server, job_id)


@operation()
async def srtslurm_update_job(job_id: str, body: dict[str, Any], caller: access.Caller) -> dict[str, Any]:
    """Update the status of a job."""
    return await reports.record_update(server, job_id, body, caller)


@operation()
async def srtslurm_delete_job(job_id: str) -> dict[str, Any]:
    """Delete the report of a job."""
    return await reports.delete_report(server, job_id)


@operation()
async def srtslurm_list_job_events(job_id: str, after: int, limit: int) -> dict[str, Any]:
    """List the events of a job after a cursor."""
    return await reports.list_events(server, job_id, after, limit)


@operation()
async def srtslurm_list_logs(job_id: str, file: str | None, offset: int) -> dict[str, Any]:
    """List the logs of a job, or read one from an offset on."""
    return await reports.read_logs(server, job_id, file, offset)


@operation()
async def srtslurm_add_log(job_id: str, file: str, offset: int, body: bytes) -> dict[str, Any]:
    """Add a piece to a log."""
    return await reports.add_log(server, job_id, file, offset, body)


@operation()
async def srtslurm_list_captures(job_id: str, file: str | None) -> Any:
    """List the captures of a job, or download one."""
    if not file:
        return await reports.list_captures(server, job_id)
    return Prepared(await reports.read_capture(server, job_id, file), headers=DOWNLOAD, media_type=RAW.encode())


@operation()
async def srtslurm_add_capture(
    job_id: str, file: str, generation: str, offset: int, total: int, body: bytes
) -> dict[str, Any]:
    """Add a piece to a capture."""
    return await reports.add_capture(server, job_id, file, generation, offset, total, body)


@operation()
async def srtslurm_list_events(after: int, limit: int, job_id: str | None) -> dict[str, Any]:
    """List the events of all jobs after a cursor."""
    return await server.report_index.list_events(after, limit, job_id)


@operation()
def srtslurm_get_health() -> dict[str, Any]:
    """Check whether reports are accepted."""
    return {"status": "ok"}


# ====================================================================================================================
# Operations: sluice
# ====================================================================================================================


@operation()
async def sluice_list_problems() -> list[dict[str, Any]]:
    """List the files of the store that are invalid."""
    await server.store.configuration.refresh_outside()
    return server.store.list_problems()


@operation()
def sluice_get_health() -> dict[str, Any]:
    """Check the health of the server, its store and cluster."""
    return loop.summarize_health(server) | {"version": VERSION}


@operation()
def sluice_get_contract_json() -> Prepared:
    """Get this contract as JSON."""
    return CONTRACT.as_json


@operation()
async def sluice_get_contract_yaml() -> Prepared:
    """Get this contract as YAML."""
    # It is made for the first request, which takes a tenth of a second.
    return await asyncio.to_thread(lambda: CONTRACT.as_yaml)


# ====================================================================================================================
# Live
# ====================================================================================================================


# ====================================================================================================================
# Lifespan and app
# ====================================================================================================================


server: Server


@contextlib.asynccontextmanager
async def lifespan(_app: ASGIApp) -> AsyncIterator[None]:
    """Open the store, find the cluster, set the clockwork going; undone in reverse."""
    global server
    server = Server(settings_now())
    server.follow()
    await asyncio.to_thread(server.store.open)
    async with contextlib.AsyncExitStack() as undo:
        for pool in (server.pool, server.browsing, server.syncing):
            undo.callback(pool.shutdown, wait=False, cancel_futures=True)
        undo.push_async_callback(server.store.close)
        undo.push_async_callback(server.notifications.outbox.stop)
        undo.callback(server.renderer.close)
        limits = server.store.config.limits
        server.renderer.set_limits(limits.render_s, limits.render_mb)
        server.update_hosts()
        server.store.single["access"].listeners.append(server.update_hosts)
        server.pace = Pace(server.store.config.sweeps.per_second, server.store.config.sweeps.in_flight)
        undo.push_async_callback(server.clusters.close)
        await loop.connect_clusters(server)
        await server.store.start(server.supervisor.start)
        server.store.single["config"].listeners.append(functools.partial(loop.apply_config, server))
        await server.notifications.catch_up()
        server.store.single["profiles"].listeners.append(lambda *_change: server.wake.set())
        for task in loop.start_tasks(server):
            undo.push_async_callback(end_task, task)
        undo.push_async_callback(server.tasks.stop)
        log.info("%s", greeting())
        yield


def told_plainly(send: Send) -> Send:
    """The same, but a start that fails for a reason of ours tells that alone, not where in the code it arose."""

    async def send_on(message: Message) -> None:
        problem = sys.exception()
        if message["type"] == "lifespan.startup.failed" and isinstance(problem, errors.StoreError):
            message["message"] = str(problem)
        await send(message)

    return send_on


def greeting() -> str:
    """The address, the store, the cluster, and who may call."""
    settings = server.settings
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    who = (
        f"calls of user {server.own_caller.name} need no token"
        if access.is_loopback(settings.host)
        else "calls need a token"
    )
    return f"http://{host}:{settings.port}, store {server.store.root}, cluster {server.cluster.name}; {who}"


class Contract:
    """The contract as it is parsed and as it is served; what is served is made when it is first asked for."""

    def __init__(self, path: Path) -> None:
        self.parsed = load_contract(path)

    @functools.cached_property
    def as_json(self) -> Prepared:
        """The answer of /openapi.json."""
        return prepared(Body(orjson.dumps(self.parsed)))

    @functools.cached_property
    def as_yaml(self) -> Prepared:
        """The answer of /openapi.yaml."""
        body = Body(dump_contract(self.parsed))
        return Prepared(body.data, body.etag, gzip=lambda: body.gzipped, media_type=b"application/yaml")

    def open_paths(self) -> list[str]:
        """The paths that need no credentials, as the contract says (`security: [{}]`)."""
        items = self.parsed["paths"].items()
        return [
            path
            for path, item in items
            if all(item[method].get("security") == [{}] for method in METHODS if method in item)
        ]

    def table(self) -> str:
        """Every operation on a line: id, method, path."""
        items = self.parsed["paths"].items()
        rows = [
            (item[method]["operationId"], method.upper(), path)
            for path, item in items
            for method in METHODS
            if method in item
        ]
        return "\n".join(f"{name:<28} {method:<7} {path}" for name, method, path in rows)


async def docs(_request: Any) -> Response:
    """Swagger UI over /openapi.json."""
    return HTMLResponse(
        DOCS,
        headers={
            "content-security-policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"
        },
    )


async def docs_asset(request: Any) -> Response:
    """A file of the package that has Swagger UI, or the few lines that start it."""
    data, media_type = await asyncio.to_thread(docs_file, request.path_params["name"])
    return Response(data, media_type=media_type)


@functools.cache
def docs_file(name: str) -> tuple[bytes, str]:
    """The bytes of a file of /docs and their media type."""
    if name == "start.js":
        return (HERE / "web" / "docs.js").read_bytes(), "text/javascript"
    if name not in ("swagger-ui-bundle.js", "swagger-ui.css"):
        raise HTTPException(404, "Not Found")
    package = importlib.util.find_spec("swagger_ui")
    assert package is not None and package.submodule_search_locations
    data = (Path(package.submodule_search_locations[0]) / "static" / name).read_bytes()
    return data, "text/css" if name.endswith(".css") else "text/javascript"


DOCS = (HERE / "web" / "docs.html").read_text()
CONTRACT = Contract(HERE / "contract.yaml")
DOCS_ROUTES = [Route("/docs", docs), Route("/docs/{name}", docs_asset)]
app = Guard(Paths(routes(CONTRACT.parsed), DOCS_ROUTES, lifespan), CONTRACT.open_paths())


def main(argv: list[str] | None = None) -> None:
    """Serve, as `python app.py`; flags only set the environment that the app reads."""
    parser = argparse.ArgumentParser(description="Sluice: one small server in front of SLURM.")
    parser.add_argument("--store", help="the folder with everything that is remembered (default: ./data)")
    parser.add_argument("--host", help="the address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", help="the port to listen on (default: 8000)")
    parser.add_argument(
        "--cluster", choices=CHOICES["cluster"], help="real SLURM, the embedded cluster, or what is there"
    )
    parser.add_argument(
        "--new-token", metavar="NAME:SCOPE", help="print a new token for access.yaml and its entry, then end"
    )
    parser.add_argument(
        "--routes", action="store_true", help="print every operation with its method and path, then end"
    )
    given = parser.parse_args(argv)
    if given.routes:
        print(CONTRACT.table())
        return
    if given.new_token:
        name, _, scope = given.new_token.partition(":")
        token, hashed = access.new_token()
        entry = f"  - {{name: {name}, sha256: {hashed}, scopes: [{scope or 'write'}]}}"
        print(f"The token, shown this once: {token}", "Its entry in access.yaml:", "tokens:", entry, sep="\n")
        return
    for name in ("store", "host", "port", "cluster"):
        if getattr(given, name) is not None:
            os.environ[f"SLUICE_{name.upper()}"] = getattr(given, name)
    serve()


# A request that waits for a long transfer does not keep the server from ending.
GRACE_S = 5


def serve() -> None:
    """Serve until told to end; refuses a bind that the whole network could use without credentials."""
    import uvicorn  # here, since the app itself also runs under any other server

    try:
        settings = settings_now()
    except ValueError as problem:
        sys.exit(str(problem))
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells every change
    if not access.is_loopback(settings.host) and not access.read(settings.store / "access.yaml").tokens:
        sys.exit(f"Listening on {settings.host} needs a token: python app.py --new-token NAME:write tells how")
    if os.geteuid() == 0:
        log.warning("running as root: every job runs as root too")
    uvicorn.run(
        app, host=settings.host, port=settings.port, log_level="warning", access_log=False, proxy_headers=False,
        server_header=False, date_header=True, lifespan="on", http=protocol(), timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip


def protocol() -> type[asyncio.Protocol]:
    """uvicorn's side of a connection, which refuses what is no HTTP as everything else is refused here."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # as uvicorn above

    class Protocol(HttpToolsProtocol):
        def send_400_response(self, msg: str) -> None:
            request_id = new_request_id()
            status, headers, body = refusal(BadRequest(msg), request_id.decode(), {"type": "http"})
            told = [
                *((b"date", value) for name, value in self.server_state.default_headers if name == b"date"),
                (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"), (b"x-request-id", request_id), *headers, *STRICT,
            ]  # fmt: skip
            lines = [b"HTTP/1.1 %d Bad Request" % status, *(name + b": " + value for name, value in told)]
            self.transport.write(b"\r\n".join([*lines, b"", body]))
            self.transport.close()

    return Protocol


if __name__ == "__main__":
    main()

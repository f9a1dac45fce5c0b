"""Sluice: one small server in front of SLURM. This is its HTTP side.

    request ─ route ─ guard ─ contract ─ operation ─┬─ store/        files under $SLUICE_STORE, index in memory
     answer ─ shape of the family ──────────────────┴─ slurm_shim/   one shared snapshot; sh → sbatch squeue …
    between requests: engine/ reconciles runs, sweeps and jobs in store/ with what the snapshot says

The words in use:
    contract    contract.yaml, read once at start: what every operation takes and answers, and who may call it
    family      one of the APIs, a row of FAMILIES: all that it does its own way
    operation   a plain function named after its operationId; its parameters are `server` and the contract's
    caller      who asks, with scopes report / read / write / admin
    run         one execution of a workflow: {"id": "a1b2…", "status": "running", "jobs": [...]}
    attempt     one try of one job of a run; `tag` travels in SLURM's comment, `job_id` is SLURM's
    record      one job submitted outside of any run
    snapshot    what SLURM said last; every read answers from it
    watch       who is told of one job, run or sweep; what there is to tell becomes deliveries to endpoints
    step        what a pure rule asks to be done next: submit, cancel, read a result
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import itertools
import logging
import math
import os
import random
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import orjson
from starlette.responses import FileResponse
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine import change_sources, loop, workflow_files
from engine.callers import sessions, token_calls
from engine.callers.yaptide import realm_keys
from engine.config import configuration
from engine.families import s9s as s9s_operations
from engine.families import srtslurm as srtslurm_operations
from engine.families import srunx as srunx_operations
from engine.families import yaptide as yaptide_operations
from engine.live import sockets
from engine.monitoring import cluster_status, overview
from engine.monitoring.request_counts import NO_OPERATION
from engine.server import Server
from engine.simulations import workers
from engine.tasks import call_on_signal, end_task, log
from http_server import websocket
from http_server.command_line import make_parser
from http_server.pages import make_pages
from http_server.problems import (
    BODY_PAUSE_S,
    BrokenBody,
    Degraded,
    Disconnected,
    Ending,
    HeadTooLarge,
    MediaType,
    NotStarted,
    TooMany,
    TooSlow,
    UnknownMethod,
    UnknownPath,
    WrongRange,
    check_head,
    find_body_length,
)
from http_server.starting import shorten_traceback
from http_server.ways import Way, find_way, remember_way
from http_server.websocket import Gone, WebSocket
from slurm_shim import errors as slurm_errors
from slurm_shim.threads import start_threads
from store import access, errors, jsons
from store.access import token_commands
from store.access.yaptide import user_commands
from store.config.log_format import Throttle, set_up_log
from store.config.settings import Settings
from store.contract import dump_contract, find_needed_components, load_contract
from store.contract_export import export_family
from store.disk.batches import Line
from store.indexes.bodies import Answer, Body, Versioned
from store.operations import FORM, JSON, RAW, Specification, list_operations, parse_form
from store.views import s9s, srunx, yaptide

HERE = Path(__file__).resolve().parent
VERSION = "0.1.0"


# ====================================================================================================================
# Settings
# ====================================================================================================================


# What the environment says (SLUICE_…); flags only set the environment. See store/config/settings.py.
read_settings = Settings.from_environment


# ====================================================================================================================
# Families
# ====================================================================================================================

Headers = Sequence[tuple[bytes, bytes]]
Problem = dict[str, Any]


@dataclass(frozen=True)
class Refusal:
    """Why there is no other answer, before the family gives it its shape."""

    status: int
    code: str  # the name of what went wrong: NotFound, TooLarge …
    message: str
    problems: Sequence[Problem]  # everything that is wrong with a request, each with its place
    request_id: str
    details: Mapping[str, Any] = field(default_factory=dict)  # what the exception is about, such as a missing job


@dataclass(frozen=True)
class Family:
    """What one API does its own way; all else is shared."""

    name: str  # its tag in contract.yaml
    roots: tuple[str, ...]  # whose unknown paths are this family's; the longest root counts
    envelope: Callable[[Refusal], bytes]  # the body of a refusal
    credentials: Mapping[str, access.Credential]  # by the scheme that `security` names
    # Where an operation or the whole family deviates from the table of statuses, by its document.
    statuses: Mapping[tuple[str, type[Exception]], int] = field(default_factory=dict)
    # Status and text of the document's own for a wrong value; None where it has none.
    odd_value: Callable[[Problem], tuple[int, str] | None] = lambda _problem: None
    # Operations for which the place of a problem in the body is told without the word "body".
    bare_places: Collection[str] = ()
    # Of every answer, by the caller and what is left of his rate; None where there is no limit.
    headers: Callable[[access.Caller | None, access.Window | None], Headers] | None = None
    has_rates: bool = False  # requests are counted within the rates of access.yaml
    envelopes: Mapping[str, Callable[[Refusal], bytes]] = field(default_factory=dict)  # of operations that differ
    aliases: Mapping[str, str] = field(default_factory=dict)  # {"/v1": "/api/v1"}: the same operations
    any_media_type: bool = False  # bodies are JSON, whatever their Content-Type says
    cors: Collection[str] = ()  # origins whose pages may read, beside those in access.yaml
    # Origins whose pages may do what a user may who has logged in there: with his cookies, by every method.
    partners: Callable[[Server], Collection[str]] = lambda _server: ()
    partner_paths: Collection[str] = ()  # the only ones that these may use; none: all


def write_detail(refusal: Refusal) -> bytes:
    """Write a refusal as FastAPI does.

    Everything that is wrong as a list, or else a text.
    """
    return jsons.dump_json({"detail": refusal.problems or refusal.message})


def write_s9s_error(refusal: Refusal) -> bytes:
    """Write a refusal as the S9S document does."""
    return jsons.dump_json(s9s.to_error_json(**vars(refusal), now=time.time()))


def write_yaptide_error(refusal: Refusal) -> bytes:
    """Write a refusal as YAPTIDE does."""
    message = yaptide.NO_TOKEN if refusal.code == "Unauthenticated" else refusal.message
    return jsons.dump_json(yaptide.to_error_json(message, refusal.problems))


def write_oauth_error(refusal: Refusal) -> bytes:
    """Write a refusal of a token as RFC 6749 does."""
    return jsons.dump_json(access.to_token_error_json(**vars(refusal)))


FAMILIES = (
    Family(
        name="srunx",
        roots=("/api",),
        envelope=write_detail,
        credentials={"bearer": access.check_bearer, "session": access.check_session},
        statuses={
            ("srunx_cancel_run", errors.Conflict): 422,
            ("srunx_submit_job", slurm_errors.SlurmConflict): 502,
            ("srunx_run_workflow", slurm_errors.SlurmConflict): 502,
            ("srunx_rerun_run", slurm_errors.SlurmConflict): 502,
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
        },
        odd_value=srunx.find_odd_value,
        bare_places=("srunx_update_config", "srunx_update_project"),
    ),
    Family(
        name="srtslurm",
        roots=("/srtslurm",),
        envelope=write_detail,
        # Its clients can write a token into a URL only.
        credentials={"bearer": access.check_bearer, "basic": access.check_basic, "session": access.check_session},
        statuses={("srtslurm", errors.NotJson): 400},
    ),
    Family(
        name="s9s",
        roots=("/api/v1", "/v1", "/oauth"),
        envelope=write_s9s_error,
        credentials={
            "bearer": access.check_any_bearer,
            "s9s_oauth": access.check_any_bearer,
            "s9s_api_key": access.check_api_key,
            "s9s_munge": access.check_munge,
            "s9s_certificate": access.check_certificate,
            "session": access.check_session,
        },
        statuses={
            ("s9s", errors.Invalid): 400,
            ("s9s", errors.StoreFull): 503,
            ("s9s", slurm_errors.SlurmInvalid): 400,
            ("s9s", slurm_errors.NodeUnknown): 404,
            ("s9s", slurm_errors.SlurmRefused): 500,
            ("s9s", slurm_errors.UnreadableAnswer): 500,
        },
        aliases={"/v1": "/api/v1"},
        headers=lambda _caller, window: access.list_rate_headers(window),
        has_rates=True,
        envelopes={"s9s_create_token": write_oauth_error},
    ),
    Family(
        name="yaptide",
        roots=("/jobs", "/auth", "/user", "/tasks", "/results", "/estimators", "/inputs", "/logfiles", "/clusters"),
        envelope=write_yaptide_error,
        credentials={
            "bearer": access.check_bearer,
            "yaptide_cookie": access.check_login,
            "yaptide_refresh": access.check_refresh,
            "session": access.check_session,
        },
        statuses={
            ("yaptide", errors.Invalid): 400,
            ("yaptide", errors.ConversionFailed): 500,
            ("yaptide", errors.TooManyOpen): 429,
            ("yaptide", errors.TooManyWaiting): 503,
            ("yaptide", realm_keys.KeycloakUnreachable): 503,
            ("yaptide", workers.WrongUpdateKey): 400,
            ("yaptide_update_job", workers.NoSimulation): 501,
        },
        any_media_type=True,
        partners=lambda server: server.store.config.yaptide.origins,
    ),
    Family(
        name="sluice",
        roots=("/",),
        envelope=write_detail,
        credentials={"bearer": access.check_bearer, "session": access.check_session},
        # Clients of YAPTIDE ask there whether the server is alive.
        partners=lambda server: server.store.config.yaptide.origins,
        partner_paths=("/",),
    ),
)


# ====================================================================================================================
# The way of a request
# ====================================================================================================================

Data = dict[str, Any]
Operation = Callable[..., Any]
OPERATIONS: dict[str, Operation] = {}


def operations(**functions: Operation) -> None:
    """Register functions of engine/ that answer operations as they are.

    For all others see collect_operations.
    """
    OPERATIONS.update(functions)


def collect_operations(names: Mapping[str, Any]) -> None:
    """Register functions whose names begin with that of a family."""
    prefixes = tuple(f"{family.name}_" for family in FAMILIES)
    OPERATIONS.update({name: names[name] for name in names if name.startswith(prefixes) and callable(names[name])})


class Call:
    """One request on its way, and what is known of it by now."""

    # What its head leads to, whoever calls; see http_server/ways.py.
    way: Way | None = None  # all of it, where that is remembered
    endpoint: Endpoint | None = None
    cors = access.NOT_SHARED
    arguments: Data | None = None  # checked parameters
    has_unread = is_socket = is_endless = False
    left_bytes = -1  # of the body, where its length is known
    prefix = "http.response"  # of messages of an answer
    # What is found out while it is answered.
    uid: int | None = None  # of the process that calls, where that is known
    caller: access.Caller | None = None
    facts: access.Facts | None = None  # by which it was told who calls
    is_counted = False
    window: access.Window | None = None  # what the caller has left of its rate
    who: str | None = None  # the caller's name, for the audit
    made_id: Any = None  # the id of what was made, for the audit
    line: Line | None = None  # of the audit, where it is in one commit with what was done
    change_header: Headers = ()  # what says which change is the last one that the answer holds
    status = 0
    close_code: int | None = None  # of a WebSocket
    is_late = False  # it is one refusal of too many
    leaving: asyncio.Task[None] | None = None  # ends when the client has left

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive_message, self.send_message = scope, receive, send
        self.server: Server | None = scope.get("state", NO_STATE).get("server")
        self.request_id = b"req_%012x" % random.getrandbits(48)
        self.access = NOBODY
        if self.server is not None:
            self.access, config = self.server.store.access, self.server.store.config
            if (way := find_way(self.server.ways, scope, self.access, config)) is not None:
                vars(self).update(way)
                self.way = way
                return
        self.path_params: Mapping[str, str] = {}
        # Not every server takes away the blanks behind a value.
        self.headers: dict[bytes, bytes] = {name: value.rstrip(b" \t") for name, value in scope["headers"]}
        self.left_bytes = find_body_length(self.headers)
        self.has_unread = b"transfer-encoding" in self.headers or self.headers.get(b"content-length", b"0") != b"0"
        self.method: str = scope.get("method", "")
        self.is_socket = scope["type"] == "websocket"
        self.is_endless = self.is_socket  # it lasts as long as its client wants: how long says nothing of the server
        if self.is_socket:
            self.prefix = "websocket.http.response"
        self.path = scope["path"] if scope["path"].isascii() else errors.print_text(scope["path"])
        self.family = PLAIN
        if REQUEST_ID.fullmatch(given := self.headers.get(b"x-request-id", b"")):
            self.request_id = given

    @property
    def base_url(self) -> str:
        """The URL under which the caller finds the family's operations.

        Without scheme and host where the request names none.
        """
        root = next((root for root in self.family.roots if f"{self.path}/".startswith(f"{root}/")), "")
        own = self.server.settings.root_path if self.server is not None else ""
        host = self.headers.get(b"host", b"").decode("latin-1")
        return f"{self.scope.get('scheme', 'http')}://{host}{own}{root}" if host else f"{own}{root}"

    def check_credentials(self) -> None:
        """Refuse a caller who counts no more, while a stream is open."""
        server, facts, endpoint = self.server, self.facts, self.endpoint
        if server is not None and facts is not None and endpoint is not None and self.caller is not None:
            session = sessions.find_kept(server, facts.session)
            facts = facts._replace(access=server.store.access, own=server.callers.own, session=session)
            access.admit_caller(endpoint.requirement, access.identify_caller(endpoint.requirement, facts))

    async def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send status and headers, and those that every answer has."""
        own = self.family.headers(self.caller, self.window) if self.family.headers is not None else ()
        self.status = status
        every = [*headers, (b"x-request-id", self.request_id), *STRICT, *own, *self.cors.headers]
        if not self.access.frame_ancestors:  # else the page's own policy says who may
            every.append((b"x-frame-options", b"DENY"))
        if self.has_unread:
            every.append((b"connection", b"close"))
        await self.send_message({"type": f"{self.prefix}.start", "status": status, "headers": every})

    async def finish(self, body: bytes = b"") -> None:
        """Send the body, or the rest of it."""
        if self.has_unread and self.status != STATUS[TooSlow] and not self.is_late:
            # A client that still sends when the connection is closed may never see the answer.
            await self.discard_body()
        body, begin = b"" if self.method == "HEAD" else body, 0
        while len(body) - begin > PIECE_BYTES:  # the server takes one when the client has read enough of those before
            piece, begin = body[begin : begin + PIECE_BYTES], begin + PIECE_BYTES
            await self.send_message({"type": f"{self.prefix}.body", "body": piece, "more_body": True})
        await self.send_message({"type": f"{self.prefix}.body", "body": body[begin:]})

    async def receive(self) -> Message:
        """Receive a piece of the body, or that the client has gone."""
        message = await self.receive_message()
        self.left_bytes -= len(message.get("body", b""))
        self.has_unread &= bool(message.get("more_body") and self.left_bytes)  # the end may come apart, in one more
        return message

    def watch_client(self) -> asyncio.Task[None]:
        """Watch whether the client leaves, in one task for the whole call.

        Where a `receive` is cancelled soon after it began, granian's next one says that the client has left.
        """
        self.leaving = self.leaving or asyncio.ensure_future(wait_for_disconnect(self.receive))
        return self.leaving

    def stop_watching(self) -> None:
        """End what `watch_client` began."""
        leaving, self.leaving = self.leaving, None  # what ended it holds this call
        if leaving is not None:
            leaving.cancel()

    async def await_while_there(self, reading: Coroutine[Any, Any, Any]) -> Any:
        """Await what is read for the client; give it up when the client leaves.

        What it waits for, such as a question to SLURM, is then asked for nobody. What is quick is not watched.
        """
        task, is_reading, has_left = asyncio.current_task(), True, False

        def leave(watching: asyncio.Task[None]) -> None:
            nonlocal has_left
            has_left = is_reading and not watching.cancelled()
            if has_left and task is not None:
                task.cancel()

        loop = asyncio.get_running_loop()
        timer = loop.call_later(WATCH_AFTER_S, lambda: self.watch_client().add_done_callback(leave))
        try:
            return await reading
        except asyncio.CancelledError:
            if has_left:
                raise Disconnected from None
            raise
        finally:
            is_reading = False
            timer.cancel()

    async def discard_body(self) -> None:
        """Read what is left of the body, within bounds."""
        self.stop_watching()
        size_bytes = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while self.has_unread and size_bytes <= DISCARD_BYTES:
                    size_bytes += max(len((await self.receive()).get("body", b"")), DISCARD_LEAST_BYTES)

    async def send(self, message: Message) -> None:
        """Send what an answer of Starlette says, with our headers."""
        if message["type"] == "http.response.start":
            await self.start(message["status"], message["headers"])
        elif message.get("more_body"):
            await self.send_message({**message, "body": b""} if self.method == "HEAD" else message)
        else:
            await self.finish(message.get("body", b""))


NO_STATE: dict[str, Any] = {}
# Headers that an operation may ask for by their names, since OpenAPI does not let a contract describe them.
HEADER_ARGUMENTS = frozenset({"accept", "authorization"})
# Where an answer names what was made.
MADE_IDS = ("id", "job_id", "run_id", "export_id", "report_id")
NOBODY = access.Access()
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# A client is watched that waits for so long.
WATCH_AFTER_S = 0.05
PIECE_BYTES = 256_000  # of an answer that is larger, so much is sent at once
# So much of a body that nobody wants is read, at most for so long. A piece counts as so much at least: it costs time.
DISCARD_BYTES, DISCARD_LEAST_BYTES = 64_000_000, 2000
DISCARD_S = 10.0
# So long the body may make no progress, and so many pieces of it may be smaller than this.
SMALL_PIECES, SMALL_BYTES = 10_000, 100
# Every answer keeps browsers strict.
STRICT = (
    (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"),
    # Pages of origins that CORS allows read all the same.
    (b"cross-origin-resource-policy", b"same-origin"),
)  # fmt: skip
# What callers have sent is never shown by a browser as a page of this server.
DOWNLOAD = ((b"content-disposition", b"attachment"), (b"content-security-policy", b"sandbox"))
NO_STORE = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))
# A proxy that compressed them would gather them first.
STREAM = ((b"cache-control", b"no-store, no-transform"), (b"x-accel-buffering", b"no"))
EVENTS = b"text/event-stream"


class Endpoint:
    """One operation of the contract with its function.

    Request → checked arguments → function → answer. `speak` is the function that answers WebSockets, if any.
    """

    def __init__(
        self,
        contract: dict[str, Any],
        spec: Specification,
        function: Operation,
        family: Family,
        speak: Operation | None = None,
    ) -> None:
        self.spec, self.function, self.family, self.speak = spec, function, family, speak
        self.is_async = inspect.iscoroutinefunction(function)
        self.media_type = spec.media_type.encode()
        self.operation_id = spec.operation_id
        self.requirement = access.compile_security(spec.operation_id, spec.security, family.credentials)
        self.parameters = Checker(contract, spec.parameters_schema)
        self.body = Checker(contract, spec.body_schema) if spec.body_schema and not spec.streams_body else None
        offered = {parameter.argument for parameter in spec.parameters} | {"server", "caller", "facts", "base_url"}
        offered |= HEADER_ARGUMENTS | {"make_line"}
        offered |= {"body"} if spec.has_body else set()
        spoken = {parameter.argument for parameter in spec.parameters} | {"server", "caller", "socket"}
        self.wants = find_wanted(spec.operation_id, function, offered)
        self.speak_wants = find_wanted(str(spec.socket_id), speak, spoken) if speak else set()
        self.wanted_headers = self.wants & HEADER_ARGUMENTS
        self.defaults = spec.defaults
        self.wants_more = spec.has_body or not self.wants.isdisjoint(
            {"caller", "facts", "base_url", "make_line", *HEADER_ARGUMENTS}
        )

    async def call_function(self, call: Call) -> Any:
        """Return what the function gives for this request."""
        if (arguments := call.arguments) is None:
            has_defaults = self.defaults is not None and not call.scope["query_string"]
            given = self.defaults if has_defaults and self.defaults is not None else self.read_arguments(call)
            arguments = {name: value for name, value in given.items() if name in self.wants}
            if call.way is not None:
                call.way["arguments"] = arguments
        if "server" in self.wants:
            if call.server is None:
                raise NotStarted
            arguments = {**arguments, "server": call.server}
        if self.wants_more:
            arguments = {**arguments, **await self.gather_more(call)}
        if self.spec.has_change_number and call.server is not None:
            call.change_header = ((b"x-change", str(call.server.changes.position).encode()),)
        value = self.function(**arguments)
        if not self.is_async and not inspect.iscoroutine(value):
            return value
        # A change is made to its end, whoever has left.
        return await (call.await_while_there(value) if call.method in READING else value)

    async def gather_more(self, call: Call) -> Data:
        """Return what the function wants beside parameters and server."""
        arguments: Data = {}
        if self.body is not None:
            arguments["body"] = await self.read_json(call, self.body)
        elif self.spec.streams_body:
            arguments["body"] = receive_pieces(call)
        elif self.spec.raw_limit_bytes is not None:
            arguments["body"] = await read_body(call, self.spec.raw_limit_bytes, RAW)
        arguments |= {"caller": call.caller, "facts": call.facts, "make_line": functools.partial(make_line, call)}
        for name in self.wanted_headers:
            arguments[name] = call.headers.get(name.encode(), b"").decode("latin-1")
        if "base_url" in self.wants:
            arguments["base_url"] = call.base_url
        return {name: value for name, value in arguments.items() if name in self.wants}

    def read_arguments(self, call: Call) -> Data:
        """Return the checked parameters by the names that the function uses.

        Raises Invalid with everything that is wrong.
        """
        query = call.scope["query_string"].decode("latin-1")
        texts: dict[str, Mapping[str, str]] = {"path": call.path_params, "query": self.spec.read_query(query)}
        if "header" in self.spec.places:
            texts["header"] = {name.decode("latin-1"): value.decode("latin-1") for name, value in call.headers.items()}
        arguments, values = self.spec.read_arguments(texts)
        has_nul = "\0" in call.path or "%00" in query
        if problems := (has_nul and jsons.find_nul_problems(values)) or self.parameters.find_problems(values):
            raise errors.Invalid(problems)
        return arguments

    async def read_json(self, call: Call, checker: Checker) -> Any:
        """Return the parsed and checked JSON body, top-level defaults filled in."""
        if call.server is None:
            raise NotStarted
        kinds = (JSON, FORM) if self.spec.takes_form else (JSON,)
        data = await read_body(call, self.spec.find_body_limit(call.server.store.config), *kinds)
        if not data and not self.spec.body_required:
            return dict(self.spec.body_defaults)
        if (encoding := jsons.find_other_encoding(data)) is not None:
            raise MediaType(f"The body must be UTF-8, not {encoding}")
        is_form = self.spec.takes_form and read_media_type(call) == FORM
        value = parse_form(data) if is_form else jsons.parse_json(data)
        if self.spec.correct_body is not None:
            value = self.spec.correct_body(value)
        is_object = isinstance(value, dict)
        prefix = () if self.spec.operation_id in self.family.bare_places and is_object else ("body",)
        has_nul = rb"\u0000" in data
        if problems := (has_nul and jsons.find_nul_problems(value, *prefix)) or checker.find_problems(value, *prefix):
            raise (errors.Invalid if is_object else errors.NotJson)(problems)
        return {**self.spec.body_defaults, **value} if is_object else value

    async def call_socket_function(self, call: Call, socket: WebSocket) -> None:
        """Have the function speak over the socket, once it is known who calls."""
        assert self.speak is not None
        arguments = self.read_arguments(call)
        if call.server is None:
            raise NotStarted
        if self.requirement.credentials and call.caller is None:
            await authenticate(call, self.requirement, socket)
        arguments |= {"server": call.server, "caller": call.caller, "socket": socket}
        await self.speak(**{name: arguments[name] for name in self.speak_wants})

    async def answer(self, call: Call, value: Any, streams: set[asyncio.Task[None]]) -> None:
        """Send what the function gave, with the status that the contract declares.

        That is plain data, a Body, a Versioned value, a file (its Path), an async iterator of bytes, closed when
        nobody reads it any more, or an Answer, which says more about one of these.
        """
        headers, media_type, filename = list(call.change_header), self.media_type, None
        if type(value) is Answer:
            if value.age_s is not None:
                headers.append((b"x-snapshot-age", b"%.1f" % value.age_s))
            if value.total is not None:
                headers.append((b"x-total-count", b"%d" % value.total))
            media_type = value.media_type.encode() if value.media_type is not None else media_type
            if value.location is not None:
                headers.append((b"location", value.location.encode("latin-1")))
            headers += DOWNLOAD[1:] if value.filename else DOWNLOAD if value.download else ()
            headers += NO_STORE if value.is_secret else ()
            headers += ((b"set-cookie", cookie.encode("latin-1")) for cookie in value.cookies)
            call.who = value.caller or call.who
            value, filename = value.value, value.filename
        headers.append((b"content-type", media_type))
        if self.spec.status == 204:
            await call.start(204, [header for header in headers if header[0] == b"set-cookie"])
            await call.finish()
        elif type(value) is Body:
            await send_body(call, self.spec.status, headers, value, value.etag.encode())
        elif type(value) is Versioned:
            made = value.value if isinstance(value.value, Body) else Body(jsons.dump_json(value.value))
            # More than one file may have a part in plain data: its ETag names the version, and tells answers apart.
            more = "" if made is value.value else f".{made.etag[1:17]}"
            etag = made.etag if value.etag is None else f'"{value.etag}{more}"'
            await send_body(call, self.spec.status, headers, made, etag.encode())
        elif isinstance(value, Path):
            await send_file(call, self.spec.status, headers, value, filename)
        elif hasattr(value, "__aiter__"):
            # The server's end ends what has no end of its own; the rest is sent whole, or is broken off.
            call.is_endless = media_type == EVENTS
            if filename is not None:
                headers.append((b"content-disposition", b"attachment; filename*=utf-8''%b" % quote(filename).encode()))
            endless = streams if call.is_endless else set()
            await send_stream(call, self.spec.status, [*headers, *STREAM], value, endless)
        else:
            if call.method not in READING and isinstance(value, dict):
                call.made_id = next((value[name] for name in MADE_IDS if value.get(name)), None)
            data = value if isinstance(value, bytes) else jsons.dump_json(value)
            await call.start(self.spec.status, [*headers, (b"content-length", b"%d" % len(data))])
            await call.finish(data)


def find_wanted(operation_id: str, function: Operation, offered: Collection[str]) -> set[str]:
    """Return which of the offered arguments the function takes.

    Raises RuntimeError when it needs others.
    """
    wanted = inspect.signature(function).parameters
    required = {name for name, part in wanted.items() if part.default is inspect.Parameter.empty}
    if missing := required - set(offered):
        raise RuntimeError(f"{operation_id} asks for {sorted(missing)}, which contract.yaml does not give")
    return set(wanted) & set(offered)


class Checker:
    """Checks values by a schema of the contract, compiled when first needed."""

    def __init__(self, contract: dict[str, Any], schema: dict[str, Any]) -> None:
        self.part, self.components = schema, {"components": contract["components"]}  # the rest is let go

    @functools.cached_property
    def schema(self) -> dict[str, Any]:
        """The schema, with all components that it refers to."""
        return {"$schema": DIALECT, **self.part, "components": find_needed_components(self.components, self.part)}

    @functools.cached_property
    def validator(self) -> jsonschema_rs.Validator:
        """What checks values by the schema."""
        return jsonschema_rs.validator_for(self.schema)

    def find_problems(self, value: Any, *prefix: str) -> list[Problem]:
        """Return everything that is wrong with the value.

        Places begin with `prefix`.
        """
        if self.validator.is_valid(value):
            return []
        wrong = self.find_first_error(value) if jsons.has_many_parts(value) else self.validator.iter_errors(value)
        problems = (problem for error in wrong for problem in jsons.list_problems(error, self.schema, *prefix))
        return list(itertools.islice(problems, errors.TOLD_PROBLEMS))

    def find_first_error(self, value: Any) -> list[jsonschema_rs.ValidationError]:
        """Return one thing that is wrong with the value.

        The library gathers all of them before it tells the first: seconds of work where thousands of parts are wrong.
        """
        try:
            self.validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return [error]
        return []


DIALECT = "https://json-schema.org/draft/2020-12/schema"
GZIP = re.compile(rb"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))")
GZIP_BYTES = 2000  # below, it is not worth it


async def send_body(call: Call, status: int, headers: list[tuple[bytes, bytes]], body: Body, etag: bytes) -> None:
    """Send kept bytes.

    Only their ETag when the client has them, gzipped when it is worth it and wanted.
    """
    headers += ((b"etag", etag), (b"cache-control", b"private, max-age=0"), (b"vary", b"accept-encoding"))
    if has_version(call, etag):
        await send_unchanged(call, headers)
        return
    pieces, size_bytes = body.split(), body.size_bytes
    encodings = call.headers.get(b"accept-encoding")
    if encodings and size_bytes > GZIP_BYTES and GZIP.search(encodings):
        data = await body.compress()
        pieces, size_bytes = iter([data]), len(data)
        headers.append((b"content-encoding", b"gzip"))
    headers.append((b"content-length", b"%d" % size_bytes))
    await call.start(status, headers)
    piece = next(pieces)
    for later in () if call.method == "HEAD" else pieces:
        await call.send_message({"type": f"{call.prefix}.body", "body": piece, "more_body": True})
        piece = later
    await call.finish(piece)


def has_version(call: Call, etag: bytes) -> bool:
    """Return whether the client has this version, as If-None-Match says."""
    if b"if-none-match" not in call.headers or call.method not in ("GET", "HEAD"):
        return False
    given = b",".join(value for name, value in call.scope["headers"] if name == b"if-none-match")
    return not {etag, b"*"}.isdisjoint(tag.strip().removeprefix(b"W/") for tag in given.split(b","))


async def send_unchanged(call: Call, headers: Headers) -> None:
    """Send no more than that the client has this version."""
    await call.start(304, [header for header in headers if header[0] not in (b"content-type", b"content-length")])
    await call.finish()


async def send_file(call: Call, status: int, headers: Headers, path: Path, filename: str | None) -> None:
    """Send a file, the ranges of it that are asked for, or its ETag only.

    `filename` is what a browser saves it as. Raises WrongRange.
    """
    found = await asyncio.to_thread(path.stat)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] in (400, 416):
            raise WrongRange(found.st_size)
        await call.send(message)

    *beside, (_, media_type) = ((key.decode(), text.decode()) for key, text in headers)
    made = FileResponse(path, status, dict(beside), media_type, filename=filename, stat_result=found)
    if has_version(call, made.headers["etag"].encode()):
        await send_unchanged(call, made.raw_headers)
        return
    await made(call.scope, call.receive, send)


async def send_stream(
    call: Call, status: int, headers: Headers, pieces: AsyncIterator[bytes], streams: set[asyncio.Task[None]]
) -> None:
    """Send the pieces as they come.

    Ends when there are no more, the client leaves, the server ends the stream, or the caller counts no more.
    What goes wrong before the first piece becomes a refusal. The iterator is closed in any case.
    """
    sending = asyncio.ensure_future(send_pieces(call, status, headers, pieces))
    leaving = call.watch_client()
    streams.add(sending)
    try:
        while not sending.done() and not leaving.done():
            if call.is_endless:
                call.check_credentials()
            await asyncio.wait({sending, leaving}, timeout=websocket.CHECK_S, return_when=asyncio.FIRST_COMPLETED)
    except REFUSED_CALLERS as refused:
        if not call.status:
            raise
        report_refusal(call, refused)
    finally:
        streams.discard(sending)
        gone = leaving.done() and not sending.done()
        sending.cancel()
        await asyncio.wait({sending})
    if gone:
        raise Disconnected
    if not sending.cancelled() and (problem := sending.exception()) is not None:
        raise problem
    if not call.status:
        await call.start(status, headers)
    await call.finish()


async def send_pieces(call: Call, status: int, headers: Headers, pieces: AsyncIterator[bytes]) -> None:
    """Send the headers with the first piece, and all others after it."""
    try:
        if call.method == "HEAD":
            return
        async for piece in pieces:
            if not call.status:
                await call.start(status, headers)
            await call.send_message({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        if (close := getattr(pieces, "aclose", None)) is not None:
            await close()


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def read_body(call: Call, limit_bytes: int, *kinds: str) -> bytes:
    """Return the body, counted while it comes in.

    Raises TooLarge, and MediaType when it is not declared as what it must be.
    """
    if call.left_bytes > limit_bytes:
        raise errors.TooLarge(limit_bytes, "the body")
    size_bytes, chunks = 0, []
    async for chunk in receive_pieces(call):
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise errors.TooLarge(limit_bytes, "the body")
        chunks.append(chunk)
    data = b"".join(chunks)
    if data:
        require_media_type(call, *kinds)
    return data


async def receive_pieces(call: Call) -> AsyncIterator[bytes]:
    """Yield the pieces of the body as they come; who reads them bounds them."""
    small, is_whole = 0, False
    while not is_whole:
        try:
            async with asyncio.timeout(BODY_PAUSE_S):
                message = await call.receive()
        except TimeoutError:
            raise TooSlow from None
        if message["type"] == "http.disconnect":
            raise BrokenBody
        is_whole = not message.get("more_body") or not call.left_bytes
        small += len(message.get("body", b"")) < SMALL_BYTES
        if small > SMALL_PIECES:
            raise BrokenBody(f"More than {SMALL_PIECES} pieces of the body have less than {SMALL_BYTES} bytes")
        yield message.get("body", b"")


class PathItem:
    """All operations of one path, by method."""

    def __init__(self, path: str) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))

    @functools.cached_property
    def family(self) -> Family:
        """The family that refuses other methods."""
        return next(iter(self.endpoints.values())).family

    @functools.cached_property
    def allow(self) -> str:
        """The methods, as the header Allow names them."""
        return ", ".join(sorted({*self.endpoints, *(["HEAD"] if "GET" in self.endpoints else [])}))


def compile_paths(
    contract: dict[str, Any], families: Iterable[Family], functions: Mapping[str, Operation]
) -> dict[str, PathItem]:
    """Return what answers each path.

    Raises RuntimeError when contract, families and functions do not fit together.
    """
    by_name = {family.name: family for family in families}
    items: dict[str, PathItem] = {}
    for path, method, found in list_operations(contract):
        spec = Specification(contract, path, found)
        promised = {spec.operation_id, spec.socket_id or spec.operation_id}
        if missing := promised - set(functions):
            raise RuntimeError(f"contract.yaml promises {', '.join(missing)}, which app.py does not have")
        if spec.family not in by_name:
            raise RuntimeError(f"{spec.operation_id} belongs to the unknown family {spec.family}")
        speak = functions[spec.socket_id] if spec.socket_id else None
        endpoint = Endpoint(contract, spec, functions[spec.operation_id], by_name[spec.family], speak)
        items.setdefault(path, PathItem(path)).endpoints[method] = endpoint
    specs = [endpoint.spec for item in items.values() for endpoint in item.endpoints.values()]
    declared = {name for spec in specs for name in (spec.operation_id, spec.socket_id)}
    if unpromised := set(functions) - declared:
        raise RuntimeError(f"app.py has {sorted(unpromised)}, which contract.yaml does not promise")
    return items


class App:
    """The HTTP side as an ASGI app.

    It finds the operation, lets the caller in, calls it, sends the answer.
    Its lifespan opens the server, which requests find in their state; two apps in one process have nothing in common.
    """

    def __init__(
        self,
        contract: dict[str, Any],
        families: Sequence[Family],
        functions: Mapping[str, Operation],
        pages: Mapping[str, ASGIApp],
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings
        self.families = families
        self.pages = pages
        items = compile_paths(contract, families, functions)
        self.exact = {path: item for path, item in items.items() if "{" not in path}
        self.templates = [path for path in items if "{" in path]
        self.matched: dict[tuple[int, str], list[PathItem]] = {}  # by the number of slashes and the first word
        for path, item in items.items():
            if path not in self.exact:
                self.matched.setdefault((path.count("/"), path[1:].partition("/")[0]), []).append(item)
        roots = [(root.rstrip("/"), family) for family in families for root in family.roots]
        self.roots = sorted(roots, key=lambda row: -len(row[0]))
        self.aliases = [alias for family in families for alias in family.aliases.items()]
        # Who may learn that a path or a method is unknown.
        self.unknown = {
            family.name: access.Requirement((*family.credentials.values(), access.check_own_user), "read")
            for family in (*families, PLAIN)
        }
        self.streams: set[asyncio.Task[None]] = set()
        self.router = Router(lifespan=self.lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.router(scope, receive, shorten_traceback(send))
            return
        call, began = Call(scope, receive, send), time.perf_counter()
        try:
            await self.handle(call)
        except Disconnected:
            return
        except Exception as problem:
            if call.status:
                raise
            problem = count_refusal(call, problem)
            await wait_in_line(call, problem)
            await refuse(call, problem)
        except asyncio.CancelledError:
            if call.status or (task := asyncio.current_task()) is None:
                raise
            # Answering is all that is left to do: deadlines within it count only their own cancelling from here on.
            task.uncancel()
            await refuse(call, Ending())
        finally:
            call.stop_watching()
            if call.server is not None and call.status:
                name = call.endpoint.operation_id if call.endpoint else NO_OPERATION
                took_s = None if call.is_endless else time.perf_counter() - began
                call.server.requests.observe_request(name, call.status, took_s)
        if access_log.isEnabledFor(logging.DEBUG):
            who, path = call.who or "nobody", quote(call.path)
            access_log.debug("%s %s %s: %d for %s", read_client(call), call.method, path, call.status, who)
        if call.server is not None and call.method not in READING:
            await write_audit(call)

    async def handle(self, call: Call) -> None:
        """Lead the call to its operation, and answer it; exceptions say why not."""
        if call.server is not None:
            client, server = call.scope.get("client") or ("", 0), call.scope.get("server") or ("", 0)
            call.uid = call.server.callers.peers.find_uid(client, server)
        item, is_preflight, page = None, False, None
        if call.way is None:
            item = self.route(call)
            call.endpoint = find_endpoint(call, item)
            owner = call.endpoint or item
            call.family = self.find_family(call.path) if owner is None else owner.family
            is_preflight = check_source(call)
            # The pages themselves tell nothing: what they show is asked for with credentials.
            page = self.find_page(call, item)
            if call.server is not None and call.endpoint is not None and page is None:
                call.way = remember_way(call.server.ways, call.scope, call, call.server.store.config)
        endpoint = call.endpoint
        requirement = endpoint.requirement if endpoint is not None else self.unknown[call.family.name]
        asks_facts = endpoint is not None and "facts" in endpoint.wants
        if (requirement.credentials or asks_facts) and page is None and not is_preflight:
            await (let_socket_in if call.is_socket and endpoint is not None else let_in)(call, requirement)
        if not is_preflight:
            count_rate(call)
        callers = call.server.callers if call.server is not None else None
        if callers is not None and (wait_s := callers.count_request(call.caller, read_client(call), call.uid)):
            raise TooMany("Too many requests", wait_s)
        if is_preflight:
            await answer_preflight(call)
        elif page is not None:
            await show_page(call, page)
        elif call.is_socket and endpoint is not None:
            await serve_socket(call, endpoint, self.streams)
        elif endpoint is not None:
            await endpoint.answer(call, await endpoint.call_function(call), self.streams)
        elif item is not None:
            raise UnknownPath("This path answers no WebSockets") if call.is_socket else UnknownMethod(item.allow)
        elif call.path in self.pages and not call.is_socket:
            raise UnknownMethod("GET, HEAD")
        else:
            raise UnknownPath(self.suggest_path(call))

    def route(self, call: Call) -> PathItem | None:
        """Find what answers the path.

        The call has the contract's path from now on: without prefixes, aliases replaced.
        """
        scope = call.scope
        given = scope.get("root_path") or ""
        own = call.server.settings.root_path if call.server is not None else ""
        if given or own:
            call.path = strip_prefix(call.path, given, own)
        # Clients that join the parts of a URL may leave a slash at its end; alone it is a path.
        path = call.path.removesuffix("/")
        path = call.path if path in ("", "/") else path
        item = self.find_item(call, path)
        if item is None:
            for alias, target in self.aliases:
                if f"{path}/".startswith(f"{alias}/"):
                    return self.find_item(call, target + path[len(alias) :])
        return item

    def find_item(self, call: Call, path: str) -> PathItem | None:
        """Find what answers a path of the contract.

        The call has the values of its parameters then.
        """
        if (item := self.exact.get(path)) is not None:
            return item
        for item in self.matched.get((path.count("/"), path[1:].partition("/")[0]), ()):
            if (match := item.pattern.fullmatch(path)) is not None:
                call.path_params = match.groupdict()
                return item
        return None

    def find_family(self, path: str) -> Family:
        """Return the family that an unknown path belongs to."""
        return next((family for root, family in self.roots if f"{path}/".startswith(f"{root}/")), PLAIN)

    def suggest_path(self, call: Call) -> str:
        """Return a sentence on an unknown path, with a near one."""
        root = next((root for root, _ in self.roots if f"{call.path}/".startswith(f"{root}/")), "")
        target = f"{dict(self.aliases).get(root, root)}/"
        known = [path for path in (*self.exact, *self.templates) if path.startswith(target)]
        given = call.path[len(root) :]
        near = errors.suggest_word(given, [path[len(target) - 1 :] for path in known])
        return f"There is no {given[:80] or '/'}{root and f' below {root}'}{near or '; /docs shows every path'}"

    def find_page(self, call: Call, item: PathItem | None) -> ASGIApp | None:
        """Find the page of a path.

        Where programs get an answer as well, the page is for those who ask for HTML.
        """
        if call.is_socket or call.method not in ("GET", "HEAD"):
            return None
        wants_html = item is None or b"text/html" in call.headers.get(b"accept", b"")
        return self.pages.get(call.path) if wants_html else None

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[dict[str, Server]]:
        """Open the server, which the state of every request has then."""
        names = [family.name for family in self.families]
        async with open_server(self.settings or read_settings(), names) as server:
            # Requests that wait for a change are answered before the server waits for them.
            with call_on_signal(server.changes.close), call_on_signal(self.end_streams):
                yield {"server": server}
                server.changes.close()
                self.end_streams()

    def end_streams(self) -> None:
        """End all streams of events, and all WebSockets."""
        for task in list(self.streams):
            task.cancel()


async def show_page(call: Call, page: ASGIApp) -> None:
    """Send a page, whole: it tells nothing but what everybody may see."""
    headers = [(name, value) for name, value in call.scope["headers"] if name not in (b"range", b"if-range")]
    state = {"frame_ancestors": call.access.frame_ancestors, "path": call.scope["path"]}
    await page(
        {**call.scope, "path": call.path, "root_path": "", "headers": headers, "state": state}, call.receive, call.send
    )


def find_endpoint(call: Call, item: PathItem | None) -> Endpoint | None:
    """Find the operation of the method, or the one that answers WebSockets."""
    if item is None:
        return None
    if call.is_socket:
        return next((endpoint for endpoint in item.endpoints.values() if endpoint.speak), None)
    return item.endpoints.get("GET" if call.method == "HEAD" else call.method)


def strip_prefix(path: str, *prefixes: str) -> str:
    """Return the path without the prefix that a proxy or a mount added."""
    for prefix in prefixes:
        if prefix and f"{path}/".startswith(f"{prefix}/"):
            return path[len(prefix) :] or "/"
    return path


# ====================================================================================================================
# Guard
# ====================================================================================================================

READING = frozenset({"GET", "HEAD", "OPTIONS"})
# What other sites may link to: the pages that a person opens.
LINKED = frozenset({"/", "/docs", "/docs/", "/redoc", "/redoc/"})


def check_source(call: Call) -> bool:
    """Check host, origin and media type.

    Returns whether the call is a preflight to be answered at once.
    Nothing is asked of the server yet but which hosts and origins it knows.
    """
    check_head(call.scope)
    if len(call.headers) != len(call.scope["headers"]):
        access.check_doubles(call.scope["headers"])
    if not is_bare_check(call):
        hosts = call.server.callers.hosts if call.server is not None else access.LOOPBACK_NAMES
        access.check_host(call.headers, hosts)
    partners = find_partners(call)
    if call.scope["type"] == "http" and call.method in READING:
        readers = (*call.family.cors, *call.access.cors.get(call.family.name, ()))
        call.cors = access.share_answers(call.headers, readers, partners)
        if not (call.path in LINKED and access.is_navigation(call.headers)):
            access.check_origin(call.headers, (*readers, *partners))
        return call.cors.is_preflight(call.method, call.headers)
    call.cors = access.share_answers(call.headers, (), partners)
    access.check_origin(call.headers, partners)
    if call.scope["type"] == "http" and b"content-type" in call.headers:
        takes_form = call.endpoint is not None and call.endpoint.spec.takes_form
        require_media_type(call, JSON, RAW, *((FORM,) if takes_form else ()))
    coding = call.headers.get(b"content-encoding", b"identity").decode("latin-1")
    if coding.lower() not in ("", "identity"):
        raise MediaType(f"Content-Encoding {coding[:40]} is not taken: send the body as it is")
    return False


def find_partners(call: Call) -> Collection[str]:
    """Return the origins whose pages may call this with their cookies."""
    is_shared = not call.family.partner_paths or call.path in call.family.partner_paths
    return call.family.partners(call.server) if call.server is not None and is_shared and not call.is_socket else ()


def is_bare_check(call: Call) -> bool:
    """Return whether a monitor of this machine asks without a Host.

    That is usual with HTTP/1.0, and no browser does it. Only for what everybody may see.
    """
    is_open = call.endpoint is not None and not call.endpoint.requirement.credentials
    old = call.scope.get("http_version") in ("1.0", "1") and not call.headers.get(b"host")
    return is_open and old and access.is_loopback(read_client(call))


async def answer_preflight(call: Call) -> None:
    """Tell a browser what a page of an allowed origin may do."""
    await call.start(204, call.cors.list_preflight_headers())
    await call.finish()


def read_media_type(call: Call) -> str:
    """Return the media type of the body, without what stands behind it."""
    return call.headers.get(b"content-type", b"").split(b";")[0].strip().lower().decode("latin-1")


def require_media_type(call: Call, *kinds: str) -> None:
    """Refuse another media type.

    A form that a foreign page can send without asking is taken only where it brings a secret along and changes nothing.
    """
    kind = read_media_type(call)
    if call.family.any_media_type:
        return  # check_origin keeps foreign pages out, which may send some kinds without asking
    if kind not in kinds and not (JSON in kinds and kind.startswith("application/") and kind.endswith("+json")):
        # Only what this operation takes is named.
        takes_raw = call.endpoint is not None and call.endpoint.spec.raw_limit_bytes is not None
        kinds = (RAW,) if takes_raw else tuple(name for name in kinds if name != RAW)
        raise MediaType(f"Content-Type must be {' or '.join(kinds)}")


async def let_in(call: Call, requirement: access.Requirement, facts: access.Facts | None = None) -> None:
    """Note who calls, by these facts or those of the request; or refuse."""
    server = call.server
    if server is None:
        raise NotStarted
    tls = (call.scope.get("extensions") or NO_STATE).get("tls") or NO_STATE  # as the ASGI specification has it
    munge = access.read_munge(call.headers) if access.check_munge in requirement.credentials else None
    call.facts = facts or access.Facts(
        call.headers, call.uid, call.access, server.callers.own, server.callers.user, read_client(call),
        tls.get("client_cert_name"),
        None if munge is None else await server.munge.read_credential(munge, call.access.munge.socket),
        server.signing_key.value,
        sessions.find_session(server, call.scope["headers"]) if b"cookie" in call.headers else None,
        server.logins,
    )  # fmt: skip
    if call.cors.is_partner:  # with its own user's cookies alone, not those of our page, nor as the server's own user
        call.facts = call.facts._replace(own=None, session=None)
    call.caller = access.identify_caller(requirement, call.facts)
    call.who = call.caller.name if call.caller is not None else None
    access.admit_caller(requirement, call.caller)


def count_rate(call: Call) -> None:
    """Count the request once within its caller's rate.

    Raises TooMany beyond it. What everybody may read, such as health, is not counted.
    """
    is_open = call.endpoint is not None and not call.endpoint.requirement.credentials
    if call.is_counted or call.server is None or not call.family.has_rates or (is_open and call.method in READING):
        return
    call.is_counted = True
    call.window = call.server.callers.count_rate(call.caller, read_client(call), call.uid)
    if call.window is not None and call.window.wait_s:
        raise TooMany(f"The {call.window.limit} requests of this window are used up", call.window.wait_s)


def count_refusal(call: Call, problem: Exception) -> Exception:
    """Count wrong credentials, and a refused request; return what to answer.

    That is that there were too many of them, where there were.
    """
    try:
        count_rate(call)
    except TooMany as too_many:
        return too_many
    if not isinstance(problem, access.WrongCredentials) or call.server is None:
        return problem
    # A right token always passes: who guesses from the same address, as behind a proxy, locks nobody else out.
    wait_s = call.server.callers.failures.take(access.name_client(read_client(call), call.uid))
    return TooMany("Too many wrong tokens", wait_s) if wait_s else problem


def read_client(call: Call) -> str:
    """Return the address that the call comes from."""
    return str((call.scope.get("client") or ("",))[0])


async def wait_in_line(call: Call, problem: Exception) -> None:
    """Wait before a refusal, where the client is refused all the time.

    Others who share its address do not wait, once a token tells who they are.
    """
    if call.server is not None and (call.caller is None or isinstance(problem, REFUSED_CALLERS)):
        name = access.name_caller(call.caller, read_client(call), call.uid)
        call.is_late = await call.server.callers.refusals.wait(name)


async def write_audit(call: Call) -> None:
    """Write down who did what, with which result.

    Floods by nobody are not, nor what programs tell all the time.
    """
    assert call.server is not None
    is_progress = call.status == 202 and call.endpoint is not None and call.endpoint.spec.is_progress
    is_told = call.line is not None and call.line.is_written and call.status < 300
    if is_progress or is_told or (call.is_late and call.caller is None):
        return
    await call.server.audit.append(describe_deed(call, call.status, call.made_id))


def make_line(call: Call, made_id: Any = None, *, is_synced: bool = True) -> Line:
    """Make the audit line of a call, which its function writes in one commit."""
    assert call.server is not None and call.endpoint is not None
    deed = describe_deed(call, call.endpoint.spec.status, made_id)
    call.line = call.server.audit.make_line(deed, is_synced=is_synced)
    return call.line


def describe_deed(call: Call, status: int, made_id: Any) -> Data:
    """Describe who did what, with which result."""
    return {
        "who": call.who,
        "from": read_client(call),
        "what": call.endpoint.spec.operation_id if call.endpoint else call.method or "websocket",
        "path": call.path,
        "status": status,
        **({"code": call.close_code} if call.is_socket else {"made": made_id}),
        "request_id": call.request_id.decode(),
    }


# ====================================================================================================================
# Refusals
# ====================================================================================================================


# What went wrong → status. The first class along the exception's own line of ancestors counts.
STATUS: dict[type[Exception], int] = {
    access.Unauthenticated: 401,
    access.GrantRefused: 400,
    UnknownPath: 404,
    UnknownMethod: 405,
    BrokenBody: 400,
    TooSlow: 408,
    MediaType: 415,
    WrongRange: 416,
    HeadTooLarge: 431,
    sockets.SocketNeeded: 426,
    TooMany: 429,
    errors.TooManyWaiting: 429,
    errors.TooManyTries: 429,
    Degraded: 503,
    NotStarted: 503,
    Ending: 503,
    errors.NotFound: 404,
    errors.NoProfile: 503,
    errors.Exists: 409,
    errors.Conflict: 409,
    errors.Changed: 412,
    errors.Denied: 403,
    errors.UpgradeNeeded: 426,
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
REFUSED_CALLERS = (access.Unauthenticated, errors.Denied, TooMany)
refused_callers = Throttle()
access_log = logging.getLogger("sluice.access")
RETRY_AFTER_S = 5
# Of an answer that its family could not give a shape, and of paths that no family claims.
PLAIN = Family("", (), write_detail, {"bearer": access.check_bearer})


async def refuse(call: Call, problem: Exception) -> None:
    """Answer with whatever went wrong, in the family's shape.

    Where the server cannot answer a WebSocket, it is closed before it is accepted.
    """
    problem = errors.explain_starvation(problem)
    report_refusal(call, problem)
    if call.is_socket and "websocket.http.response" not in call.scope.get("extensions", {}):
        code = 4401 if isinstance(problem, access.Unauthenticated) else 4403
        await call.send_message({"type": "websocket.close", "code": code})
        return
    try:
        await send_refusal(call, problem)
    except Exception as second:
        if call.status:
            raise
        # The family's own functions failed: this one's do not.
        call.family = PLAIN
        failure = RuntimeError("no shape for a refusal")
        failure.__cause__ = second
        await send_refusal(call, failure)


def report_refusal(call: Call, problem: Exception) -> None:
    """Report in the log that a caller was not let in, throttled."""
    client = read_client(call)
    if isinstance(problem, REFUSED_CALLERS) and refused_callers.admit((access.name_client(client), type(problem))):
        log.warning("refused %s %s of %s: %s", call.method or "websocket", quote(call.path), client, problem)


async def send_refusal(call: Call, problem: Exception) -> None:
    """Send status, headers and body for what went wrong.

    Of an unexpected exception only that there was one.
    """
    refusal = make_refusal(call, problem)
    headers: list[tuple[bytes, bytes]] = [(b"content-type", b"application/json")]
    if isinstance(problem, UnknownMethod):
        headers.append((b"allow", problem.allow.encode()))
    if isinstance(problem, WrongRange):
        headers.append((b"content-range", b"bytes */%d" % problem.size_bytes))
    if refusal.status == 426:
        headers += ((b"upgrade", b"websocket"), (b"connection", b"upgrade"))
    is_asked = refusal.status in (401, 403)
    challenges = access.list_challenges(call.family.credentials, call.headers, problem) if is_asked else []
    headers += ((b"www-authenticate", challenge) for challenge in challenges)
    if refusal.status in (429, 503):
        wait_s = getattr(problem, "wait_s", RETRY_AFTER_S)
        headers.append((b"retry-after", b"%d" % math.ceil(wait_s)))
    operation_id = call.endpoint.spec.operation_id if call.endpoint else ""
    body = call.family.envelopes.get(operation_id, call.family.envelope)(refusal)
    await call.start(refusal.status, [*headers, (b"content-length", b"%d" % len(body))])
    await call.finish(body)


def make_refusal(call: Call, problem: Exception) -> Refusal:
    """Return what an answer says of what went wrong, all of it printable.

    An unexpected exception is logged.
    """
    family, request_id, message = call.family, call.request_id.decode(), errors.print_text(problem)
    status = find_status(problem, family, call.endpoint.spec.operation_id if call.endpoint else "")
    problems: Sequence[Problem] = ()
    if isinstance(problem, slurm_errors.SlurmRefused) and problem.command:
        message = f"{problem.command} failed: {message}"
    if isinstance(problem, errors.Invalid):
        problems = [list_problem(wrong) for wrong in problem.problems[: errors.TOLD_PROBLEMS]]
        if problems and (odd := family.odd_value(problems[0])) is not None:
            (status, message), problems = odd, ()
    if status == 500 and not isinstance(problem, errors.StoreError):
        log.error("request %s failed", request_id, exc_info=problem)
        message = f"Internal Server Error ({request_id})"
    return Refusal(status, type(problem).__name__, message, problems, request_id, getattr(problem, "details", {}))


def find_status(problem: Exception, family: Family, operation_id: str) -> int:
    """Return the status for an exception of this operation or its family.

    500 for one that no table has.
    """
    for kind in type(problem).__mro__:
        for name in (operation_id, family.name):
            if (name, kind) in family.statuses:
                return family.statuses[name, kind]
        if kind in STATUS:
            return STATUS[kind]
    return 500


def list_problem(problem: Problem) -> Problem:
    """Return a problem as refusals list it, printable.

    That is type, loc, msg, input, and where in a text it stands.
    """
    loc = [jsons.make_printable(part) for part in problem["loc"]]
    what = {"type": problem["type"], "loc": loc, "msg": errors.print_text(problem["msg"])}
    place = {key: problem[key] for key in ("line", "column") if problem.get(key)}
    return {**what, "input": jsons.make_printable(problem["input"]), **place}


# ====================================================================================================================
# Operations: srunx
# ====================================================================================================================

operations(**srunx_operations.OPERATIONS)


# ====================================================================================================================
# Operations: srtslurm
# ====================================================================================================================

operations(**srtslurm_operations.OPERATIONS)


def srtslurm_get_health(server: Server) -> Data:
    """Check whether reports are accepted."""
    return {"status": "ok"}  # `server` is there: without one there is no place to keep them


# ====================================================================================================================
# Operations: YAPTIDE
# ====================================================================================================================

operations(**yaptide_operations.OPERATIONS)


# ====================================================================================================================
# Operations: S9S
# ====================================================================================================================

operations(**s9s_operations.OPERATIONS)


def s9s_get_status(server: Server, caller: access.Caller) -> Data:
    """Get the state of server and cluster, and who calls."""
    return cluster_status.get_status(server, caller) | {"version": VERSION, "api_version": "v1"}


def s9s_get_openapi_json() -> Body:
    """Get the S9S API as OpenAPI 3.0 in JSON."""
    return S9S_CONTRACT.as_json


async def s9s_get_openapi_yaml(accept: str) -> Answer:
    """Get the S9S API as OpenAPI 3.0 in YAML."""
    return await S9S_CONTRACT.answer_yaml(accept)


# ====================================================================================================================
# Operations: sluice
# ====================================================================================================================

operations(
    sluice_list_problems=configuration.list_problems,
    sluice_get_schema=workflow_files.get_schema,
    sluice_get_session=sessions.get_session,
    sluice_create_session=sessions.create_session,
    sluice_delete_session=sessions.delete_session,
    sluice_get_overview=overview.get_overview,
    sluice_list_tokens=token_calls.list_tokens,
    sluice_create_token=token_calls.create_token,
    sluice_revoke_token=token_calls.revoke_token,
    sluice_list_events=change_sources.list_events,
)


def sluice_get_start() -> Data:
    """Get where to begin."""
    return {"message": "Sluice answers.", "version": VERSION, "docs": "docs", "openapi": "openapi.json"}


def sluice_get_health(server: Server, strict: bool) -> Data:
    """Check the health of the server, its store and cluster."""
    found = loop.summarize_health(server)
    if strict and found["reasons"]:
        raise Degraded(f"degraded: {'; '.join(found['reasons'])}")
    return found | {"version": VERSION}


operations(sluice_get_metrics=cluster_status.write_metrics)


def sluice_get_contract_json() -> Body:
    """Get this contract as JSON."""
    return CONTRACT.as_json


async def sluice_get_contract_yaml(accept: str) -> Answer:
    """Get this contract as YAML."""
    return await CONTRACT.answer_yaml(accept)


# ====================================================================================================================
# Live
# ====================================================================================================================

# To the first message of a client that has to say who it is.
AUTHENTICATION_S = 10.0


async def let_socket_in(call: Call, requirement: access.Requirement) -> None:
    """Let in as others, or by a ticket, or leave it to the first message."""
    tickets = call.server.callers.tickets if call.server is not None else access.Tickets()
    try:
        await let_in(call, requirement, tickets.exchange(call.scope["query_string"]))
    except access.WrongCredentials:
        raise
    except access.Unauthenticated as problem:
        log.debug("a WebSocket of %s has yet to say who it is: %s", read_client(call), problem)


async def serve_socket(call: Call, endpoint: Endpoint, streams: set[asyncio.Task[None]]) -> None:
    """Have the operation's function speak, until it ends or the client leaves.

    What it raises before the WebSocket is accepted becomes a refusal, later the code that it is closed with.
    """
    if (server := call.server) is None:
        raise NotStarted

    def count_message() -> float:
        return server.callers.count_request(call.caller, read_client(call), call.uid)

    async with WebSocket(call.receive_message, call.send_message, count_message) as socket:
        problem = await socket.run(endpoint.call_socket_function(call, socket), streams, call.check_credentials)
        problem = Ending() if isinstance(problem, asyncio.CancelledError) else problem
        if problem is not None and not socket.is_accepted:
            raise problem
        call.status = 101
        call.close_code = await socket.close(*find_close(call, problem))


def find_close(call: Call, problem: BaseException | None) -> tuple[int, str]:
    """Return code and reason of the end of a WebSocket (RFC 6455, 7.4)."""
    if problem is None or isinstance(problem, Gone):
        return 1000, ""
    if isinstance(problem, sockets.SocketClosed):
        return problem.code, problem.reason
    if isinstance(problem, Ending):
        return 1001, str(problem)
    if not isinstance(problem, Exception):
        raise problem
    problem = count_refusal(call, problem)
    report_refusal(call, problem)
    refusal = make_refusal(call, problem)
    code = 4401 if refusal.status == 401 else 1008 if refusal.status < 500 else 1011
    return code, refusal.message


async def authenticate(call: Call, requirement: access.Requirement, socket: WebSocket) -> None:
    """Let in who says in the first message who it is.

    That is for browsers, which cannot send the header.
    """
    try:
        async with asyncio.timeout(AUTHENTICATION_S):
            call.headers |= sockets.find_credentials(await socket.receive())
    except TimeoutError:
        raise access.Unauthenticated(f"Nothing told within {AUTHENTICATION_S:.0f} seconds who you are") from None
    await let_in(call, requirement)
    assert call.caller is not None
    await socket.send(jsons.dump_json({"action": "authenticated", "user": call.caller.name}).decode())


# ====================================================================================================================
# Lifespan and app
# ====================================================================================================================


# For what blocks, such as the disk. They are there from the start: reading goes on where no thread can be started.
THREADS = 8


@contextlib.asynccontextmanager
async def open_server(settings: Settings, families: Collection[str]) -> AsyncIterator[Server]:
    """Open the store, find the cluster, start what runs between requests.

    All of it is undone in reverse.
    """
    asyncio.get_running_loop().set_default_executor(start_threads(THREADS, "store"))
    server = Server(settings)
    server.store.single["access"].parse = functools.partial(access.parse_access, families=families)
    await asyncio.to_thread(server.store.open)
    async with contextlib.AsyncExitStack() as undo:
        for pool in (server.pool, server.check_pool):
            undo.callback(pool.shutdown, wait=False, cancel_futures=True)
        undo.callback(server.passwords.close)
        undo.callback(server.web.close)
        undo.callback(server.mount_work.close)
        undo.callback(server.file_work.close)
        undo.push_async_callback(server.store.close)
        undo.callback(server.munge.close)
        await asyncio.to_thread(server.signing_key.load)
        undo.callback(server.callers.peers.close)
        undo.push_async_callback(server.notifications.outbox.stop)
        undo.callback(server.renderer.close)
        limits = server.store.config.limits
        server.renderer.set_limits(limits.render_s, limits.render_mb)
        for name, apply in (("access", loop.apply_access), ("config", loop.apply_config)):
            apply(server)
            server.store.single[name].listeners.append(functools.partial(apply, server))
        undo.push_async_callback(server.clusters.close)
        await loop.connect_clusters(server)
        await server.store.start(server.supervisor.start)
        await server.notifications.catch_up()
        server.store.single["profiles"].listeners.append(lambda *_change: server.wake.set())
        # Undone in reverse: first the loop ends, so that nothing new is begun while what is under way is ended.
        undo.push_async_callback(server.tasks.stop)
        for task in loop.start_tasks(server):
            undo.push_async_callback(end_task, task)
        for line in describe_server(server):
            log.info("%s", line)
        print_link(server)
        yield server
        count = server.open_documents.count_jobs()
        log.info("stopped%s", f"; jobs that go on: {count}, followed again at the next start" if count else "")


def describe_server(server: Server) -> list[str]:
    """Describe address, store, cluster and who may call; then where to begin."""
    settings, url = server.settings, find_url(server.settings)
    own = server.callers.own if access.is_loopback(settings.host) else None
    who = f"calls of user {own.name} need no token" if own is not None else "every call needs a token"
    lines = [f"{url}, store {server.store.root}, cluster {server.cluster.name}; {who}", f"every operation: {url}/docs"]
    if own is not None and "hello" in server.store.workflows:
        lines.append(f"try one: curl -X POST {url}/api/workflows/hello/run")
    return lines


def print_link(server: Server) -> None:
    """Print the link that signs a browser in, where a token is needed.

    It is a secret, so it is no line of the log: whoever gathers those as JSON gets none.
    """
    settings = server.settings
    asks = server.callers.own is None or not access.is_loopback(settings.host)
    if asks and (settings.log_format == "plain" or sys.stderr.isatty()):
        url = find_url(settings, is_far=True)
        print(f"sign in, once and within an hour: {url}/#/?code={server.codes.make()}", file=sys.stderr, flush=True)


def find_url(settings: Settings, is_far: bool = False) -> str:
    """Return the server's URL.

    That of this machine's name, where it listens on all addresses and `is_far`.
    """
    listens_everywhere = not settings.host.strip("0.:")
    host = socket.gethostname() if is_far and listens_everywhere else settings.host
    host = f"[{host}]" if ":" in host else host
    return f"http{'s' if settings.tls_cert else ''}://{host}:{settings.port}{settings.root_path}"


class Contract:
    """A contract as it is parsed and as it is served.

    What is served is made when it is first asked for; the document itself, of 3 MB, is not kept.
    """

    def __init__(self, parse: Callable[[], dict[str, Any]]) -> None:
        self.parse = parse

    @property
    def parsed(self) -> dict[str, Any]:
        """The document."""
        return self.parse()

    @functools.cached_property
    def as_json(self) -> Body:
        """The body of its openapi.json."""
        return Body(orjson.dumps(self.parsed))

    @functools.cached_property
    def as_yaml(self) -> Body:
        """The body of its openapi.yaml."""
        return Body(dump_contract(self.parsed))

    async def answer_yaml(self, accept: str) -> Answer:
        """Return the YAML; it takes a tenth of a second to make."""
        body = await asyncio.to_thread(lambda: self.as_yaml)
        return Answer(body, media_type="text/yaml" if accept == "text/yaml" else None)

    def format_table(self) -> str:
        """Return every operation on a line: id, method, path."""
        rows = list_operations(self.parsed)
        return "\n".join(f"{spec['operationId']:<28} {method:<7} {path}" for path, method, spec in rows)


def export_s9s() -> dict[str, Any]:
    """Return the S9S API alone, as OpenAPI 3.0."""
    family = next(family for family in FAMILIES if family.name == "s9s")
    return export_family(CONTRACT.parsed, family.name, (*family.aliases.values(), *family.aliases))


CONTRACT = Contract(lambda: load_contract(HERE / "contract.yaml"))
S9S_CONTRACT = Contract(export_s9s)
collect_operations(globals())


def make_app(settings: Settings | None = None) -> App:
    """Return an app with its own server.

    Without settings it reads the environment when it starts.
    """
    return App(CONTRACT.parsed, FAMILIES, OPERATIONS, make_pages(HERE / "web"), settings)


app = make_app()


def main(argv: list[str] | None = None) -> None:
    """Run the command line: `sluice`, or `python app.py` in a checkout.

    Without a command it serves. Flags only set the environment that the app reads.
    """
    words = sys.argv[1:] if argv is None else argv
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words = ["serve", *words]
    given = make_parser().parse_args(words)
    if given.command == "routes":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # its reader may have had enough, as `head` has
        print(CONTRACT.format_table())
    elif given.command in ("token", "user"):
        commands = token_commands if given.command == "token" else user_commands
        try:
            print(commands.run_command(given, read_settings().store))
        except (ValueError, errors.StoreError) as problem:
            sys.exit(f"sluice {given.command}: {problem}")
    else:
        for name in ("store", "host", "port", "cluster"):
            if getattr(given, name) is not None:
                os.environ[f"SLUICE_{name.upper()}"] = getattr(given, name)
        serve()


def serve() -> None:
    """Serve until told to end.

    A bind that the whole network could use without credentials is refused.
    """
    from http_server.serving import find_address, serve_app  # here, since the app also runs under any other server
    from http_server.tls import make_tls

    try:
        settings = read_settings()
        tls = make_tls(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    except ValueError as problem:
        sys.exit(str(problem))
    set_up_log(settings.log_level, settings.log_format)
    if missing := access.find_missing_token(settings):
        sys.exit(missing)
    address, port = find_address(settings.host, settings.port)
    os.environ["SLUICE_PORT"] = str(port)
    if os.geteuid() == 0:
        log.warning("running as root: every job runs as root too")
    serve_app(app, app.lifespan, address, port, tls)


if __name__ == "__main__":
    main()

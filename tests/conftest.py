"""What the tests of the HTTP side share: the app in this process, the app as a server, and the contract as a judge.

`client` speaks to the app in this process. Every answer that it hands out was checked: the contract declares its status
for that operation, the body fits the schema, a refusal is JSON in the envelope and has a request id.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
import jsonschema_rs
import pytest
from hypothesis import settings
from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import slurm_shim.snapshot  # noqa: E402
from store import access  # noqa: E402
from store.rendering.renderer import Renderer  # noqa: E402

# A developer waits for the verdict; nobody waits for CI's.
settings.register_profile("quick", max_examples=25)
if os.environ.get("CI") != "true":
    settings.load_profile("quick")

CONTRACT: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "contract.yaml").read_text())
OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"}
Value = TypeVar("Value")


def eventually(fn: Callable[[], Value], timeout_s: float = 20, what: str = "") -> Value:
    """The first true value that the function gives; what it raises counts as not yet, and is told in the end."""
    until = time.monotonic() + timeout_s
    while True:
        try:
            problem: object = None
            value = fn()
        except (AssertionError, LookupError, OSError, httpx.TransportError) as error:
            problem, value = error, None  # type: ignore[assignment]
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"still not so after {timeout_s} s: {what or fn}; last: {problem or value!r}")
        time.sleep(0.02)


# --- the contract as a judge -----------------------------------------------------------------------------------------


def resolved(part: Any) -> Any:
    """The part of the contract that a reference stands for."""
    while isinstance(part, dict) and "$ref" in part:
        target: Any = CONTRACT
        for key in part["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        part = target
    return part


def validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """A validator for a schema of the contract."""
    return jsonschema_rs.validator_for(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "components": CONTRACT["components"]}
    )


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation, for all of the contract."""
    for path, item in CONTRACT["paths"].items():
        for method in ("get", "put", "post", "delete", "patch"):
            if method in item:
                yield path, method.upper(), item[method]


def path_of(path: str) -> str | None:
    """The contract's path for a request's; one without braces comes first."""
    for one in sorted(CONTRACT["paths"], key=lambda one: "{" in one):
        pattern = "[^/]+".join(re.escape(part) for part in re.split(r"\{[^}]+\}", one))
        if re.fullmatch(pattern, path):
            return str(one)
    return None


VALIDATORS: dict[tuple[str, str, int], jsonschema_rs.Validator] = {}
ENVELOPE = validator({"$ref": "#/components/schemas/Error"})


def judge(method: str, path: str, answer: httpx.Response) -> httpx.Response:
    """The answer, after the contract has nothing to say against it."""
    status, where = answer.status_code, f"{method} {path} -> {answer.status_code} {answer.text[:500]}"
    assert answer.headers.get("x-request-id"), where
    if not 200 <= status < 400:
        assert answer.headers["content-type"] == "application/json", where
        if method != "HEAD":
            assert ENVELOPE.is_valid(answer.json()), where
    known = path_of(path)
    item = CONTRACT["paths"].get(known, {})
    if known is None or (method.lower() not in item and (method, "get" in item) != ("HEAD", True)):
        assert status in ((404,) if known is None else (405,)), where
        return answer
    operation = item["get" if method == "HEAD" else method.lower()]
    if status == 304:
        assert answer.headers.get("etag") and not answer.content, where
        return answer
    if status == 429:  # the guard's, before it knows what is asked for
        assert answer.headers.get("retry-after"), where
        return answer
    assert str(status) in operation["responses"], f"not declared: {where}"
    response = resolved(operation["responses"][str(status)])
    for name, header in response.get("headers", {}).items():
        schema = resolved(header)["schema"]
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
        wrong = [f"{list(one.instance_path)}: {one.message}" for one in VALIDATORS[key].iter_errors(answer.json())]
        assert not wrong, f"{wrong[:3]} {where}"
    return answer


# --- the app in this process -----------------------------------------------------------------------------------------


class Chunks(httpx.AsyncByteStream):
    """A body that comes in these pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = list(pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


class Client:
    """The app in this process, with its lifespan, in a loop of its own; `get`, `post` … as httpx has them.

    `tokens` has a bearer token for read, write, admin and one that has expired; calls use write unless told otherwise.
    """

    def __init__(self, store: Path, cluster: str, environment: Mapping[str, str] | None = None) -> None:
        self.store, self.cluster = store, cluster
        self.environment = {"SLUICE_STORE": str(store), "SLUICE_CLUSTER": cluster, **(environment or {})}
        self.tokens: dict[str, str] = {}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="the app", daemon=True)
        self.todo: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    # Start and end.

    def start(self) -> Client:
        """Itself, serving."""
        import app

        furnish(self.store, self.tokens)
        self.app = app
        before = {key: os.environ.get(key) for key in self.environment}
        os.environ |= self.environment
        # A test waits for what SLURM says; the interval that spares a busy controller would only make it wait longer.
        self.cost, slurm_shim.snapshot._COST = slurm_shim.snapshot._COST, 1
        self.thread.start()
        try:
            self.run(self._lifespan("startup"))
        finally:
            for key, value in before.items():
                os.environ.pop(key) if value is None else os.environ.__setitem__(key, value)
        self.app.server.cluster.snapshot.min_s = 0.2
        self.app.server.cluster.snapshot._nodes_s = 0.5
        transport = httpx.ASGITransport(app=app.app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60)
        return self

    async def _lifespan(self, phase: str) -> None:
        if phase == "startup":
            self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
            self.life = asyncio.ensure_future(self.app.app(scope, self.todo.get, self.said.put))
        await self.todo.put({"type": f"lifespan.{phase}"})
        word = asyncio.ensure_future(self.said.get())
        await asyncio.wait({word, self.life}, return_when=asyncio.FIRST_COMPLETED)
        answer = word.result() if word.done() else {"type": "nothing"}
        if answer["type"] != f"lifespan.{phase}.complete":
            raise RuntimeError(answer.get("message", "the app did not start"))

    def stop(self) -> None:
        """Nothing; the app has ended as it does at the end of a server."""
        try:
            if hasattr(self, "http"):
                self.end_jobs()
                self.run(self.http.aclose())
                self.run(self._lifespan("shutdown"))
                self.run(self._end_tasks())
        finally:
            slurm_shim.snapshot._COST = self.cost
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(10)
            self.loop.close()

    async def _end_tasks(self) -> None:
        """What a server does to tasks that are left at its end."""
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def end_jobs(self) -> None:
        """Nothing; no job that went through this store is alive."""
        if self.cluster == "embedded":
            up(self.store)
        end_jobs(lambda method, path: self.request(method, path, judged=False))

    def run(self, work: Any, timeout_s: float = 60) -> Any:
        """What the coroutine gives, run in the app's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)

    # Calling.

    def request(self, method: str, path: str, *, token: str | None = "write", judged: bool = True, **more: Any) -> Any:
        """The answer, judged by the contract; `token` names one of `tokens`, None for no credentials."""
        headers = httpx.Headers(more.pop("headers", None))
        if token is not None and "authorization" not in headers:
            headers["authorization"] = f"Bearer {self.tokens.get(token, token)}"
        if "chunks" in more:
            more["content"] = Chunks(more.pop("chunks"))
        answer: httpx.Response = self.run(self.http.request(method, path, headers=headers, **more))
        return judge(method, answer.request.url.path, answer) if judged else answer

    def get(self, path: str, **more: Any) -> httpx.Response:
        """GET."""
        return self.request("GET", path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        """POST."""
        return self.request("POST", path, **({"json": json} if json is not None else {}), **more)

    def delete(self, path: str, **more: Any) -> httpx.Response:
        """DELETE."""
        return self.request("DELETE", path, **more)

    def together(self, calls: Iterable[Callable[[], httpx.Response]]) -> list[httpx.Response]:
        """The answers to calls that are made at the same moment."""
        calls = list(calls)
        with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
            return [one.result() for one in [pool.submit(call) for call in calls]]

    def bare(self, method: str, path: str, headers: list[tuple[bytes, bytes]], **scope: Any) -> httpx.Response:
        """The answer to a request with exactly these headers, as a server hands it over."""
        given = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "scheme": "http", "http_version": "1.1", "headers": headers, "asgi": {"version": "3.0"},
            "client": ("127.0.0.1", 4), "server": ("127.0.0.1", 8000), **scope,
        }  # fmt: skip
        return self.run(self._bare(given))

    async def _bare(self, scope: dict[str, Any]) -> httpx.Response:
        said: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        await self.app.app(scope, receive, send)
        content = b"".join(one.get("body", b"") for one in said[1:])
        return httpx.Response(said[0]["status"], headers=said[0]["headers"], content=content)

    # Waiting.

    def job(self, job_id: Any, *, over: bool = True, timeout_s: float = 30) -> dict[str, Any]:
        """The job, once it has ended (or at once)."""

        def told() -> dict[str, Any] | None:
            found: dict[str, Any] = self.get(f"/api/jobs/{job_id}").json()
            return found if not over or found["status"] in OVER else None

        return eventually(told, timeout_s, f"job {job_id} is over")  # type: ignore[return-value]

    def ended(self, run_id: str, timeout_s: float = 60) -> dict[str, Any]:
        """The run, once it and all of its jobs have ended."""

        def told() -> dict[str, Any] | None:
            found: dict[str, Any] = self.get(f"/api/workflows/runs/{run_id}").json()
            alive = [one for one in found["jobs"] if one["job_id"] and one["status"] not in OVER]
            return found if found["status"] in ("completed", "failed", "cancelled") and not alive else None

        return eventually(told, timeout_s, f"run {run_id} is over")  # type: ignore[return-value]

    def submit(self, script: str, name: str = "test", **more: Any) -> Any:
        """The id of a new job with this script."""
        answer = self.post("/api/jobs", {"name": name, "script_content": script, **more})
        assert answer.status_code == 201, answer.text
        return answer.json()["job_id"]

    def workflow(self, name: str, text: str) -> None:
        """Nothing; the store has this workflow."""
        answer = self.post("/api/workflows/upload", {"yaml": text, "filename": f"{name}.yaml"})
        assert answer.status_code == 200, answer.text

    def start_run(self, name: str, text: str | None = None, **body: Any) -> dict[str, Any]:
        """A new run of this workflow, which is saved before when its text is given."""
        if text is not None:
            self.workflow(name, text)
        answer = self.post(f"/api/workflows/{name}/run", body)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found


CONFIG = """\
cluster: {nodes: 2, cpus: 8, memory_mb: 16000, gpus: 4}
poll: {min_s: 1, max_s: 1}
webhooks: {deliver: false}
"""


def furnish(store: Path, tokens: dict[str, str]) -> None:
    """Nothing; a new store has a configuration for tests, and one token for each scope."""
    store.mkdir(parents=True, exist_ok=True)
    (store / "workflows").mkdir(exist_ok=True)
    if not (store / "config.yaml").exists():
        (store / "config.yaml").write_text(CONFIG)
    lines = ["tokens:"]
    for scope in ("read", "write", "admin", "expired"):
        tokens[scope], hashed = access.new_token()
        expiry = ', expires: "2020-01-01T00:00:00Z"' if scope == "expired" else ""
        scopes = "write" if scope == "expired" else scope
        lines.append(f"  - {{name: {scope}, sha256: {hashed}, scopes: [{scopes}]{expiry}}}")
    (store / "access.yaml").write_text("\n".join(lines) + "\n")


def down(store: Path) -> None:
    """Nothing; the embedded cluster answers as if its controller were away."""
    _configure(store, "SluiceDown=yes\n")


def up(store: Path) -> None:
    """Nothing; the embedded cluster answers again."""
    _configure(store, "")


def _configure(store: Path, more: str) -> None:
    conf = store / "cluster" / "slurm.conf"
    # Put in place whole: programs and ending jobs read it at any moment.
    made = conf.with_name("slurm.conf.new")
    made.write_text(conf.read_text().replace("SluiceDown=yes\n", "") + more)
    made.replace(conf)


def end_jobs(request: Callable[[str, str], httpx.Response]) -> None:
    """Nothing; cancels what the history shows alive, and waits until none of it is."""

    def over() -> bool:
        alive = [one for one in request("GET", "/api/history?limit=-1").json() if one["status"] not in OVER]
        for one in alive:
            request("DELETE", f"/api/jobs/{one['job_id']}?cluster={one['cluster']}")
        return not alive

    for run in request("GET", "/api/workflows/runs").json():
        if run["status"] not in ("completed", "failed", "cancelled"):
            request("POST", f"/api/workflows/runs/{run['id']}/cancel")
    eventually(over, 30, "all jobs are over")


CLUSTERS = ["embedded", pytest.param("slurm", marks=pytest.mark.slurm)]


@pytest.fixture(scope="session", params=CLUSTERS)
def cluster(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of cluster to run on. SLURM_CONF leads to a real one; SLUICE_TEST_SLURM_DIR names one that runs."""
    if request.param == "embedded":
        yield "embedded"
        return
    from tests.cluster.real import Cluster, missing

    running = os.environ.get("SLUICE_TEST_SLURM_DIR")
    if missing() and not running and os.environ.get("CI") != "true":
        pytest.skip(f"not installed: {', '.join(missing())}")
    # Not below pytest's own folder, which munged's user may not enter.
    real = Cluster(running or tempfile.mkdtemp(prefix="sluice")).up()
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(real.conf)
    yield "slurm"
    os.environ.pop("SLURM_CONF") if before is None else os.environ.__setitem__("SLURM_CONF", before)
    if not running:
        real.down()
        shutil.rmtree(real.dir, ignore_errors=True)


@contextlib.contextmanager
def serving(store: Path, cluster: str, **environment: str) -> Iterator[Client]:
    """The app over this store, until the block ends."""
    made = Client(store, cluster, environment)
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture(scope="module")
def client(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The app over a store of this module's own."""
    with serving(tmp_path_factory.mktemp("store"), cluster) as made:
        yield made


# --- the app as a server ---------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """`python app.py` over a store, as a process; `url`, and `http` to call it with."""

    def __init__(self, store: Path, cluster: str, **environment: str) -> None:
        self.store, self.cluster, self.environment = store, cluster, environment
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=30)
        self.tokens: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        furnish(store, self.tokens)

    def start(self, ready: bool = True) -> Server:
        """Itself, serving (or only just started)."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "USER", "SLURM_CONF") if key in os.environ}
        given = {"SLUICE_STORE": str(self.store), "SLUICE_CLUSTER": self.cluster, "SLUICE_PORT": str(self.port)}
        with (self.store.parent / f"{self.store.name}.server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "app.py")],
                env={**kept, **given, **self.environment},
                stderr=log,
                stdout=log,
            )
        if ready:
            eventually(self.healthy, 30, self.log())
        return self

    def healthy(self) -> bool:
        """Whether it answers; AssertionError once it has ended."""
        if self.process is None or self.process.poll() is not None:
            pytest.fail(f"the server has ended: {self.log()}")
        return self.http.get("/health").status_code == 200

    def log(self) -> str:
        """What it wrote."""
        return (self.store.parent / f"{self.store.name}.server.log").read_text()

    def end(self, how: int = signal.SIGTERM) -> int:
        """The exit status, after this signal."""
        assert self.process is not None
        self.process.send_signal(how)
        status = self.process.wait(30)
        self.process = None
        return status

    def close(self) -> None:
        """Nothing; neither server nor jobs are left."""
        if self.process is not None and self.process.poll() is None:
            end_jobs(lambda method, path: self.http.request(method, path))
            self.end()
        self.http.close()


@pytest.fixture
def server(cluster: str, tmp_path: Path) -> Iterator[Server]:
    """A server process over a store of its own."""
    made = Server(tmp_path / "store", cluster)
    try:
        yield made.start()
    finally:
        made.close()


# --- workflows without a server -----------------------------------------------------------------------------------

# The workflow that this server was built to run first.
PIPELINE = b"""\
name: ml-pipeline
args: {n: 1000, out: "work-{{ n }}"}
jobs:
  - name: preprocess
    command: [bash, -c, "mkdir -p {{ out }} && seq {{ n }} > {{ out }}/data"]
    exports: {DATA: "{{ out }}/data"}
    resources: {nodes: 1, time_limit: 0:05:00}
  - name: total
    command: [cat, "{{ deps.preprocess.DATA }}"]
    depends_on: [preprocess]
    retry: 2
  - name: report
    command: "echo done > {{ out }}/report"
    depends_on: ["afterany:total"]
  - name: cleanup
    command: rm -r {{ out }}
    depends_on: ["afternotok:total"]
"""


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    """A renderer with its usual bounds."""
    with Renderer() as one:
        yield one

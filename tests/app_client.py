"""The app in this process, with its lifespan, in an event loop of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import math
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

import slurm_shim.snapshot
from store import access
from tests.contract_judge import judge, usual_token
from tests.waiting import eventually

OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"}


class Chunks(httpx.AsyncByteStream):
    """A body that comes in these pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = list(pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


class Client:
    """The app in this process, with its lifespan, in a loop of its own; `get`, `post` … as httpx has them.

    `tokens` has a bearer token for report, read, write, admin and one that has expired; calls use write, or admin where
    the contract demands it, unless told otherwise. `server` is what the app has opened.
    """

    def __init__(
        self, store: Path, cluster: str, environment: Mapping[str, str] | None = None, app: Any = None
    ) -> None:
        self.store, self.cluster, self.app = store, cluster, app
        self.environment = {"SLUICE_STORE": str(store), "SLUICE_CLUSTER": cluster, **(environment or {})}
        self.tokens: dict[str, str] = {}
        self.state: dict[str, Any] = {}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="the app", daemon=True)
        self.todo: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    # Start and end.

    def start(self) -> Client:
        """Itself, serving."""
        import app

        furnish(self.store, self.tokens)
        self.app = self.app or app.app
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
        self.server = self.state["server"]
        self.server.callers.refusals.buckets.burst = math.inf  # tests are refused all the time
        self.server.cluster.snapshot.min_s = 0.2
        self.server.cluster.snapshot._nodes_s = 0.5
        transport = httpx.ASGITransport(app=self.serve)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=300)
        return self

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand a request to the app with the state of its lifespan, as servers do."""
        await self.app({**scope, "state": dict(self.state)}, receive, send)

    async def _lifespan(self, phase: str) -> None:
        if phase == "startup":
            self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self.state}
            self.life = asyncio.ensure_future(self.app(scope, self.todo.get, self.said.put))
        await self.todo.put({"type": f"lifespan.{phase}"})
        word = asyncio.ensure_future(self.said.get())
        await asyncio.wait({word, self.life}, return_when=asyncio.FIRST_COMPLETED)
        answer = word.result() if word.done() else {"type": "nothing"}
        if answer["type"] != f"lifespan.{phase}.complete":
            raise RuntimeError(answer.get("message", "the app did not start"))

    def stop(self) -> None:
        """End the jobs, then the app as a server ends it."""
        try:
            if hasattr(self, "http"):
                self._end_all()
        finally:
            slurm_shim.snapshot._COST = self.cost
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(60)
            self.loop.close()

    def _end_all(self) -> None:
        """End the jobs, and the app also where that fails: what is left of it would fail other tests."""
        try:
            self.end_jobs()
        finally:
            self.run(self.http.aclose())
            self.run(self._lifespan("shutdown"))
            self.run(self._end_tasks())

    async def _end_tasks(self) -> None:
        """What a server does to tasks that are left at its end."""
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def end_jobs(self) -> None:
        """Cancel every job that went through this store."""
        if self.cluster == "embedded":
            up(self.store)
        end_jobs(lambda method, path: self.request(method, path, judged=False))

    def run(self, work: Any, timeout_s: float = 300) -> Any:
        """What the coroutine gives, run in the app's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)

    # Calling.

    def request(self, method: str, path: str, *, token: str | None = "", judged: bool = True, **more: Any) -> Any:
        """The answer, judged by the contract; `token` names one of `tokens`, None for no credentials."""
        headers = httpx.Headers(more.pop("headers", None))
        token = usual_token(method, path) if token == "" else token
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

    def put(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        """PUT."""
        return self.request("PUT", path, **({"json": json} if json is not None else {}), **more)

    def delete(self, path: str, **more: Any) -> httpx.Response:
        """DELETE."""
        return self.request("DELETE", path, **more)

    def together(self, calls: Iterable[Callable[[], httpx.Response]]) -> list[httpx.Response]:
        """The answers to calls that are made at the same moment."""
        calls = list(calls)
        with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
            return [future.result() for future in [pool.submit(call) for call in calls]]

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

        bodies = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            # The client stays until it has its answer.
            return bodies.pop() if bodies else await asyncio.Future()

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        await self.serve(scope, receive, send)
        content = b"".join(message.get("body", b"") for message in said[1:])
        return httpx.Response(said[0]["status"], headers=said[0]["headers"], content=content)

    # Waiting.

    def job(self, job_id: Any, *, over: bool = True, timeout_s: float = 30) -> dict[str, Any]:
        """The job, once it has ended (or at once)."""

        def find_ended_job() -> dict[str, Any] | None:
            found: dict[str, Any] = self.get(f"/api/jobs/{job_id}").json()
            return found if not over or found["status"] in OVER else None

        return eventually(find_ended_job, timeout_s, f"job {job_id} is over")  # type: ignore[return-value]

    def await_run(self, run_id: str, timeout_s: float = 60) -> dict[str, Any]:
        """Await the end of a run and of all of its jobs; return it."""

        def find_ended_run() -> dict[str, Any] | None:
            found: dict[str, Any] = self.get(f"/api/workflows/runs/{run_id}").json()
            alive = [job for job in found["jobs"] if job["job_id"] and job["status"] not in OVER]
            return found if found["status"] in ("completed", "failed", "cancelled") and not alive else None

        return eventually(find_ended_run, timeout_s, f"run {run_id} is over")  # type: ignore[return-value]

    def submit(self, script: str, name: str = "test", **more: Any) -> Any:
        """The id of a new job with this script."""
        answer = self.post("/api/jobs", {"name": name, "script_content": script, **more})
        assert answer.status_code == 201, answer.text
        return answer.json()["job_id"]

    def workflow(self, name: str, text: str) -> None:
        """Save a workflow in the store."""
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
    """Write a configuration for tests, and one token for each scope."""
    store.mkdir(parents=True, exist_ok=True)
    (store / "workflows").mkdir(exist_ok=True)
    if not (store / "config.yaml").exists():
        (store / "config.yaml").write_text(CONFIG)
    lines = ["tokens:"]
    for scope in ("report", "read", "write", "admin", "expired"):
        tokens[scope], hashed = access.make_token()
        expiry = ', expires: "2020-01-01T00:00:00Z"' if scope == "expired" else ""
        scopes = "write" if scope == "expired" else scope
        lines.append(f"  - {{name: {scope}, sha256: {hashed}, scopes: [{scopes}]{expiry}}}")
    (store / "access.yaml").write_text("\n".join(lines) + "\n")


def down(store: Path) -> None:
    """Let the embedded cluster answer as if its controller were away."""
    _configure(store, "SluiceDown=yes\n")


def up(store: Path) -> None:
    """Let the embedded cluster answer again."""
    _configure(store, "")


def _configure(store: Path, more: str) -> None:
    conf = store / "cluster" / "slurm.conf"
    # Put in place whole: programs and ending jobs read it at any moment.
    made = conf.with_name("slurm.conf.new")
    made.write_text(conf.read_text().replace("SluiceDown=yes\n", "") + more)
    made.replace(conf)


def end_jobs(request: Callable[[str, str], httpx.Response]) -> None:
    """Cancel all open runs and jobs, and wait until they are over."""

    def over() -> bool:
        alive = [job for job in request("GET", "/api/history?limit=-1").json() if job["status"] not in OVER]
        for job in alive:
            request("DELETE", f"/api/jobs/{job['job_id']}?cluster={job['cluster']}")
        return not alive

    for run in request("GET", "/api/workflows/runs").json():
        if run["status"] not in ("completed", "failed", "cancelled"):
            request("POST", f"/api/workflows/runs/{run['id']}/cancel")
    eventually(over, 30, "all jobs are over")


@contextlib.contextmanager
def serving(store: Path, cluster: str, **environment: str) -> Iterator[Client]:
    """The app over this store, until the block ends."""
    made = Client(store, cluster, environment)
    try:
        yield made.start()
    finally:
        made.stop()

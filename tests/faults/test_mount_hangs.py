"""A mount whose file server is gone: every call about it waits. It is told so, and all else goes on."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from store.errors import StoreUnavailable
from store.outside_files import job_files, mount_calls
from store.outside_files.job_files import JobPlace
from tests.app_client import Client, serving
from tests.pretended import asynchronous
from tests.waiting import eventually

# What the server calls of a disk by a path.
CALLS = (
    "stat",
    "lstat",
    "open",
    "scandir",
    "listdir",
    "mkdir",
    "readlink",
    "access",
    "rename",
    "link",
    "unlink",
    "rmdir",
)
WORKFLOWS = Path(".srunx") / "workflows"
FLOW = "name: {name}\njobs:\n  - {{name: a, command: 'true'}}\n"
SAID = "does not answer"


class Hang:
    """A folder whose file system answers only once `end` is set."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.end, self.on_loop = str(root), threading.Event(), list[str]()
        self.end.set()
        for name in CALLS:
            monkeypatch.setattr(os, name, self.wrap(name, getattr(os, name)))

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wait_and_call(path: Any = ".", *given: Any, **named: Any) -> Any:
            if isinstance(path, str | Path) and f"{path}/".startswith(f"{self.root}/") and not self.end.is_set():
                if threading.current_thread().name == "the app":
                    self.on_loop.append(f"{name} {path}")
                    raise OSError(errno.EDEADLK, "a call that may hang is made on the event loop")
                self.end.wait()
            return call(path, *given, **named)

        return wait_and_call


@pytest.fixture
def hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hang]:
    """The mount `gone`, which hangs when it is told to; there is another one, `here`."""
    mounts = []
    for name in ("gone", "here"):
        (tmp_path / name / WORKFLOWS).mkdir(parents=True)
        (tmp_path / name / WORKFLOWS / "flow.yaml").write_text(FLOW.format(name="flow"))
        mounts.append(f"{{name: {name}, local: {tmp_path / name}, remote: /far/{name}}}")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "profiles.yaml").write_text(
        f"current: it\nprofiles: {{it: {{mounts: [{', '.join(mounts)}]}}}}\n"
    )
    monkeypatch.setattr(mount_calls, "PATIENCE_S", 2.0)
    hang = Hang(tmp_path / "gone", monkeypatch)
    yield hang
    hang.end.set()
    eventually(lambda: mount_calls.find_hang(tmp_path / "gone") is None)


# Method, path and body of what needs the mount's folder.
NEEDED: list[tuple[str, str, Any]] = [
    ("GET", "/api/workflows?mount={}", None),
    ("GET", "/api/workflows/flow?mount={}", None),
    ("POST", "/api/workflows/flow/run?mount={}", {}),
    ("POST", "/api/workflows/upload?mount={}", {"yaml": FLOW.format(name="new"), "filename": "new.yaml"}),
    ("DELETE", "/api/workflows/new?mount={}", None),
    ("GET", "/api/files/browse?mount={}", None),
    ("GET", "/api/files/read?mount={}&path=a.txt", None),
    ("GET", "/api/config?mount={}", None),
    ("GET", "/api/config/projects/{}", None),
    ("PUT", "/api/config/projects/{}", {"log_dir": "logs"}),
]


def ask_all(client: Client, mount: str) -> list[int]:
    """Make every call about this mount; return the statuses."""
    statuses = []
    for method, path, body in NEEDED:
        answer = client.request(method, path.format(mount), **({} if body is None else {"json": body}))
        assert (SAID in answer.text) is (answer.status_code >= 500), (method, path, answer.text)
        statuses.append(answer.status_code)
    return statuses


def list_hanging(client: Client) -> list[str]:
    return [row["mount"] for row in client.get("/api/store/problems").json() if SAID in row["reason"]]


def test_all_but_the_mount_goes_on(hang: Hang, tmp_path: Path) -> None:
    with serving(tmp_path / "store", "embedded") as client:
        usual = eventually(lambda: max(statuses := ask_all(client, "gone")) < 500 and statuses)
        assert list_hanging(client) == []
        hang.end.clear()
        assert set(ask_all(client, "gone")) <= {500, 503}
        assert list_hanging(client) == ["gone"] and client.get("/health").json()["store"]["problems"] >= 1
        eventually(lambda: ask_all(client, "here") == usual)
        assert len(client.get("/api/config/projects").json()) == len(client.get("/api/files/mounts").json()) == 2
        run = client.start_run("own", FLOW.format(name="own"))
        assert client.await_run(run["id"])["status"] == "completed"
        # Changes are seen, also after a comparison, and in the other mount.
        client.run(client.server.store.watch.scan())
        for place, query in ((tmp_path / "store" / "workflows", ""), (tmp_path / "here" / WORKFLOWS, "?mount=here")):
            (place / "seen.yaml").write_text(FLOW.format(name="seen"))
            eventually(lambda query=query: client.get(f"/api/workflows/seen{query}").status_code == 200)
        added = {"name": "more", "local": f"{tmp_path}/gone/more", "remote": "/far/more"}
        assert client.post("/api/config/ssh/profiles/it/mounts", added).status_code < 300
        assert set(ask_all(client, "gone")) <= {500, 503}
        hang.end.set()
        eventually(lambda: max(ask_all(client, "gone")) < 500 and not list_hanging(client))
        (tmp_path / "gone" / WORKFLOWS / "back.yaml").write_text(FLOW.format(name="back"))
        eventually(lambda: client.get("/api/workflows/back?mount=gone").status_code == 200)
    assert hang.on_loop == []


def test_a_server_starts_and_ends_while_a_mount_hangs(hang: Hang, tmp_path: Path) -> None:
    hang.end.clear()
    with serving(tmp_path / "store", "embedded") as client:
        assert set(ask_all(client, "gone")) <= {500, 503}
        eventually(lambda: max(ask_all(client, "here")) < 500)
        assert list_hanging(client) == ["gone"]
    assert hang.on_loop == []


def test_a_job_whose_work_folder_hangs_waits_for_it(hang: Hang, tmp_path: Path) -> None:
    with serving(tmp_path / "store", "embedded") as client:
        run = client.post("/api/workflows/flow/run?mount=gone", {}).json()
        assert client.await_run(run["id"])["status"] == "completed"
        text = f"name: there\njobs:\n  - {{name: a, command: 'true', work_dir: {tmp_path}/gone/work}}\n"
        hang.end.clear()
        run = client.start_run("there", text)
        others = client.start_run("own", FLOW.format(name="own"))
        assert client.await_run(others["id"])["status"] == "completed"
        assert client.get(f"/api/workflows/runs/{run['id']}").json()["jobs"][0]["job_id"] is None
        hang.end.set()
        assert client.await_run(run["id"], 120)["status"] == "completed"
    assert hang.on_loop == []


@asynchronous
async def test_the_output_of_other_jobs_is_read(hang: Hang, tmp_path: Path) -> None:
    paths = [str(tmp_path / name / "out.log") for name in ("gone", "here")]
    for path in paths:
        Path(path).write_text("text")
    place = JobPlace(mounts=tuple(str(Path(path).parent) for path in paths))
    read = job_files.make_reader(place)
    assert await read([(path, 0, 10) for path in paths], None) == [(b"text", 4)] * 2
    hang.end.clear()
    with pytest.raises(StoreUnavailable, match=SAID):
        await read([(paths[0], 0, 10)], None)
    assert await read([(paths[1], 0, 10)], None) == [(b"text", 4)]

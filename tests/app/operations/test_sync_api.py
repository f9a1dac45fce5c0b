"""Syncs over HTTP: one at a time for each mount, watched, resumed after a crash; a program stands in for rsync here.

tests/engine/mounts/test_sync_ssh.py does the same with rsync itself and a real sshd.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from store.config.profiles import Mount, Profile, Profiles
from store.rules import syncs
from tests.app_client import Client, serving
from tests.app_server import Server
from tests.waiting import eventually

# Notes that it began, tells of some progress, waits until it may go on, and notes its end.
RSYNC = """\
#!/bin/sh
echo "$$ $@" >> {top}/began
printf '\\r  500  42%%  2.00kB/s  0:00:09 (xfr#1, to-chk=6/10)  '
while [ ! -e {top}/go ]; do printf '\\r'; sleep 0.05; done
if [ -e {top}/refuse ]; then echo "rsync: [sender] opendir \\"$(cat {top}/refuse)\\" failed: No (13)" >&2; exit 23; fi
echo "$$" >> {top}/ended
"""


def write_stand_ins(top: Path) -> str:
    """A PATH with a stand-in for rsync, beside a store whose profile has two mounts; everything below `top`."""
    for name in ("bin", "ml", "other", "store"):
        (top / name).mkdir()
        (top / name / "a").touch()
    (top / "bin" / "rsync").write_text(RSYNC.format(top=top))
    (top / "bin" / "rsync").chmod(0o755)
    places = {"ml": "/far/ml", "other": "/far/other"}
    named = ", ".join(f"{{name: {name}, local: {top / name}, remote: {far}}}" for name, far in places.items())
    text = f"current: far\nprofiles:\n  far: {{hostname: far.example, mounts: [{named}]}}\n"
    (top / "store" / "profiles.yaml").write_text(text)
    return f"{top / 'bin'}:{os.environ['PATH']}"


def read_notes(top: Path, what: str) -> list[str]:
    """Read the lines that the stand-ins have written."""
    path = top / what
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, Path]]:
    """The app with a cluster far away, and the folder with everything."""
    monkeypatch.setenv("PATH", write_stand_ins(tmp_path))
    with serving(tmp_path / "store", "embedded") as client:
        yield client, tmp_path
        (tmp_path / "go").touch()


def request_sync(client: Client, mount: str = "ml", **more: Any) -> Any:
    """Request a sync; return the answer."""
    return client.post("/api/files/sync", {"mount": mount, **more})


def state(client: Any, sync_id: str) -> dict[str, Any]:
    """How far that sync has come."""
    return dict(client.get(f"/api/files/sync/{sync_id}").json())


def test_the_document_s_answer(far: tuple[Client, Path]) -> None:
    client, top = far
    (top / "go").touch()
    assert request_sync(client).json() == {"status": "synced", "mount": "ml"}
    (words,) = read_notes(top, "began")
    assert words.endswith(f"-- {top}/ml/ far.example:/far/ml/") and "--delete" not in words
    assert request_sync(client, delete=True).json() == {"status": "synced", "mount": "ml"}
    assert "--delete" in read_notes(top, "began")[1]
    assert list((top / "store" / "syncs").iterdir()) == [], "what was waited for needs no record"


def test_one_that_is_not_waited_for(far: tuple[Client, Path]) -> None:
    client, top = far
    answer = request_sync(client, wait=False).json()
    assert answer == {"status": "syncing", "mount": "ml", "id": answer["id"]}
    sync = eventually(lambda: (sync := state(client, answer["id"]))["percent"] == 42 and sync)
    assert (sync["state"], sync["rate_bytes_s"], sync["size_bytes"]) == ("syncing", 2048, 500)
    assert (sync["files_done"], sync["files_total"], sync["profile"]) == (4, 10, "far")
    assert sync["started_at"] >= sync["asked_at"] and sync["ended_at"] is None and sync["reason"] is None
    (top / "go").touch()
    ended = eventually(lambda: (sync := state(client, answer["id"]))["ended_at"] and sync)
    assert (ended["state"], ended["percent"], ended["size_bytes"], ended["files_total"]) == ("synced", 100, 500, 10)


def test_one_that_is_cancelled(far: tuple[Client, Path]) -> None:
    client, top = far
    sync_id = request_sync(client, wait=False).json()["id"]
    (words,) = eventually(lambda: read_notes(top, "began"))
    assert client.delete(f"/api/files/sync/{sync_id}").json()["state"] == "cancelled"
    eventually(lambda: not alive(words.split()[0]))
    again = client.delete(f"/api/files/sync/{sync_id}").json()
    assert (again["state"], again["percent"]) == ("cancelled", None) and again["ended_at"]
    assert read_notes(top, "began") == [words] and read_notes(top, "ended") == [], "it is not begun anew"
    assert client.delete("/api/files/sync/0f4c5a52-90a1-4a3b-8a53-4d4b8f0f2a11").status_code == 404


def test_why_one_failed_does_not_tell_where_the_mount_is(far: tuple[Client, Path]) -> None:
    client, top = far
    (top / "refuse").write_text(f"{top}/ml/shut")
    (top / "go").touch()
    answer = request_sync(client)
    assert answer.status_code == 502 and answer.json() == {"detail": 'rsync failed: opendir "shut" failed: No (13)'}
    sync_id = request_sync(client, wait=False).json()["id"]
    ended = eventually(lambda: (sync := state(client, sync_id))["ended_at"] and sync)
    assert (ended["state"], ended["reason"]) == ("failed", 'rsync failed: opendir "shut" failed: No (13)')


def test_an_empty_folder_here_deletes_nothing_there(far: tuple[Client, Path]) -> None:
    """As when the disk that belongs there is not mounted."""
    client, top = far
    (top / "go").touch()
    (top / "ml" / "a").unlink()
    answer = request_sync(client, delete=True)
    assert answer.status_code == 409 and "is empty here" in answer.text
    assert read_notes(top, "began") == []
    assert (
        request_sync(client, delete=True, dry_run=True).status_code == 200 and request_sync(client).status_code == 200
    )
    sync_id = request_sync(client, delete=True, wait=False).json()["id"]
    ended = eventually(lambda: (sync := state(client, sync_id))["ended_at"] and sync)
    assert ended["state"] == "failed" and "is empty here" in ended["reason"]


def test_one_at_a_time_for_each_mount(far: tuple[Client, Path]) -> None:
    client, top = far
    first = request_sync(client, wait=False).json()["id"]
    eventually(lambda: len(read_notes(top, "began")) == 1)
    second = request_sync(client, wait=False).json()["id"]
    assert second != first, "the first may have passed by what changed since"
    assert request_sync(client, wait=False).json()["id"] == second, "one that has not begun serves all"
    mirror = request_sync(client, wait=False, delete=True).json()["id"]
    assert mirror not in (first, second), "but not those who want something else"
    other = request_sync(client, "other", wait=False).json()["id"]
    eventually(lambda: state(client, other)["state"] == "syncing")
    assert [state(client, sync_id)["state"] for sync_id in (second, mirror)] == ["waiting", "waiting"]
    eventually(lambda: len(read_notes(top, "began")) == 2)
    (top / "go").touch()
    for sync_id in (first, second, mirror, other):
        eventually(lambda sync_id=sync_id: state(client, sync_id)["state"] == "synced")
    assert len(read_notes(top, "began")) == 4


def test_one_that_does_not_get_its_turn(far: tuple[Client, Path]) -> None:
    client, top = far
    assert client.request("PUT", "/api/config", json={"sync": {"lock_timeout_seconds": 1}}).status_code == 200
    request_sync(client, wait=False)
    eventually(lambda: read_notes(top, "began"))
    answer = request_sync(client)
    assert answer.status_code == 502 and "another sync of this mount has not ended within 1 s" in answer.text
    assert len(read_notes(top, "began")) == 1


def test_rsync_is_not_installed(far: tuple[Client, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    client, top = far
    monkeypatch.setenv("PATH", str(top))
    answer = request_sync(client)
    assert answer.status_code == 502 and answer.json()["detail"] == "rsync failed: rsync is not installed (not on PATH)"


def test_a_mount_that_is_gone_before_its_turn(far: tuple[Client, Path]) -> None:
    client, top = far
    text = (top / "store" / "profiles.yaml").read_text()
    lost = syncs.build_sync("lost", "far", "nope", False, 0)
    client.run(client.server.store.syncs.create(lost.id, lost))
    ended = eventually(lambda: (sync := state(client, lost.id))["ended_at"] and sync)
    assert (ended["state"], ended["reason"], ended["percent"]) == ("failed", "Mount 'nope' not found", None)
    first = request_sync(client, wait=False).json()["id"]
    (top / "store" / "profiles.yaml").write_text(text.replace("current: far", "current: near") + "  near: {}\n")
    eventually(lambda: client.get("/api/files/browse?mount=ml").status_code == 404)
    assert request_sync(client).status_code == 404
    (top / "go").touch()
    eventually(lambda: state(client, first)["state"] == "synced", what="it was promised for the profile of then")


def test_only_the_last_are_remembered(far: tuple[Client, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    client, top = far
    monkeypatch.setattr(syncs, "KEPT", 2)
    (top / "go").touch()
    made = []
    for _ in range(5):
        made.append(request_sync(client, wait=False).json()["id"])
        eventually(lambda: state(client, made[-1])["state"] == "synced")
    known = [sync_id for sync_id in made if client.get(f"/api/files/sync/{sync_id}").status_code == 200]
    assert known == made[-3:], "two that had ended when the last one was asked for, and that one"


# --- the server ends, or is killed -----------------------------------------------------------------------------------


def alive(pid: str) -> bool:
    """Whether the process runs."""
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def far_server(tmp_path: Path) -> Iterator[Callable[[], Server]]:
    """Starts a server over one store, again and again; the last is closed in the end."""
    path, made = write_stand_ins(tmp_path), []

    def start() -> Server:
        made.append(Server(tmp_path / "store", "embedded", PATH=path))
        return made[-1].start()

    yield start
    (tmp_path / "go").touch()
    for server in made:
        server.close()


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_was_promised_goes_on_after_a_restart(
    far_server: Callable[[], Server], tmp_path: Path, how: int
) -> None:
    server = far_server()
    sync_id = server.http.post("/api/files/sync", json={"mount": "ml", "wait": False}).json()["id"]
    (pid,) = eventually(lambda: [line.split()[0] for line in read_notes(tmp_path, "began")])
    eventually(lambda: state(server.http, sync_id)["state"] == "syncing")
    server.end(how)
    eventually(lambda: not alive(pid), 20, "what the server had started has ended")
    assert not read_notes(tmp_path, "ended")
    server = far_server()
    eventually(lambda: len(read_notes(tmp_path, "began")) == 2)
    (tmp_path / "go").touch()
    eventually(lambda: state(server.http, sync_id)["state"] == "synced")
    assert len(read_notes(tmp_path, "began")) == 2 and len(read_notes(tmp_path, "ended")) == 1


@pytest.mark.long
def test_a_request_that_waits_does_not_hold_up_the_end(far_server: Callable[[], Server], tmp_path: Path) -> None:
    server = far_server()
    said: list[Any] = []

    def wait() -> None:
        try:
            said.append(server.http.post("/api/files/sync", json={"mount": "ml"}).status_code)
        except Exception as problem:
            said.append(problem)

    waiting = threading.Thread(target=wait)
    waiting.start()
    (pid,) = eventually(lambda: [line.split()[0] for line in read_notes(tmp_path, "began")])
    server.end(signal.SIGTERM)
    waiting.join(30)
    eventually(lambda: not alive(pid))
    assert said and said != [200] and not read_notes(tmp_path, "ended")


# --- rules -----------------------------------------------------------------------------------------------------------


def test_the_place_of_a_sync_is_that_of_its_profile() -> None:
    profiles_now = Profiles(profiles={"p": Profile(mounts=[Mount(name="ml", local="/a", remote="/b")])})
    sync = syncs.build_sync("1", "p", "ml", False, 0)
    assert syncs.find_mount(profiles_now, sync)[1].remote == "/b"
    for change in ({"profile": "q"}, {"mount": "nope"}):
        with pytest.raises(Exception, match=r"Mount '(ml|nope)' not found"):
            syncs.find_mount(profiles_now, sync.model_copy(update=change))

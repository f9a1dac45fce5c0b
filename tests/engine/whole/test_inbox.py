"""Requests dropped as files: each is carried out once, whoever writes how, and whatever is killed when."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from store.disk import writers
from store.disk.files import Files
from store.errors import StoreUnavailable
from store.rules import inbox
from store.rules.inbox import Inbox
from tests.app_client import Client, down, up
from tests.app_server import Server
from tests.waiting import eventually

WORKFLOW = """\
name: hello
args: {word: plain, place: /nowhere}
jobs: [{name: say, command: "echo {{ word }} >> {{ place }}/said"}]
"""
WHOLE = "workflow: hello\nargs: {word: x}\n"

# --- which files are ready, and what they say ------------------------------------------------------------------------


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled, and as given up, at once."""
    monkeypatch.setattr(inbox, "SETTLED_S", -1)
    monkeypatch.setattr(inbox, "GIVEN_UP_S", -1)


@pytest.mark.parametrize(
    ("why", "text", "said"),
    [
        ("a workflow", "workflow: a\n", {}),
        ("args of every kind", "workflow: a\nargs: {n: 1, f: 0.5, b: true, s: no, l: [1]}\n",
         {"args_override": {"n": 1, "f": 0.5, "b": True, "s": "no", "l": [1]}}),
        ("a part", "workflow: a\nfrom_job: b\nto_job: c\n", {"from_job": "b", "to_job": "c"}),
        ("one job", "workflow: a\nsingle_job: b\n", {"single_job": "b"}),
        ("a sweep", "workflow: a\nsweep: {matrix: {n: [1]}}\n",
         {"sweep": {"matrix": {"n": [1]}, "exclude": [], "fail_fast": False, "max_parallel": 4}}),
        ("comments", "# please\nworkflow: a  # this\n", {}),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_file_asks_for(at_once: None, tmp_path: Path, why: str, text: str, said: dict[str, Any]) -> None:
    (tmp_path / "a.yaml").write_text(text)
    (request,) = Inbox(tmp_path).list_ready()
    assert request.error is None and request.request is not None
    body = request.to_body()
    assert {key: body[key] for key in said} == said and request.request.workflow == "a", why
    assert {key for key, value in body.items() if value} <= set(said), "nothing else is said"


@pytest.mark.parametrize(
    ("why", "data", "reason"),
    [
        ("empty", b"", ""),
        ("no YAML", b"workflow: [a\n", ""),
        ("no text", b"\xff\xfe\x00", ""),
        ("zeros, as a crash leaves them", b"\0" * 64, ""),
        ("no mapping", b"- workflow\n", ""),
        ("no workflow", b"args: {a: 1}\n", "workflow"),
        ("a workflow that is no name", b"workflow: 5\n", "workflow"),
        ("a typing error", b"workflow: a\narg: {a: 1}\n", "arg"),
        ("the same key twice", b"workflow: a\nworkflow: b\n", "workflow"),
        ("args that are a list", b"workflow: a\nargs: [1]\n", "args"),
        ("a sweep without a matrix", b"workflow: a\nsweep: {max_parallel: 2}\n", "sweep.matrix"),
        ("an empty sweep", b"workflow: a\nsweep: {}\n", "sweep.matrix"),
        ("a sweep that is none", b"workflow: a\nsweep: [1]\n", "sweep"),
        ("a matrix that is none", b"workflow: a\nsweep: {matrix: [1]}\n", "sweep.matrix"),
        ("none at once", b"workflow: a\nsweep: {matrix: {n: [1]}, max_parallel: 0}\n", "max_parallel"),
        ("half of one at once", b"workflow: a\nsweep: {matrix: {n: [1]}, max_parallel: 1.5}\n", "max_parallel"),
        ("an exclusion that is none", b"workflow: a\nsweep: {matrix: {n: [1]}, exclude: [1]}\n", "exclude"),
        ("a number that no request can hold", b"workflow: a\nargs: {n: " + b"9" * 4001 + b"}\n", "4000 digits"),
        ("a key that is a number", b"workflow: a\nargs: {a: {1: 2}}\n", ""),
        ("half a character", b'workflow: a\nargs: {a: "\\ud800"}\n', ""),
        ("nested without end", b"workflow: a\nargs: {a: " + b"[" * 500 + b"]" * 500 + b"}\n", ""),
    ],
    ids=str,
)  # fmt: skip
def test_what_asks_for_nothing(at_once: None, tmp_path: Path, why: str, data: bytes, reason: str) -> None:
    (tmp_path / "a.yaml").write_bytes(data)
    (request,) = Inbox(tmp_path).list_ready()
    assert request.request is None and request.error and reason in request.error, why


@pytest.mark.parametrize("name", [".a.yaml", "a.txt", "a.yaml.part", "a", "a.yaml~"])
def test_files_of_other_names_are_left_alone(at_once: None, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(WHOLE)
    assert Inbox(tmp_path).list_ready() == []


def test_what_is_no_plain_file_is_left_alone(at_once: None, tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "elsewhere").write_text(WHOLE)
    (tmp_path / "link.yaml").symlink_to("elsewhere")
    os.mkfifo(tmp_path / "pipe.yaml")
    assert Inbox(tmp_path).list_ready() == []


def test_a_file_that_still_changes_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whole.yaml").write_text(WHOLE)
    (tmp_path / "half.yaml").write_text("workflow: hello\nargs: {wor")
    monkeypatch.setattr(inbox, "SETTLED_S", 1000)
    monkeypatch.setattr(inbox, "GIVEN_UP_S", 1000)
    assert Inbox(tmp_path).list_ready() == []
    monkeypatch.setattr(inbox, "SETTLED_S", -1)
    assert [request.path.name for request in Inbox(tmp_path).list_ready()] == ["whole.yaml"], (
        "half a file may become a whole one"
    )
    monkeypatch.setattr(inbox, "GIVEN_UP_S", -1)
    assert {request.path.name for request in Inbox(tmp_path).list_ready() if request.request is None} == {"half.yaml"}


def test_a_file_is_left_alone_until_its_last_writer_has_closed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert writers.is_local(tmp_path), "this test needs a local disk"
    monkeypatch.setattr(inbox, "SETTLED_S", -1)
    now = [0.0]
    dropped = Inbox(tmp_path, lambda: now[0])
    with (tmp_path / "a.yaml").open("w") as first, (tmp_path / "a.yaml").open("a") as second:
        first.write("workflow: hello\n")
        first.close()
        for now[0] in (0, 5, inbox.HELD_S - 1, inbox.HELD_S):
            assert dropped.list_ready() == []
            assert dropped.held == ({"a.yaml"} if now[0] >= inbox.HELD_S else set()), "one that never ends is told"
        second.write("args: {word: x}\n")
    (request,) = dropped.list_ready()
    assert request.request is not None and request.request.args == {"word": "x"} and not dropped.held


@pytest.mark.parametrize("why", ["a network filesystem", "a file of somebody else"])
def test_where_writers_are_not_known_a_file_has_to_stay_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    if why == "a network filesystem":
        (tmp_path / "mountinfo").write_text(
            f"1 0 0:1 / / rw - ext4 /dev/x rw\n2 1 0:2 / {tmp_path} rw - nfs4 far:/x rw\n"
        )
        monkeypatch.setattr(writers, "MOUNTS", tmp_path / "mountinfo")
        assert not writers.is_local(tmp_path) and writers.is_local(tmp_path.parent)
    else:
        monkeypatch.setattr(writers, "is_open_for_writing", lambda _path: None)
    now = [0.0]
    dropped = Inbox(tmp_path, lambda: now[0])
    (tmp_path / "a.yaml").write_text("workflow: hello\n")
    os.utime(tmp_path / "a.yaml", (0, 0))  # a server's clock may say anything
    for now[0], more in ((0, ""), (2.9, "args: {word: x}\n"), (4, ""), (6.9, "")):
        assert dropped.list_ready() == []
        with (tmp_path / "a.yaml").open("a") as file:
            file.write(more)
    now[0] = 7
    assert [request.path.name for request in dropped.list_ready()] == ["a.yaml"]


def test_the_folder_is_looked_at_when_it_changed_and_now_and_then(tmp_path: Path) -> None:
    now = [0.0]
    dropped = Inbox(tmp_path, lambda: now[0])
    assert dropped.is_due(0.5) and not dropped.is_due(0.5)
    now[0] = 0.4
    assert not dropped.is_due(0.5)
    dropped.mark_changed()
    assert dropped.is_due(0.5) and not dropped.is_due(0.5)
    now[0] = 0.9
    assert dropped.is_due(0.5)


def test_what_is_moved_into_place_is_taken_at_once(tmp_path: Path) -> None:
    (tmp_path / ".a").write_text(WHOLE)
    os.utime(tmp_path / ".a", (1, 1))
    (tmp_path / ".a").rename(tmp_path / "a.yaml")
    assert len(Inbox(tmp_path).list_ready()) == 1


def test_who_opens_a_file_that_is_looked_at_is_not_held_up(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WHOLE)
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(lambda: [writers.is_open_for_writing(tmp_path / "a.yaml") for _ in range(2000)])
        while not looking.done():
            (tmp_path / "a.yaml").write_text(WHOLE)
    assert {True, False} >= set(looking.result())


def test_the_oldest_first(at_once: None, tmp_path: Path) -> None:
    for name in ("c", "a", "b"):
        (tmp_path / f"{name}.yaml").write_text(WHOLE)
        eventually(lambda: Path(tmp_path / "tick").write_text("") == 0)
    times = [request.path.lstat().st_ctime for request in Inbox(tmp_path).list_ready()]
    assert times == sorted(times) and len(times) == 3


def test_the_key_is_the_files_own(at_once: None, tmp_path: Path) -> None:
    keys = set()
    (tmp_path / "kept").write_text(WHOLE)
    for _ in range(20):
        shutil.copy2(tmp_path / "kept", tmp_path / "a.yaml")
        (request,) = eventually(Inbox(tmp_path).list_ready)  # a program started meanwhile may still have it open
        assert Inbox(tmp_path).list_ready()[0].key == request.key, "as long as the file is the same"
        keys.add(request.key)
        (tmp_path / "a.yaml").unlink()
    assert len(keys) == 20, "also when the inode and the time of change are those of the one before"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_where_files_go(at_once: None, tmp_path: Path) -> None:
    files = Files(tmp_path)
    try:
        for round_ in (1, 2):
            (tmp_path / "good.yaml").write_text(WHOLE)
            (tmp_path / "bad.yaml").write_text("workflow: [\n")
            good, bad = sorted(Inbox(tmp_path).list_ready(), key=lambda request: request.request is None)
            asyncio.run(inbox.move_to_done(files, good, f"run {round_}"))
            asyncio.run(inbox.move_to_failed(files, bad, "because\nof that"))
        first, second = sorted((tmp_path / "done").iterdir(), key=lambda path: path.read_text())
        assert [path.read_text() for path in (first, second)] == [f"# started as run {n}\n{WHOLE}" for n in (1, 2)]
        assert {path.suffix for path in (first, second)} == {".yaml"} and first.name == "good.yaml"
        assert names(tmp_path / "failed") == ["bad.reason.txt", "bad.yaml"], "the same mistake is kept once"
        assert (tmp_path / "failed" / "bad.reason.txt").read_text() == "because\nof that\n"
        assert not list(tmp_path.glob("*.yaml"))
    finally:
        files.close()


def test_another_file_dropped_under_the_name_meanwhile_stays(at_once: None, tmp_path: Path) -> None:
    files = Files(tmp_path)
    try:
        (tmp_path / "a.yaml").write_text(WHOLE)
        (request,) = Inbox(tmp_path).list_ready()
        (tmp_path / ".new").write_text("workflow: other\n")
        (tmp_path / ".new").rename(tmp_path / "a.yaml")
        asyncio.run(inbox.move_to_done(files, request, "run 1"))
        assert names(tmp_path) == ["a.yaml", "done/a.yaml"]
        (two,) = Inbox(tmp_path).list_ready()
        assert two.key != request.key and two.request is not None and two.request.workflow == "other"
        (tmp_path / "a.yaml").unlink()
        asyncio.run(inbox.move_to_done(files, two, "run 2"))
        assert len(names(tmp_path)) == 2, "one that somebody took back was started all the same"
    finally:
        files.close()


def test_a_move_that_was_cut_off_leaves_one_copy(at_once: None, tmp_path: Path) -> None:
    files = Files(tmp_path)
    try:
        (tmp_path / "a.yaml").write_text(WHOLE)
        (request,) = Inbox(tmp_path).list_ready()
        (tmp_path / "done").mkdir()
        (tmp_path / "done" / "a.yaml").write_text(f"# started as run 1\n{WHOLE}")
        asyncio.run(inbox.move_to_done(files, request, "run 1"))
        assert names(tmp_path) == ["done/a.yaml"]
    finally:
        files.close()


# --- with a server ---------------------------------------------------------------------------------------------------


class Dropping:
    """A client, and the inbox of its store."""

    def __init__(self, client: Client, place: Path) -> None:
        self.client, self.place = client, place
        self.inbox = client.store / "inbox"
        client.workflow("hello", WORKFLOW)

    def text(self, word: str, more: str = "") -> str:
        return f"workflow: hello\nargs: {{word: {word}, place: '{self.place}'}}\n{more}"

    def drop(self, name: str, text: str) -> None:
        """As programs should: whole, by rename."""
        (self.inbox / f".{name}").write_text(text)
        (self.inbox / f".{name}").rename(self.inbox / name)

    def done(self, name: str) -> tuple[str, str]:
        """What the file was started as, and its number."""
        path = self.inbox / "done" / name
        eventually(path.exists, what=f"{name} is done: {names(self.inbox)}")
        first = path.read_text().splitlines()[0].split()
        assert first[:3] == ["#", "started", "as"]
        return first[3], first[4]

    def read_failure(self, name: str) -> str:
        """Read the reason."""
        path = self.inbox / "failed" / name
        eventually(path.exists, what=f"{name} has failed: {names(self.inbox)}")
        return path.with_suffix(".reason.txt").read_text()

    def read_calls(self) -> list[str]:
        path = self.place / "said"
        return sorted(path.read_text().split()) if path.exists() else []

    def runs_of(self, word: str) -> list[dict[str, Any]]:
        found = self.client.get("/api/workflows/runs", params={"name": "hello"}).json()
        return [run for run in found if run["args"]["word"] == word and run["args"]["place"] == str(self.place)]


@pytest.fixture
def dropping(client: Client, tmp_path: Path) -> Iterator[Dropping]:
    yield Dropping(client, tmp_path)


def test_a_run_from_the_inbox(dropping: Dropping) -> None:
    text = dropping.text("one")
    dropping.drop("first.yaml", text)
    kind, number = dropping.done("first.yaml")
    run = dropping.client.await_run(number)
    assert (kind, run["status"], run["triggered_by"]) == ("run", "completed", "inbox")
    assert dropping.read_calls() == ["one"]
    assert (dropping.inbox / "done" / "first.yaml").read_text() == f"# started as run {number}\n{text}"
    assert not (dropping.inbox / "first.yaml").exists()


def test_a_sweep_from_the_inbox(dropping: Dropping) -> None:
    dropping.drop("sweep.yml", dropping.text("x", "sweep: {matrix: {word: [a, b, c]}, max_parallel: 2}\n"))
    kind, number = dropping.done("sweep.yml")
    row = eventually(
        lambda: (found := dropping.client.get(f"/api/sweep_runs/{number}").json())["completed_at"] and found
    )
    assert (kind, row["status"], row["submission_source"], row["max_parallel"]) == ("sweep", "completed", "inbox", 2)
    assert dropping.read_calls() == ["a", "b", "c"]


def test_a_file_written_slowly(dropping: Dropping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.rules.inbox.HELD_S", 0.0)
    text = dropping.text("slow")
    with (dropping.inbox / "slow.yaml").open("w") as file:
        for number, piece in enumerate(("workflow: hello\n", text.removeprefix("workflow: hello\n"))):
            file.write(piece)
            file.flush()
            other = f"other-{number}.yaml"
            dropping.drop(other, dropping.text("other"))
            dropping.done(other)  # the server has looked at both
            assert (dropping.inbox / "slow.yaml").exists()
        eventually(lambda: "inbox/slow.yaml" in dropping.client.get("/api/store/problems").text)
    _, number = dropping.done("slow.yaml")
    assert dropping.client.await_run(number)["args"]["word"] == "slow"
    assert len(dropping.runs_of("slow")) == 1
    eventually(lambda: "inbox/slow.yaml" not in dropping.client.get("/api/store/problems").text)


@pytest.mark.parametrize(
    ("why", "text", "reason"),
    [
        ("no YAML", "workflow: [\n", "line"),
        ("an unknown workflow", "workflow: nobody\n", "'nobody' not found"),
        ("an unknown mount", "workflow: hello\nmount: nobody\n", "nobody"),
        ("an unknown job", "workflow: hello\nsingle_job: nobody\n", "nobody"),
        ("code", "workflow: hello\nargs: {word: 'python:1'}\n", "python:"),
        ("an empty axis", "workflow: hello\nsweep: {matrix: {word: []}}\n", "at least one value"),
        ("a typing error", "workflow: hello\narg: {word: x}\n", "arg"),
    ],
    ids=str,
)
def test_what_cannot_be_started_says_why(dropping: Dropping, why: str, text: str, reason: str) -> None:
    before = {run["id"] for run in dropping.client.get("/api/workflows/runs").json()}
    name = f"{why.replace(' ', '-')}.yaml"
    dropping.drop(name, text)
    assert reason in dropping.read_failure(name), why
    assert (dropping.inbox / "failed" / name).read_text() == text
    assert {run["id"] for run in dropping.client.get("/api/workflows/runs").json()} == before


def test_the_same_file_again_starts_again(dropping: Dropping) -> None:
    kept = dropping.place / "kept.yaml"
    kept.write_text(dropping.text("twice"))
    for times in (1, 2, 3):
        shutil.copy2(kept, dropping.inbox / ".twice.yaml")
        (dropping.inbox / ".twice.yaml").rename(dropping.inbox / "twice.yaml")
        eventually(lambda wanted=times: len(list((dropping.inbox / "done").glob("twice*.yaml"))) == wanted)
        assert len(dropping.runs_of("twice")) == times


def test_many_at_once_and_one_that_is_wrong(dropping: Dropping) -> None:
    for number in range(10):
        dropping.drop(f"many-{number}.yaml", dropping.text(f"m{number}") if number != 3 else "workflow: nobody\n")
    assert "nobody" in dropping.read_failure("many-3.yaml")
    for number in (0, 1, 2, 4, 5, 6, 7, 8, 9):
        dropping.client.await_run(dropping.done(f"many-{number}.yaml")[1])
    assert dropping.read_calls() == [f"m{number}" for number in range(10) if number != 3]


def test_what_slurm_refuses_says_why(dropping: Dropping) -> None:
    text = WORKFLOW.replace("name: hello", "name: elsewhere").replace("}]", ", resources: {partition: nowhere}}]")
    dropping.client.workflow("elsewhere", text)
    dropping.drop("refused.yaml", "workflow: elsewhere\n")
    assert "nvalid partition" in dropping.read_failure("refused.yaml")


def test_an_unreachable_cluster_is_waited_for(dropping: Dropping) -> None:
    if dropping.client.cluster != "embedded":
        pytest.skip("chosen faults need the embedded cluster")
    down(dropping.client.store)
    try:
        eventually(lambda: dropping.client.get("/health").json()["status"] == "degraded")
        dropping.drop("patient.yaml", dropping.text("patient"))
        eventually(lambda: "patient" not in dropping.read_calls() and (dropping.inbox / "patient.yaml").exists())
    finally:
        up(dropping.client.store)
    dropping.client.await_run(dropping.done("patient.yaml")[1])
    assert dropping.read_calls() == ["patient"] and len(dropping.runs_of("patient")) == 1


@pytest.mark.parametrize("more", ["", "sweep: {matrix: {word: [p, q]}}\n"], ids=["run", "sweep"])
def test_what_was_started_but_not_moved_is_not_started_again(
    dropping: Dropping, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    real, made = inbox.move_to_done, []

    async def cut_off(files: Files, dropped: inbox.DroppedFile, what: str) -> None:
        made.append(what)
        if len(made) < 4:
            raise StoreUnavailable(5, "as if killed here")
        await real(files, dropped, what)

    monkeypatch.setattr(inbox, "move_to_done", cut_off)
    name = "cut-off-sweep.yaml" if more else "cut-off-run.yaml"
    dropping.drop(name, dropping.text("once", more))
    kind, number = dropping.done(name)
    assert len(set(made)) == 1 and len(made) == 4
    if kind == "run":
        dropping.client.await_run(number)
    else:
        eventually(lambda: dropping.client.get(f"/api/sweep_runs/{number}").json()["completed_at"])
    assert dropping.read_calls() == (["p", "q"] if more else ["once"])


def test_what_was_started_stands_in_done_though_its_workflow_has_gone_meanwhile(
    dropping: Dropping, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = inbox.move_to_done, []

    async def cut_off(files: Files, dropped: inbox.DroppedFile, what: str) -> None:
        made.append(what)
        if len(made) == 1:
            dropping.client.store.joinpath("workflows", "gone.yaml").unlink()
        if "gone" in dropping.client.server.store.workflows:
            raise StoreUnavailable(5, "as if killed here")
        await real(files, dropped, what)

    monkeypatch.setattr(inbox, "move_to_done", cut_off)
    dropping.client.workflow("gone", WORKFLOW.replace("name: hello", "name: gone"))
    dropping.drop("then.yaml", dropping.text("then").replace("hello", "gone"))
    _, number = dropping.done("then.yaml")
    assert set(made) == {f"run {number}"} and len(made) > 1
    dropping.client.await_run(number)
    assert dropping.read_calls() == ["then"]


def test_one_that_waits_holds_up_no_other(dropping: Dropping, monkeypatch: pytest.MonkeyPatch) -> None:
    real, goes_on = inbox.move_to_done, asyncio.Event()

    async def slow(files: Files, dropped: inbox.DroppedFile, what: str) -> None:
        if dropped.path.name == "slow.yaml":
            await goes_on.wait()
        await real(files, dropped, what)

    monkeypatch.setattr(inbox, "move_to_done", slow)
    dropping.drop("slow.yaml", dropping.text("slow"))
    eventually(lambda: dropping.runs_of("slow"))
    dropping.drop("quick.yaml", dropping.text("quick"))
    dropping.client.await_run(dropping.done("quick.yaml")[1])
    dropping.client.loop.call_soon_threadsafe(goes_on.set)
    dropping.client.await_run(dropping.done("slow.yaml")[1])
    assert (dropping.read_calls(), len(dropping.runs_of("slow"))) == (["quick", "slow"], 1)


def test_a_refusal_that_was_not_written_down_stays_one(dropping: Dropping, monkeypatch: pytest.MonkeyPatch) -> None:
    real, reasons = inbox.move_to_failed, []

    async def cut_off(files: Files, dropped: inbox.DroppedFile, reason: str) -> None:
        reasons.append(reason)
        if len(reasons) < 2:
            raise StoreUnavailable(5, "as if killed here")
        await real(files, dropped, reason)

    monkeypatch.setattr(inbox, "move_to_failed", cut_off)
    text = WORKFLOW.replace("name: hello", "name: nowhere").replace("}]", ", resources: {partition: nowhere}}]")
    dropping.client.workflow("nowhere", text)
    dropping.drop("again.yaml", "workflow: nowhere\n")
    assert "nvalid partition" in dropping.read_failure("again.yaml")
    assert len(dropping.client.get("/api/workflows/runs", params={"name": "nowhere"}).json()) == 1


# --- across the ends of servers --------------------------------------------------------------------------------------


@pytest.mark.long
def test_each_file_is_started_once_whatever_is_killed(cluster: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("SLUICE_CRASH_SEED", random.randrange(2**32)))
    chance = random.Random(seed)
    server = Server(tmp_path / "store", cluster)
    (server.store / "workflows" / "hello.yaml").write_text(WORKFLOW)
    (server.store / "inbox").mkdir()
    wanted = []
    try:
        for round_ in range(6 if cluster == "embedded" else 3):
            for number in range(3):  # these lie there while no server runs
                word = f"w{round_}{number}"
                wanted.append(word)
                text = f"workflow: hello\nargs: {{word: {word}, place: '{tmp_path}'}}\n"
                (server.store / "inbox" / f"{word}.yaml").write_text(text)
            server.start()
            # From the moment it serves, files settle and are started: in the midst of this it is killed.
            threading.Event().wait(chance.uniform(0.0, 0.8))
            server.end(signal.SIGKILL)
        server.start()
        eventually(
            lambda: not list((server.store / "inbox").glob("*.yaml")), 30, f"seed {seed}: {server.log()[-2000:]}"
        )
        runs = server.http.get("/api/workflows/runs").json()
        assert sorted(run["args"]["word"] for run in runs) == sorted(wanted), (seed, server.log()[-2000:])
        done = [path.read_text().split()[4] for path in (server.store / "inbox" / "done").glob("*.yaml")]
        assert sorted(done) == sorted(run["id"] for run in runs), "each file knows its run, and there is one of each"
        eventually(lambda: sorted((tmp_path / "said").read_text().split()) == sorted(wanted), 60, f"seed {seed}")
        assert not (server.store / "inbox" / "failed").exists()
    finally:
        if server.process is None:
            server.start()
        server.close()

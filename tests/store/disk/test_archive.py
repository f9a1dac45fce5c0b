"""The archive: what goes there and what never does, that it can be read, and that no crash loses anything."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.disk.archive import DAY_S, Group, MemberIndex, select_due
from store.documents import Retention, Run, Sweep, to_json
from store.errors import NotFound, StoreError, StoreUnavailable
from store.store import Store
from tests.app_server import Server
from tests.faulty_disk import Faulty
from tests.store.disk.archive_samples import NOW, UID, a_run, a_sweep, cell, prepare_store
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextlib.contextmanager
def open_store(root: Path, ops: Any = os) -> Iterator[Store]:
    """Open the store."""
    store = Store(root, ops=ops)
    store.open(wait_s=10)
    try:
        yield store
    finally:
        asyncio.run(store.close())


def move_due(root: Path) -> int:
    """Move what is due, and count the documents."""
    with open_store(root) as store:
        return asyncio.run(store.tidy(NOW, lock_nothing))


@contextlib.asynccontextmanager
async def lock_nothing(_number: str) -> Any:
    """Lock nothing: nobody else is there."""
    yield


def list_archived(root: Path) -> list[tuple[str, str]]:
    """List kind and id of each line in the archive."""
    files = sorted((root / "archive").glob("*.jsonl.gz"))
    lines = [line for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]
    return [(line["kind"], line["id"]) for line in map(orjson.loads, lines)]


# --- what is due -----------------------------------------------------------------------------------------------------


def ago(days: float, name: str = "", kind: str = "run", cells: int = 0) -> Group:
    """A group that ended so many days ago."""
    return Group(NOW - days * DAY_S, kind, name or f"{kind}-{days}", tuple(f"{days}-{n}" for n in range(cells)))


@pytest.mark.parametrize(
    ("why", "retention", "groups", "names"),
    [
        ("off", {}, [ago(9999)], []),
        ("nothing there", {"age_days": 1, "count": 1}, [], []),
        ("older than the age, oldest first", {"age_days": 30}, [ago(31), ago(29), ago(50)], ["run-50", "run-31"]),
        ("just as old is not older", {"age_days": 30}, [ago(30)], []),
        ("parts of days", {"age_days": 0.5}, [ago(0.6), ago(0.4)], ["run-0.6"]),
        ("beyond the newest", {"count": 2}, [ago(3), ago(1), ago(2), ago(4)], ["run-4", "run-3"]),
        ("as many as there may be", {"count": 2}, [ago(3), ago(1)], []),
        ("either of both", {"age_days": 10, "count": 2}, [ago(1), ago(2), ago(3), ago(11)], ["run-11", "run-3"]),
        ("a sweep is as many as its cells", {"count": 3}, [ago(1, kind="sweep", cells=3), ago(2)], ["run-2"]),
        ("the newest stays however large", {"count": 2}, [ago(1, kind="sweep", cells=9), ago(2)], ["run-2"]),
        ("one without cells counts too", {"count": 1}, [ago(1, kind="sweep"), ago(2)], ["run-2"]),
        ("what is left of a sweep always goes", {"count": 5}, [ago(0, "7", "cells", 2), ago(1)], ["7"]),
    ],
)
def test_what_is_due(why: str, retention: dict[str, Any], groups: list[Group], names: list[str]) -> None:
    for some in itertools.islice(itertools.permutations(groups), 24):
        assert [group.name for group in select_due(some, Retention(**retention), NOW)] == names, why


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 5)), max_size=30),
    st.none() | st.floats(0.1, 90),
    st.none() | st.integers(1, 30),
)
def test_what_stays_is_young_enough_and_few_enough(
    made: list[tuple[float, int]], age_days: float | None, count: int | None
) -> None:
    groups = [ago(days, f"{at:02}", "sweep", cells) for at, (days, cells) in enumerate(made)]
    gone = select_due(groups, Retention(age_days=age_days, count=count), NOW)
    stays = sorted((group for group in groups if group not in gone), reverse=True)
    if age_days is not None:
        assert all(NOW - group.ended <= age_days * DAY_S for group in stays)
    if count is not None:
        assert sum(max(1, len(group.cells)) for group in stays) <= count or len(stays) == 1
    for gone_group in gone:
        assert all(gone_group.ended <= other.ended for other in stays), "no older one stays"
        assert (age_days is not None and NOW - gone_group.ended > age_days * DAY_S) or count is not None


@given(st.lists(st.tuples(st.sampled_from(["run", "sweep"]), st.integers(0, 40), st.integers(0, 9)), max_size=60))
def test_ids_are_a_dict(puts: list[tuple[str, int, int]]) -> None:
    ids, model = MemberIndex(), dict[tuple[str, str], int]()
    for kind, name, member in puts:
        ids.put(kind, str(name), member)
        model[kind, str(name)] = member
    for kind, name in itertools.product(("run", "sweep"), range(41)):
        assert ids.get(kind, str(name)) == model.get((kind, str(name)))


def test_many_ids_are_still_found() -> None:
    ids = MemberIndex()
    for number in range(30_000):
        ids.put("run", str(number % 25_000), number)
    assert all(ids.get("run", str(n)) == (n + 25_000 if n < 5_000 else n) for n in range(0, 25_000, 7))
    assert ids.get("run", "25000") is None and ids.get("sweep", "1") is None


# --- moving and reading ----------------------------------------------------------------------------------------------


def test_old_runs_go_by_the_month_of_their_end_and_are_read_by_id(tmp_path: Path) -> None:
    old = [a_run("old-1", 40), a_run("old-2", 60, "failed", error="é\n"), a_run("old-3", 41, "cancelled")]
    root = prepare_store(tmp_path / "data", *old, a_run("young", 2), a_run("open", 99, "running"))
    with open_store(root) as store:
        assert asyncio.run(store.tidy(NOW, lock_nothing)) == 3
        assert store.runs.list_names() == ["open", "young"]
        assert sorted(path.name for path in (root / "runs").iterdir()) == ["open.json", "young.json"]
        for document in old:
            assert asyncio.run(store.archive.get("run", document.id)) == document, "the same document"
        assert store.list_problems() == []
    assert sorted(path.name for path in (root / "archive").iterdir()) == [
        "2026-01.jsonl.gz", "2026-02.jsonl.gz", "index.jsonl",
    ]  # fmt: skip
    assert sorted(list_archived(root)) == [("run", document.id) for document in old]
    with open_store(root) as store:
        assert asyncio.run(store.archive.get("run", "old-2")) == old[1], "after a restart too"
        with pytest.raises(NotFound, match="Run 'young' not found"):
            asyncio.run(store.archive.get("run", "young"))
        assert asyncio.run(store.tidy(NOW, lock_nothing)) == 0


@pytest.mark.parametrize(
    ("why", "document"),
    [
        ("running", a_run("x", 99, "running")),
        ("submitting", a_run("x", 99, "submitting")),
        ("over, but a job of it still runs", a_run("x", 99, "cancelled", state="RUNNING")),
        ("over, but a job of it is not known yet", a_run("x", 99, "failed", state=None)),
        ("no end is known", a_run("x", 99).model_copy(update={"completed_at": None})),
        ("an end that is no time", a_run("x", 99).model_copy(update={"completed_at": "long ago"})),
        ("a cell whose sweep somebody deleted", a_run(cell(0), 99, sweep=5)),
    ],
)
def test_what_never_goes(why: str, document: Run, tmp_path: Path) -> None:
    root = prepare_store(tmp_path / "data", document, retention="{age_days: 0.1, count: 1}")
    assert move_due(root) == 0, why
    assert not (root / "archive").exists()


def test_without_retention_nothing_goes(tmp_path: Path) -> None:
    root = prepare_store(tmp_path / "data", a_run("old", 9999), retention="{}")
    assert move_due(root) == 0 and (root / "runs/old.json").exists()


def test_a_sweep_goes_with_all_its_cells_or_not_at_all(tmp_path: Path) -> None:
    cells = [a_run(cell(n), 50, sweep=3) for n in range(3)]
    root = prepare_store(tmp_path / "data", a_sweep(3), *cells[:2], a_run(cell(2), status="running", sweep=3))
    assert move_due(root) == 0, "one of them still runs"
    prepare_store(root, a_sweep(3, status="draining"), cells[2])
    assert move_due(root) == 0, "the sweep is not over"
    prepare_store(root, a_sweep(3, days_ago=2))
    assert move_due(root) == 0, "old cells of a young sweep stay"
    prepare_store(root, a_sweep(3))
    with open_store(root) as store:
        assert asyncio.run(store.tidy(NOW, lock_nothing)) == 4
        assert (store.runs.list_names(), store.sweeps.list_names()) == ([], [])
    with open_store(root) as store:
        archive = store.archive
        assert asyncio.run(archive.get("sweep", "3")) == a_sweep(3)
        assert asyncio.run(archive.get("run", cell(1))) == cells[1]
        assert asyncio.run(archive.read_line("sweep", "3"))["cells"] == {cell.id: "completed" for cell in cells}
        assert asyncio.run(archive.read_documents("run", [cell(0), cell(2), "x"])) == {
            cell(n): cells[n] for n in (0, 2)
        }
        assert (archive.get_largest_id("sweep"), archive.get_largest_id("run")) == (3, 0)
        for alias in ("key-1", UID):
            assert asyncio.run(archive.find_sweep(alias)) == a_sweep(3)
        assert asyncio.run(archive.find_sweep("3")) is None
    assert {file.name for file in (root / "archive").iterdir()} == {"2026-02.jsonl.gz", "index.jsonl"}


async def test_nobody_else_changes_a_sweep_while_it_goes(tmp_path: Path) -> None:
    root = prepare_store(tmp_path / "data", a_sweep(3), a_run(cell(0), 50, sweep=3))
    store = Store(root)
    store.open()

    @contextlib.asynccontextmanager
    async def rerun_first(number: str) -> Any:
        # Whoever had the turn before has started a cell again.
        await store.runs.put(cell(0), a_run(cell(0), status="running", sweep=3))
        yield

    assert await store.tidy(NOW, rerun_first) == 0
    assert store.runs.list_names() == [cell(0)] and store.sweeps.list_names() == ["3"]
    await store.close()


async def test_a_file_changed_meanwhile_counts(tmp_path: Path) -> None:
    root = prepare_store(tmp_path / "data", a_run("r", 40))
    store = Store(root)
    store.open()
    append = store.files.append

    async def edited(path: Path, line: bytes) -> None:
        await append(path, line)
        (root / "runs/r.json").write_bytes(to_json(a_run("r", 40, error="edited by hand")))

    store.files.append = edited  # type: ignore[method-assign]
    assert await store.tidy(NOW, lock_nothing) == 0
    assert store.runs.get("r").error == "edited by hand"
    store.files.append = append  # type: ignore[method-assign]
    assert await store.tidy(NOW, lock_nothing) == 1
    assert (await store.archive.get("run", "r")).error == "edited by hand", "the newer of two lines"
    await store.close()


def test_more_than_one_member_and_one_batch(tmp_path: Path) -> None:
    runs = [a_run(f"r{n:03}", 40 + n / 1000) for n in range(450)]
    root = prepare_store(tmp_path / "data", *runs, retention="{count: 10}")
    assert move_due(root) == 440
    assert sorted(list_archived(root)) == [("run", f"r{n:03}") for n in range(10, 450)]
    with open_store(root) as store:
        for at in (10, 111, 333, 449):
            assert asyncio.run(store.archive.get("run", f"r{at:03}")) == runs[at]


def test_numbers_that_only_python_holds_survive(tmp_path: Path) -> None:
    document = a_run("big", 40, args={"n": 2**70, "x": 0.1, "text": "\u2028\x85 \\n é"})
    root = prepare_store(tmp_path / "data")
    (root / "runs/big.json").write_text(document.model_dump_json(indent=2))
    assert move_due(root) == 1
    with open_store(root) as store:
        assert asyncio.run(store.archive.get("run", "big")).args == document.args


# --- crashes and faults ----------------------------------------------------------------------------------------------

SOME: list[Run | Sweep] = [
    *(a_run(f"r{n}", 40 + n) for n in range(3)),
    *(a_run(cell(n), 50, sweep=3) for n in range(2)),
    a_sweep(3),
    a_run("young", 1),
]


def calls_of_a_pass(root: Path) -> tuple[int, int]:
    """The numbers of the first and the last call of the disk that a pass makes."""
    ops = Faulty()
    with open_store(root, ops) as store:
        first = len(ops.calls) + 1
        assert asyncio.run(store.tidy(NOW, lock_nothing)) == 6
        last = len(ops.calls)
    return first, last


def killed_at(number: int, root: Path) -> int:
    """How a process ended that tidied and was killed at this call."""
    pid = os.fork()
    if pid == 0:
        try:
            ops = Faulty(lambda at, name: os.kill(os.getpid(), signal.SIGKILL) if at == number else None)
            with open_store(root, ops) as store:
                asyncio.run(store.tidy(NOW, lock_nothing))
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def nothing_is_lost(root: Path, where: str) -> None:
    """Every document is in the store or in the archive, the young one in the store; a pass finishes the move."""
    with open_store(root) as store:
        assert store.list_problems() == [] or all(
            problem["path"].startswith("archive/") for problem in store.list_problems()
        ), where
        for document in SOME:
            kind = "sweep" if isinstance(document, Sweep) else "run"
            folder = store.archive.folders[kind]
            found = (
                folder.get(document.id) if document.id in folder else asyncio.run(store.archive.get(kind, document.id))
            )
            assert found == document, where
        asyncio.run(store.tidy(NOW, lock_nothing))
        assert store.runs.list_names() == ["young"] and store.sweeps.list_names() == [], where
    with open_store(root) as store:
        for document in SOME[:-1]:
            assert (
                asyncio.run(store.archive.get("sweep" if isinstance(document, Sweep) else "run", document.id))
                == document
            ), where


@pytest.mark.long
def test_killed_at_any_call_of_a_move(tmp_path: Path) -> None:
    first, last = calls_of_a_pass(prepare_store(tmp_path / "whole", *SOME))
    assert last - first > 40
    codes: list[int] = []
    for number in range(first, last + 1, 1 if os.environ.get("CI") == "true" else 5):
        root = prepare_store(tmp_path / str(number), *SOME)
        codes.append(killed_at(number, root))
        if number % 3 == 0:
            killed_at(number - 3, root)  # and once more on the way back
        nothing_is_lost(root, f"killed at call {number}")
    # Deletions share the waits for the disk as it happens, so a pass may end some calls earlier.
    assert set(codes) <= {0, -signal.SIGKILL} and codes.count(0) < len(codes) / 4


@pytest.mark.long
@pytest.mark.parametrize("persistent", [False, True], ids=["once", "from then on"])
def test_a_call_that_fails_loses_nothing(persistent: bool, tmp_path: Path) -> None:
    first, last = calls_of_a_pass(prepare_store(tmp_path / "whole", *SOME))
    for number in range(first, last + 1, 4 if persistent or os.environ.get("CI") != "true" else 1):
        root = prepare_store(tmp_path / str(number), *SOME)
        ops = Faulty(lambda at, name, n=number: 28 if at == n or (persistent and at > n) else None)
        with open_store(root, ops) as store:
            with contextlib.suppress(StoreError):  # what counts is that everything is still there
                asyncio.run(store.tidy(NOW, lock_nothing))
            ops.decide = lambda at, name: None
            for run in SOME[:3]:
                there = run.id in store.runs
                assert there or asyncio.run(store.archive.get("run", run.id)) == run, number
        nothing_is_lost(root, f"call {number} failed")


@pytest.mark.long
@pytest.mark.parametrize("with_index", [True, False], ids=["index", "no index"])
def test_an_archive_cut_off_anywhere_keeps_what_stands_before(with_index: bool, tmp_path: Path) -> None:
    root = prepare_store(tmp_path / "data", *(a_run(f"r{n}", 40) for n in range(3)))
    assert move_due(root) == 3
    prepare_store(root, *(a_run(f"s{n}", 40) for n in range(3)))
    path = root / "archive/2026-02.jsonl.gz"
    whole_before = path.stat().st_size
    assert move_due(root) == 3
    whole = path.read_bytes()
    index = (root / "archive/index.jsonl").read_bytes()
    for length in [*range(whole_before, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        (root / "archive/index.jsonl").write_bytes(index if with_index else b"")
        with open_store(root) as store:
            for n in range(3):
                assert asyncio.run(store.archive.get("run", f"r{n}")) == a_run(f"r{n}", 40), length
            if length > whole_before or with_index:
                [problem] = store.list_problems()
                assert problem["path"] == "archive/2026-02.jsonl.gz" and problem["since"], length
                assert "cut off" in problem["reason"] or "ends at byte" in problem["reason"]
            for n in range(3):  # as far as it can be read, what was cut off is still there
                if ("run", f"s{n}") in store.archive:
                    assert asyncio.run(store.archive.get("run", f"s{n}")) == a_run(f"s{n}", 40)


def test_the_month_goes_on_beside_a_torn_file(tmp_path: Path) -> None:
    root = prepare_store(tmp_path / "data", a_run("r1", 40))
    move_due(root)
    path = root / "archive/2026-02.jsonl.gz"
    torn = path.read_bytes() + b"\x1f\x8b\x08\x00nonsense"
    path.write_bytes(torn)
    prepare_store(root, a_run("r2", 40))
    assert move_due(root) == 1
    assert path.read_bytes() == torn, "left as it is"
    assert (root / "archive/2026-02.1.jsonl.gz").exists()
    with open_store(root) as store:
        for name in ("r1", "r2"):
            assert asyncio.run(store.archive.get("run", name)) == a_run(name, 40)


@pytest.mark.parametrize(
    ("why", "damage"),
    [
        ("gone", lambda data: b""),
        ("its last line cut off", lambda data: data[:-9]),
        ("its first line cut off", lambda data: data[9:]),
        ("other lines in between", lambda data: b"null\n{}\n[1]\n" + data + b'{"file": 1}\n'),
        ("not text", lambda data: b"\xff\x00" * 40),
    ],
)
def test_the_index_is_only_a_short_cut(why: str, damage: Any, tmp_path: Path) -> None:
    root = prepare_store(tmp_path / "data", a_run("r1", 40))
    move_due(root)
    prepare_store(root, a_run("r2", 40), a_run("r3", 70))
    move_due(root)
    index = root / "archive/index.jsonl"
    index.write_bytes(damage(index.read_bytes()))
    prepare_store(root, a_run("r4", 40))
    for _ in range(2):
        with open_store(root) as store:
            assert store.list_problems() == [], why
            asyncio.run(store.tidy(NOW, lock_nothing))
            for name, days in (("r1", 40), ("r2", 40), ("r3", 70), ("r4", 40)):
                assert asyncio.run(store.archive.get("run", name)) == a_run(name, days), why


def test_damage_within_a_member_is_told_to_who_asks(tmp_path: Path) -> None:
    root = prepare_store(tmp_path / "data", a_run("r1", 40))
    move_due(root)
    path = root / "archive/2026-02.jsonl.gz"
    data = bytearray(path.read_bytes())
    data[40:60] = b"\0" * 20
    path.write_bytes(data)
    with open_store(root) as store, pytest.raises(StoreUnavailable, match=r"archive/2026-02\.jsonl\.gz"):
        asyncio.run(store.archive.get("run", "r1"))


# --- over HTTP -------------------------------------------------------------------------------------------------------


def test_what_is_archived_is_still_answered_by_its_id(server: Server) -> None:
    run_id, cells = "11111111-1111-4111-8111-111111111111", [a_run(cell(n), 50, sweep=3) for n in range(2)]
    server.end()
    prepare_store(server.store, a_run(run_id, 400), a_sweep(3, cells=3), *cells)
    with (server.store / "config.yaml").open("a") as config:
        config.write("cluster: {nodes: 1}\npoll: {min_s: 1, max_s: 1}\n")
    server.start()
    get = server.http.get
    eventually(lambda: not list((server.store / "sweeps").iterdir()) and not list((server.store / "runs").iterdir()))
    # The files go first, and then what the server has of them.
    eventually(lambda: get("/api/workflows/runs").json() == [] == get("/api/sweep_runs").json())
    assert get("/api/history").json() == []
    found = get(f"/api/workflows/runs/{run_id}").json()
    assert (found["status"], found["archived"], found["jobs"][0]["result"]) == ("completed", True, {"x": 0.1})
    assert get(f"/api/workflows/runs/{cell(1)}").json()["sweep_run_id"] == 3
    never = get(f"/api/workflows/runs/{cell(2)}").json()
    assert (never["status"], never["archived"]) == ("cancelled", True), "one that never had its turn"
    for name in (run_id, cell(1), cell(2)):
        assert server.http.post(f"/api/workflows/runs/{name}/rerun").status_code == 409
    sweep = get("/api/sweep_runs/3").json()
    assert (sweep["status"], sweep["cell_count"], sweep["cells_completed"]) == ("completed", 3, 2)
    assert sweep["archived"] is True
    assert sorted(cell_row["id"] for cell_row in get("/api/sweep_runs/3/cells").json()) == [cell(n) for n in range(3)]
    assert get("/api/sweep_runs/3/results").json()[0]["result"] == {"j.x": 0.1}
    assert server.http.post("/api/sweep_runs/3/cancel").json() == sweep, "a terminal sweep stays what it is"
    assert server.http.post("/api/sweep_runs/3/rerun", json={"cells": "unfinished"}).status_code == 409
    assert server.http.patch("/api/sweep_runs/3", json={"max_parallel": 9}).status_code == 409
    refused = server.http.post(f"/api/workflows/runs/{run_id}/cancel")
    assert (refused.status_code, refused.json()["detail"]) == (422, "Run is already completed"), "as for any that ended"
    for path in ("/api/sweep_runs/4", "/api/sweep_runs/4/cells", "/api/workflows/runs/" + run_id.replace("1", "2")):
        assert get(path).status_code == 404


def test_a_request_made_again_after_its_run_was_archived_starts_nothing(server: Server) -> None:
    (server.store / "workflows").mkdir(exist_ok=True)
    (server.store / "workflows/quick.yaml").write_text(
        "name: quick\nargs: {n: 0}\njobs: [{name: a, command: [true]}]\n"
    )
    eventually(lambda: server.http.get("/api/workflows/quick").status_code == 200)
    ask = lambda body: server.http.post("/api/workflows/quick/run", json=body, headers={"Idempotency-Key": "k"})  # noqa: E731
    sweep = {"sweep": {"matrix": {"n": [1, 2]}}}
    ask_sweep = lambda: server.http.post("/api/workflows/quick/run", json=sweep, headers={"Idempotency-Key": "s"})  # noqa: E731
    run_id, sweep_id = ask({}).json()["id"], ask_sweep().json()["sweep_run_id"]
    over = ("completed", "failed", "cancelled")
    eventually(lambda: server.http.get(f"/api/workflows/runs/{run_id}").json()["status"] in over, 60)
    eventually(lambda: server.http.get(f"/api/sweep_runs/{sweep_id}").json()["status"] in over, 60)
    server.end()
    with (server.store / "config.yaml").open("a") as config:
        config.write("retention: {age_days: 0.0000001}\n")
    server.start()
    eventually(lambda: not list((server.store / "runs").iterdir()))
    again = ask({})
    assert (again.status_code, again.json()["id"], again.json()["status"]) == (202, run_id, "completed")
    assert ask({"args_override": {"x": 1}}).status_code == 422, "the key was used with another body"
    assert ask_sweep().json()["sweep_run_id"] == sweep_id
    assert server.http.get("/api/workflows/runs").json() == []
    more = server.http.post("/api/workflows/quick/run", json=sweep).json()["sweep_run_id"]
    assert more > sweep_id, "the numbers of archived sweeps are not given again"

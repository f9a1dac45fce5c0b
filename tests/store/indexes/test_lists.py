"""Lists as bytes: made once per change, in their order, by group."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.disk.files import Files
from store.disk.folders import Folder
from store.errors import NotFound
from store.indexes.bodies import Body, ListBody
from store.indexes.lists import RowList, RunFilter, RunList
from store.store import Store
from store.views import srunx
from tests.pretended import asynchronous
from tests.store.disk.archive_samples import a_run, prepare_store


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """A folder of numbers in JSON files, with two of them in it."""
    files = Files(tmp_path)
    for name, data in (("a", b'{"n": 1, "kind": "odd"}'), ("b", b'{"n": 2, "kind": "even"}')):
        (tmp_path / f"{name}.json").write_bytes(data)
    made = Folder(
        tmp_path, "number", files, lambda data, name: {"name": name, **orjson.loads(data)}, suffixes=(".json",)
    )
    made.load()
    yield made
    files.close()


def listing(folder: Folder) -> RowList:
    """The numbers, largest first."""
    return RowList(folder, lambda entry: {**entry.document, "shown": True}, lambda row: -row["n"])


def names(body: Body) -> list[str]:
    """The names of the rows in a list's bytes."""
    return [row["name"] for row in orjson.loads(body.data)]


def put(folder: Folder, name: str, n: int, kind: str) -> None:
    """Write a number as the server does."""
    asyncio.run(folder.put(name, orjson.dumps({"n": n, "kind": kind})))


def test_rows_stand_in_their_order_and_follow_the_folder(folder: Folder) -> None:
    rows = listing(folder)
    assert names(rows.get_all()) == ["b", "a"]
    put(folder, "c", 0, "even")
    assert names(rows.get_all()) == ["b", "a", "c"]
    put(folder, "a", 9, "odd")
    assert names(rows.get_all()) == ["a", "b", "c"], "a row that changes its rank moves"
    asyncio.run(folder.delete("b"))
    assert names(rows.get_all()) == ["a", "c"]


def test_bytes_are_the_same_object_until_something_changes(folder: Folder) -> None:
    rows = listing(folder)
    assert rows.get_all() is rows.get_all()
    before = rows.get_all().etag
    put(folder, "c", 3, "odd")
    assert rows.get_all().etag != before


def test_one_row_is_the_piece_that_the_list_has(folder: Folder) -> None:
    rows = listing(folder)
    assert orjson.loads(rows.get_row("a").data) == {"name": "a", "n": 1, "kind": "odd", "shown": True}
    assert rows.get_row("a").data in rows.get_all().data
    with pytest.raises(NotFound, match="number 'x' not found"):
        rows.get_row("x")


def test_a_body_knows_its_etag_and_its_gzip_form() -> None:
    body = Body(b"[1,2,3]" * 1000)
    assert body.etag == Body(body.data).etag != Body(b"[]").etag
    assert body.etag.startswith('"') and body.etag.endswith('"')
    assert gzip.decompress(body.gzipped) == body.data
    assert body.gzipped == Body(body.data).gzipped, "the same bytes for the same data, or caches would differ"


changes = st.lists(st.tuples(st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(-3, 3))), max_size=30)


@given(changes)
def test_a_ranked_list_is_always_the_sorted_rows(made: list[tuple[str, int | None]]) -> None:
    body, model = ListBody(lambda key, row: (row, key)), {}
    for key, value in made:
        before, version = body.get_body().data, body.version
        if value is None:
            model.pop(key, None)
            body.drop(key)
        else:
            model[key] = value
            body.put(key, value)
        wanted = [value for value, _ in sorted((value, key) for key, value in model.items())]
        assert orjson.loads(body.get_body().data) == wanted
        if body.version == version:
            assert body.get_body().data == before, "a change of the bytes shows in the version"
        assert len(body) == len(model)


@given(changes, changes)
def test_replacing_all_rows_gives_exactly_those(
    first: list[tuple[str, int | None]], second: list[tuple[str, int | None]]
) -> None:
    body = ListBody()
    for rows in (first, second):
        body.replace(rows)
        wanted: dict[str, Any] = dict(rows)
        assert orjson.loads(body.get_body().data) == list(wanted.values())
    version = body.version
    body.replace(second)
    assert body.version == version, "the same again is no change"


# --- the list of runs, a window at a time -----------------------------------------------------------------------------


def open_runs(root: Path, count: int) -> tuple[Store, RunList]:
    """Open a store with so many runs that are over, and the list of them."""
    prepare_store(root, *(a_run(f"r{n:03}", 10 + n) for n in range(count)), retention="{}")
    store = Store(root)
    rows = RunList(store.runs, srunx.to_run_json)
    store.open(wait_s=10)
    return store, rows


async def list_ids(rows: RunList, *asked: Any) -> tuple[list[str], int]:
    """List the ids in a window, and tell how many runs there are."""
    body, total = await rows.get_window(*asked)
    return [row["id"] for row in orjson.loads(body.data)], total


@asynchronous
async def test_a_window_is_a_part_of_the_list(tmp_path: Path) -> None:
    store, rows = open_runs(tmp_path / "data", 120)
    whole = [f"r{n:03}" for n in range(120)]
    for limit, offset in ((200, 0), (10, 0), (10, 115), (1, 119), (5, 120), (5, 10**9), (60, 30)):
        assert await list_ids(rows, limit, offset) == (whole[offset : offset + limit], 120)
    assert await list_ids(rows, 3, 1, RunFilter("w")) == (whole[1:4], 120)
    assert await list_ids(rows, 3, 0, RunFilter("other")) == ([], 0)
    await store.close()


@asynchronous
async def test_windows_follow_changes_and_are_the_same_object_until_then(tmp_path: Path) -> None:
    store, rows = open_runs(tmp_path / "data", 30)
    runs = store.runs
    first, _ = await rows.get_window(5)
    assert (await rows.get_window(5))[0] is first
    changed = a_run("r002", 12, error="new")
    await runs.put("r002", changed)
    again, total = await rows.get_window(5)
    assert again is not first and total == 30
    assert orjson.loads(again.data)[2]["error"] == "new" == orjson.loads(rows.get_row("r002").data)["error"]
    await runs.delete("r000")
    await runs.put("zz", a_run("zz", 1))
    moved = a_run("r001", 99)
    moved.workflow_name = "other"
    await runs.put("r001", moved)
    body, total = await rows.get_window(3)
    assert ([row["id"] for row in orjson.loads(body.data)], total) == (["zz", "r002", "r003"], 30)
    body, total = await rows.get_window(3, 0, RunFilter("other"))
    assert ([row["id"] for row in orjson.loads(body.data)], total) == (["r001"], 1)
    await runs.delete("r001")
    assert (await rows.get_window(3, 0, RunFilter("other")))[1] == 0
    await store.close()


@pytest.mark.parametrize(
    ("why", "wanted", "ids"),
    [
        ("all", RunFilter(), ["a", "b", "c", "d"]),
        ("those of a workflow", RunFilter(workflow="w"), ["a", "c", "d"]),
        ("those in one of some states", RunFilter(statuses=("failed", "cancelled")), ["b", "c"]),
        ("those of a sweep", RunFilter(sweep=7), ["c", "d"]),
        ("all that is asked for", RunFilter("w", ("failed",), 7), ["c"]),
        ("none", RunFilter(sweep=8), []),
    ],
)
@asynchronous
async def test_which_runs_are_listed(tmp_path: Path, why: str, wanted: RunFilter, ids: list[str]) -> None:
    runs = [
        a_run("a", 1), a_run("b", 2, workflow_name="other", status="cancelled"),
        a_run("c", 3, status="completed", sweep=7), a_run("d", 4, sweep=7),
    ]  # fmt: skip
    prepare_store(tmp_path / "data", *runs, retention="{}")
    store = Store(tmp_path / "data")
    rows = RunList(store.runs, srunx.to_run_json)
    store.open(wait_s=10)
    await store.runs.put("c", runs[2].model_copy(update={"status": "failed"}))
    assert await list_ids(rows, 10, 0, wanted) == (ids, len(ids)), why
    await store.close()


@asynchronous
async def test_a_change_while_rows_are_made_does_not_stay_in_the_answer(tmp_path: Path) -> None:
    store, rows = open_runs(tmp_path / "data", 120)
    asking = asyncio.ensure_future(rows.get_window(120))
    await asyncio.sleep(0)  # it has begun
    await store.runs.put("r001", a_run("r001", 11, error="later"))
    await asking
    body, _ = await rows.get_window(120)
    assert orjson.loads(body.data)[1]["error"] == "later"
    assert store.runs.get_entry("r001").document.error == "later"
    await store.close()


@asynchronous
async def test_those_who_ask_at_once_get_one_window(tmp_path: Path) -> None:
    store, rows = open_runs(tmp_path / "data", 120)
    (first, _), (second, _) = await asyncio.gather(rows.get_window(120), rows.get_window(120))
    assert first is second
    leaving = asyncio.ensure_future(rows.get_window(100))
    staying = asyncio.ensure_future(rows.get_window(100))
    await asyncio.sleep(0)
    leaving.cancel()
    body, total = await staying
    assert (len(orjson.loads(body.data)), total) == (100, 120), "one who leaves takes nothing from the others"
    await store.close()


@asynchronous
async def test_who_asks_after_a_change_gets_it_though_others_still_wait(tmp_path: Path) -> None:
    store, rows = open_runs(tmp_path / "data", 120)
    early = asyncio.ensure_future(rows.get_window(120))
    await asyncio.sleep(0)
    await store.runs.put("r001", a_run("r001", 11, error="later"))
    late, _ = await rows.get_window(120)
    assert orjson.loads(late.data)[1]["error"] == "later"
    await early
    await store.close()

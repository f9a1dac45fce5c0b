"""Copies of mounts without ssh: who is refused, who waits, what is recorded; a stand-in transfers nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.mounts import sync
from engine.server import Server
from slurm_shim.errors import SyncFailed
from slurm_shim.remote import rsync
from store.config.profiles import Profile
from store.errors import Conflict, Denied, NoProfile, NotFound, StoreUnavailable
from store.kinds import Key
from store.rules import syncs
from tests.engine.servers.opened import open_server, write_files
from tests.pretended import asynchronous

HALFWAY = "\r  500  42%  2.00kB/s  0:00:09 (xfr#1, to-chk=6/10)  "
PATIENCE_S = 60.0


class HeldTransfer:
    """Stands in for a call of rsync: comes halfway, and ends when it may."""

    def __init__(self, words: Sequence[str], running: asyncio.Queue[HeldTransfer]) -> None:
        self.words, self.running, self.loop = list(words), running, asyncio.get_running_loop()
        self.progress = rsync.Progress()
        self.may_end = threading.Event()
        self.failure: str | None = None

    def run(self) -> rsync.Progress:
        self.progress.feed(HALFWAY)
        self.loop.call_soon_threadsafe(self.running.put_nowait, self)
        assert self.may_end.wait(PATIENCE_S)
        if self.failure is not None:
            raise SyncFailed(self.failure)
        self.progress.percent = 100
        return self.progress

    def stop(self, why: str) -> None:
        self.failure = self.failure or why
        self.may_end.set()


class Transfers:
    """All stand-ins: those that were made, and those that run, in their order."""

    def __init__(self) -> None:
        self.made: list[HeldTransfer] = []
        self.running: asyncio.Queue[HeldTransfer] = asyncio.Queue()
        self.are_held = True

    def __call__(self, words: Sequence[str], _local: str) -> HeldTransfer:
        self.made.append(HeldTransfer(words, self.running))
        if not self.are_held:
            self.made[-1].may_end.set()
        return self.made[-1]

    async def wait_for_next(self) -> HeldTransfer:
        """Wait until one more of them runs; return it."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.running.get()


@pytest.fixture
def transfers(monkeypatch: pytest.MonkeyPatch) -> Transfers:
    """What stands in for every call of rsync."""
    made = Transfers()
    monkeypatch.setattr(rsync, "Transfer", made)
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with a profile that leads elsewhere, whose mounts have a file each."""
    for name in ("ml", "other"):
        write_files(tmp_path / name, {"a.txt": "content", "sub/b.txt": ""})
    mounts = ", ".join(f"{{name: {name}, local: {tmp_path / name}, remote: /far/{name}}}" for name in ("ml", "other"))
    text = f"current: far\nprofiles:\n  far: {{hostname: far.example, mounts: [{mounts}]}}\n"
    write_files(tmp_path / "store", {"profiles.yaml": text})
    return tmp_path / "store"


def build_body(**more: Any) -> dict[str, Any]:
    """Build a request to sync a mount."""
    return {"mount": "ml", "wait": True, "delete": False, "dry_run": False, **more}


async def record_sync(server: Server, mount: str = "ml", delete: bool = False) -> str:
    """Record a sync that nobody waits for; return its id."""
    _name, _profile, found = await sync.find_current_mount(server, mount)
    return await sync.begin_sync(server, "far", found, delete)


# --- browsing --------------------------------------------------------------------------------------------------------


@asynchronous
async def test_a_folder_is_listed_with_the_one_it_stands_for(root: Path) -> None:
    async with open_server(root) as server:
        top = await sync.list_files(server, "ml", "")
        assert [entry["name"] for entry in top["entries"]] == ["a.txt", "sub"]
        assert (top["remote_prefix"], top["mount_name"], top["truncated"]) == ("/far/ml", "ml", False)
        assert (await sync.list_files(server, "ml", "sub"))["remote_prefix"] == "/far/ml/sub"
        assert await sync.read_file(server, "ml", "a.txt") == {"content": "content", "path": "a.txt", "mount": "ml"}
        with pytest.raises(Denied, match="outside mount"):
            await sync.read_file(server, "ml", "../other/a.txt")


@asynchronous
async def test_a_mount_is_one_of_the_current_profile(root: Path, transfers: Transfers) -> None:
    async with open_server(root) as server:
        with pytest.raises(NotFound, match="Mount 'nope' not found"):
            await sync.sync_mount(server, build_body(mount="nope"))
    write_files(root, {"profiles.yaml": (root / "profiles.yaml").read_text().replace("current: far\n", "")})
    async with open_server(root) as server:
        with pytest.raises(NoProfile):
            await sync.sync_mount(server, build_body())
        with pytest.raises(NoProfile):
            await sync.list_files(server, "ml", "")
    assert transfers.made == []


# --- copied, or why not ----------------------------------------------------------------------------------------------


@asynchronous
async def test_the_mounts_of_the_cluster_here_need_no_copy(root: Path, transfers: Transfers) -> None:
    write_files(root, {"profiles.yaml": (root / "profiles.yaml").read_text().replace("hostname: far.example, ", "")})
    async with open_server(root) as server:
        assert await sync.sync_mount(server, build_body(wait=False)) == {"status": "synced", "mount": "ml"}
        planned = await sync.sync_mount(server, build_body(dry_run=True))
        assert (planned["status"], planned["changes"], planned["truncated"]) == ("planned", [], False)
        assert len(server.store.syncs) == 0
    assert transfers.made == []


@pytest.mark.parametrize(
    ("why", "profile", "reason"),
    [
        ("it names no host", Profile(), "names no host"),
        ("ssh would read an option", Profile.model_construct(hostname="-oProxyCommand=id"), "hostname cannot be used"),
    ],
)
def test_a_profile_that_ssh_cannot_be_given_is_refused(why: str, profile: Profile, reason: str) -> None:
    with pytest.raises(NoProfile, match=reason):
        sync.make_login(profile)


@asynchronous
async def test_a_refused_profile_begins_no_transfer(root: Path, transfers: Transfers) -> None:
    async with open_server(root) as server:
        name, _profile, mount = await sync.find_current_mount(server, "ml")
        refused = Profile.model_construct(hostname="-oProxyCommand=id")
        with pytest.raises(NoProfile, match="hostname cannot be used"):
            await sync.transfer_mount(server, name, refused, mount)
    assert transfers.made == []


@asynchronous
async def test_a_request_is_carried_out_as_it_says(root: Path, transfers: Transfers) -> None:
    transfers.are_held = False
    async with open_server(root) as server:
        assert await sync.sync_mount(server, build_body(delete=True)) == {"status": "synced", "mount": "ml"}
        planned = await sync.sync_mount(server, build_body(dry_run=True))
        assert planned["counts"] == {"create": 0, "update": 0, "delete": 0}
        assert len(server.store.syncs) == 0, "what is waited for needs no record"
    copied, dry = (transfer.words for transfer in transfers.made)
    assert copied[-2:] == [f"{root.parent}/ml/", "far.example:/far/ml/"]
    assert ("--delete" in copied, "--dry-run" in copied) == (True, False)
    assert ("--delete" in dry, "--dry-run" in dry) == (False, True)


def test_a_dry_run_tells_when_not_all_changes_are_listed() -> None:
    changes = [{"path": "a", "type": "file", "change": "create", "size": 1}]
    whole = rsync.Progress(changes=changes, counts={"create": 1, "update": 0, "delete": 0})
    assert sync.to_plan_json("ml", whole)["truncated"] is False
    cut = rsync.Progress(changes=changes, counts={"create": 1, "update": 0, "delete": 1})
    assert sync.to_plan_json("ml", cut)["truncated"] is True


@asynchronous
async def test_an_empty_folder_here_deletes_nothing_there(root: Path, transfers: Transfers) -> None:
    transfers.are_held = False
    (root.parent / "ml" / "a.txt").unlink()
    (root.parent / "ml" / "sub" / "b.txt").unlink()
    (root.parent / "ml" / "sub").rmdir()
    async with open_server(root) as server:
        with pytest.raises(Conflict, match="is empty here"):
            await sync.sync_mount(server, build_body(delete=True))
        assert transfers.running.empty(), "nothing was begun"
        await sync.sync_mount(server, build_body())


# --- one at a time ---------------------------------------------------------------------------------------------------


@asynchronous
async def test_a_second_sync_of_a_mount_waits_for_the_first(root: Path, transfers: Transfers) -> None:
    async with open_server(root) as server:
        first = asyncio.create_task(sync.sync_mount(server, build_body()))
        running = await transfers.wait_for_next()
        second = asyncio.create_task(sync.sync_mount(server, build_body()))
        other = asyncio.create_task(sync.sync_mount(server, build_body(mount="other")))
        elsewhere = await transfers.wait_for_next()
        assert elsewhere.words[-1] == "far.example:/far/other/", "another mount's does not wait"
        assert transfers.running.empty()
        running.may_end.set()
        await first
        (await transfers.wait_for_next()).may_end.set()
        elsewhere.may_end.set()
        await asyncio.gather(second, other)


@asynchronous
async def test_a_second_sync_is_refused_after_its_patience(
    root: Path, transfers: Transfers, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience: list[int] = []
    hold_lock = sync._hold_lock

    def hold_without_patience(server: Server, key: Key, patience_s: int) -> Any:
        patience.append(patience_s)
        return hold_lock(server, key, 0)

    monkeypatch.setattr(sync, "_hold_lock", hold_without_patience)
    write_files(root.parent / "ml", {"srunx.json": '{"sync": {"lock_timeout_seconds": 7}}'})
    async with open_server(root) as server:
        first = asyncio.create_task(sync.sync_mount(server, build_body()))
        running = await transfers.wait_for_next()
        with pytest.raises(SyncFailed, match="another sync of this mount has not ended within 0 s"):
            await sync.sync_mount(server, build_body())
        running.may_end.set()
        assert (await first)["status"] == "synced", "the first one is not disturbed"
    assert patience == [7, 7], "as the mount's own project says"


@asynchronous
async def test_a_request_that_is_cancelled_stops_its_transfer_and_frees_the_mount(
    root: Path, transfers: Transfers
) -> None:
    async with open_server(root) as server:
        first = asyncio.create_task(sync.sync_mount(server, build_body()))
        running = await transfers.wait_for_next()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert running.failure == "the server has ended" and running.may_end.is_set()
        second = asyncio.create_task(sync.sync_mount(server, build_body()))
        (await transfers.wait_for_next()).may_end.set()
        assert (await second)["status"] == "synced"


# --- recorded --------------------------------------------------------------------------------------------------------


@asynchronous
async def test_one_that_waits_already_serves_all_who_want_the_same(root: Path) -> None:
    async with open_server(root) as server:
        answer = await sync.sync_mount(server, build_body(wait=False))
        assert answer == {"status": "syncing", "mount": "ml", "id": answer["id"]}
        assert await record_sync(server) == answer["id"]
        assert await record_sync(server, delete=True) != answer["id"]
        assert await record_sync(server, "other") != answer["id"]
        begun = syncs.mark_begun(server.store.syncs.get(answer["id"]), 1.0)
        await server.store.syncs.put(answer["id"], begun)
        assert await record_sync(server) != answer["id"], "it may have passed by what has changed since"


@asynchronous
async def test_only_the_last_ended_ones_are_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncs, "KEPT", 2)
    async with open_server(root) as server:
        for number in range(4):
            ended = syncs.mark_failed(syncs.build_sync(f"old{number}", "far", "ml", False, 0.0), "no", float(number))
            await server.store.syncs.create(ended.id, ended)
        wanted = await record_sync(server)
        assert {entry.name for entry in server.store.syncs.iterate_entries()} == {"old2", "old3", wanted}


@asynchronous
async def test_progress_is_shown_until_the_end_is_recorded(
    root: Path, transfers: Transfers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the moment when the transfer is over and its record does not say so yet."""
    async with open_server(root) as server:
        sync_id = await record_sync(server)
        assert sync.get_sync(server, sync_id)["state"] == "waiting"
        put = server.store.syncs.put
        seen: list[dict[str, Any]] = []

        async def look_and_put(name: str, document: syncs.Sync) -> Any:
            if document.ended_at is not None:
                seen.append(sync.get_sync(server, sync_id))
            return await put(name, document)

        monkeypatch.setattr(server.store.syncs, "put", look_and_put)
        carrying = asyncio.create_task(sync.carry_out_sync(server, sync_id))
        running = await transfers.wait_for_next()
        halfway = sync.get_sync(server, sync_id)
        assert (halfway["state"], halfway["percent"], halfway["rate_bytes_s"]) == ("syncing", 42, 2048)
        assert (halfway["files_done"], halfway["files_total"], halfway["size_bytes"]) == (4, 10, 500)
        running.may_end.set()
        await carrying
        ended = sync.get_sync(server, sync_id)
    assert [(row["state"], row["percent"], row["rate_bytes_s"], row["files_done"]) for row in seen] == [
        ("syncing", 100, 2048, 4)
    ]
    assert (ended["state"], ended["percent"], ended["rate_bytes_s"]) == ("synced", 100, None)
    assert (ended["files_done"], ended["files_total"]) == (10, 10)
    assert server.mount_work.transfers == {}


@asynchronous
async def test_why_one_failed_is_recorded(root: Path, transfers: Transfers) -> None:
    async with open_server(root) as server:
        sync_id = await record_sync(server)
        carrying = asyncio.create_task(sync.carry_out_sync(server, sync_id))
        running = await transfers.wait_for_next()
        running.failure = "no space left"
        running.may_end.set()
        await carrying
        ended = sync.get_sync(server, sync_id)
        assert (ended["state"], ended["reason"], ended["percent"]) == ("failed", "rsync failed: no space left", None)
        lost = syncs.build_sync("lost", "far", "nope", False, 0.0)
        await server.store.syncs.create(lost.id, lost)
        await sync.carry_out_sync(server, lost.id)
        assert sync.get_sync(server, lost.id)["reason"] == "Mount 'nope' not found"
        with pytest.raises(NotFound, match="Sync 'none' not found"):
            sync.get_sync(server, "none")
        assert server.mount_work.transfers == {}


@asynchronous
async def test_one_whose_end_cannot_be_recorded_stays_open(
    root: Path, transfers: Transfers, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfers.are_held = False
    async with open_server(root) as server:
        sync_id = await record_sync(server)
        put = server.store.syncs.put

        async def refuse_the_end(name: str, document: syncs.Sync) -> Any:
            if document.ended_at is not None:
                raise StoreUnavailable(5, "the disk failed")
            return await put(name, document)

        with monkeypatch.context() as patch:
            patch.setattr(server.store.syncs, "put", refuse_the_end)
            with pytest.raises(StoreUnavailable):
                await sync.carry_out_sync(server, sync_id)
        assert sync.get_sync(server, sync_id)["state"] == "syncing" and server.mount_work.transfers == {}
        await sync.carry_out_sync(server, sync_id)
        assert sync.get_sync(server, sync_id)["state"] == "synced"


@asynchronous
async def test_a_recorded_sync_goes_on_after_a_restart(root: Path, transfers: Transfers) -> None:
    async with open_server(root) as server:
        sync_id = await record_sync(server)
        server.tasks.spawn(Key("sync", sync_id), lambda: sync.carry_out_sync(server, sync_id))
        running = await transfers.wait_for_next()
        asked_at = sync.get_sync(server, sync_id)["asked_at"]
    assert running.failure == "the server has ended"
    transfers.are_held = False
    async with open_server(root) as server:
        assert sync.get_sync(server, sync_id)["state"] == "syncing", "its end is not known"
        assert server.open_documents.take([None], time.time()) == [Key("sync", sync_id)]
        await sync.carry_out_sync(server, sync_id)
        ended = sync.get_sync(server, sync_id)
        assert (ended["state"], ended["asked_at"]) == ("synced", asked_at)
    async with open_server(root) as server:
        assert server.open_documents.take([None], time.time()) == [], "what has ended is not begun again"

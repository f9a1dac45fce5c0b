"""What the disk can do to the store: refuse, fill up, lose power, tear files; and a process that is killed anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.disk.batches import Line
from store.disk.files import FileChange, Files, is_temporary
from store.documents import Run, to_json
from store.errors import Exists, NotFound, StoreError, StoreFull, StoreUnavailable
from store.kinds import KINDS
from store.store import Store
from tests.faulty_disk import Faulty

pytestmark = pytest.mark.anyio

ERRORS = [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EACCES, errno.EROFS, errno.EDQUOT]
OLD, NEW = b'{"is": "old"}', b'{"is": "the new one"}'


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Deed:
    """One thing done to a file of the store, with what may be there afterwards when it failed."""

    def __init__(self, name: str, before: bytes | None, after: bytes | None) -> None:
        self.name, self.before, self.after = name, before, after

    def run(self, files: Files, path: Path) -> None:
        change = FileChange(path, self.after, exclusive=self.name == "create")
        files.commit([change])
        if change.error:
            raise change.error


DEEDS = [
    Deed("overwrite", OLD, NEW),
    Deed("write new", None, NEW),
    Deed("create", None, NEW),
    Deed("delete", OLD, None),
]


def calls_of(deed: Deed, tmp_path: Path) -> list[str]:
    """The calls that the deed makes when all goes well."""
    ops = Faulty()
    path = tmp_path / "probe" / "x.json"
    path.parent.mkdir()
    if deed.before is not None:
        path.write_bytes(deed.before)
    deed.run(Files(tmp_path, ops), path)
    return ops.calls


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
@pytest.mark.parametrize("persistent", [False, True], ids=["once", "from then on"])
def test_a_call_that_fails_leaves_the_old_file(deed: Deed, persistent: bool, tmp_path: Path) -> None:
    calls = calls_of(deed, tmp_path)
    for number, fault in itertools.product(range(1, len(calls) + 1), ERRORS):
        folder = tmp_path / f"{number}-{fault}"
        folder.mkdir()
        path = folder / "x.json"
        if deed.before is not None:
            path.write_bytes(deed.before)
        ops = Faulty(lambda at, name, n=number, f=fault: f if at == n or (persistent and at > n) else None)
        files = Files(tmp_path, ops)
        where = f"{calls[number - 1]} (call {number}), {errno.errorcode[fault]}"
        try:
            deed.run(files, path)
        except StoreUnavailable as error:
            assert isinstance(error, StoreFull) == (fault in (errno.ENOSPC, errno.EDQUOT)), where
            assert str(tmp_path) not in str(error), where
            there = content(path)
            if persistent and there == deed.after:
                # The folder could not be fsynced, and the old file could not be put back either.
                assert number > calls.index("link" if deed.name == "create" else "rename") + 1, where
            else:
                assert there == deed.before, where
        else:
            # What failed only tidies up, or the disk cannot do links: then there is nothing to go back to.
            assert content(path) == deed.after, where
            assert calls[number - 1] in ("unlink", "link"), where
        ops.decide = lambda at, name: None
        if content(path) == deed.before:
            deed.run(files, path)
        assert content(path) == deed.after, f"{where}: works again afterwards"
        files.remove_temporaries(folder)
        assert [path.name for path in folder.iterdir()] == (["x.json"] if deed.after else []), where


def test_the_other_writers_of_a_batch_do_not_suffer(tmp_path: Path) -> None:
    for number in range(1, 40):
        folder = tmp_path / str(number)
        folder.mkdir()
        files = Files(tmp_path, Faulty(lambda at, name, n=number: errno.EIO if at == n else None))
        changes = [FileChange(folder / f"{i}.json", b"%d" % i) for i in range(4)]
        files.commit(changes)
        for i, change in enumerate(changes):
            assert content(change.path) == (None if change.error else b"%d" % i)
        failed = sum(1 for change in changes if change.error)
        assert failed <= 1 or files.ops.calls[number - 1] in ("open", "fsync", "close"), (
            "all only when the folder fails"
        )


def test_several_writes_of_one_file_in_one_batch_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(OLD)
    files = Files(tmp_path)
    files.commit([FileChange(path, b"1"), FileChange(path, b"2"), FileChange(path, b"3")])
    assert content(path) == b"3"
    # The fsync of the folder is the fourth: all three are taken back, to what was there before the first.
    seen = itertools.count(1)
    files = Files(tmp_path, Faulty(lambda at, name: errno.EIO if name == "fsync" and next(seen) == 4 else None))
    changes = [FileChange(path, b"4"), FileChange(path, b"5"), FileChange(path, b"6")]
    files.commit(changes)
    assert all(change.error for change in changes)
    assert content(path) == b"3"


def told(path: Path, *texts: bytes) -> list[Line]:
    return [Line(path, text + b"\n", is_synced=True) for text in texts]


def test_the_line_of_a_change_is_in_its_commit(tmp_path: Path) -> None:
    files, log = Files(tmp_path, ops := Faulty()), tmp_path / "audit" / "day.jsonl"
    first, second, free = told(log, b"one", b"two", b"free")
    files.commit(
        [FileChange(tmp_path / "1", b"1", line=first), FileChange(tmp_path / "none", None, line=second)], [free]
    )
    assert content(log) == b"free\none\n", "one line each of what was done"
    assert (first.is_written, second.is_written, free.is_written) == (True, False, True)
    assert ops.calls.count("fsync") == 5, "the file, its folder, the new folder of the log, the log and its folder"


@pytest.mark.parametrize("fails", [4, 5], ids=["the first folder", "the second one"])
def test_the_line_of_a_change_that_is_undone_is_taken_back(fails: int, tmp_path: Path) -> None:
    log = tmp_path / "day.jsonl"
    log.write_bytes(b"before\n")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    seen = itertools.count(1)
    files = Files(tmp_path, Faulty(lambda at, name: errno.EIO if name == "fsync" and next(seen) == fails else None))
    a, b = told(log, b"a", b"b")
    changes = [FileChange(tmp_path / "a" / "x", b"1", line=a), FileChange(tmp_path / "b" / "x", b"1", line=b)]
    files.commit(changes, helped=False)  # in turn: the two files, the log, the folder a, the folder b
    kept, gone = (b, a) if fails == 4 else (a, b)
    assert [change.error is None for change in changes] == [fails != 4, fails != 5]
    assert content(log) == b"before\n" + kept.data
    assert kept.is_written and not gone.is_written


def test_a_log_that_cannot_be_written_costs_the_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "day.jsonl").mkdir()
    (line,) = told(tmp_path / "day.jsonl", b"x")
    change = FileChange(tmp_path / "1", b"1", line=line)
    Files(tmp_path).commit([change])
    assert change.error is None and content(change.path) == b"1"
    assert isinstance(line.error, StoreUnavailable) and not line.is_written


def test_a_defect_in_one_of_the_threads_leaves_the_old_file(tmp_path: Path) -> None:
    class Wrong(Faulty):
        def fsync(self, fd: int) -> None:
            if os.fstat(fd).st_size == 2:
                raise ValueError("a defect")
            os.fsync(fd)

    changes = [FileChange(tmp_path / f"{at}", b"22" if at % 2 else b"1") for at in range(8)]
    for change in changes:
        change.path.write_bytes(OLD)
    Files(tmp_path, Wrong()).commit(changes)
    assert [str(change.error) for change in changes] == ["None", "a defect"] * 4
    assert [content(change.path) for change in changes] == [b"1", OLD] * 4
    assert len(list(tmp_path.iterdir())) == 8


def test_a_batch_needs_no_helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    Files(tmp_path).commit([FileChange(tmp_path / f"{at}", b"x") for at in range(20)])
    assert len(list(tmp_path.iterdir())) == 20


def test_short_writes_are_gone_on_with(tmp_path: Path) -> None:
    class Short(Faulty):
        def write(self, fd: int, data: memoryview) -> int:
            return os.write(fd, data[:7])

    files = Files(tmp_path, Short())
    files.write_now(tmp_path / "x", b"0123456789" * 10)
    assert content(tmp_path / "x") == b"0123456789" * 10


def test_a_disk_without_links(tmp_path: Path) -> None:
    path = tmp_path / "x"
    files = Files(tmp_path, Faulty(lambda at, name: errno.EPERM if name == "link" else None))
    files.write_now(path, b"1", exclusive=True)
    files.write_now(path, b"2")
    with pytest.raises(Exists):
        files.write_now(path, b"3", exclusive=True)
    assert content(path) == b"2"
    # Here the old file cannot be put back; the new one must not be taken away as well.
    seen = itertools.count(1)
    no_links = {"link": errno.EPERM}
    files.ops = Faulty(lambda at, name: no_links.get(name) or (name == "fsync" and next(seen) == 2 and errno.EIO))
    with pytest.raises(StoreUnavailable):
        files.write_now(path, b"4")
    assert content(path) == b"4"


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"theirs")
    (tmp_path / "x").symlink_to("target")
    Files(tmp_path).write_now(tmp_path / "x", b"ours")
    assert content(tmp_path / "target") == b"theirs"
    assert not (tmp_path / "x").is_symlink()


# --- the store as a whole --------------------------------------------------------------------------------------------


def a_run(name: str = "r1", **fields: Any) -> Run:
    return Run(id=name, workflow_name="flow", **fields)


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[tuple[Store, Faulty]]:
    ops = Faulty()
    store = Store(tmp_path / "data", ops=ops)
    store.open()
    yield store, ops
    ops.decide = lambda at, name: None
    asyncio.run(store.close())


async def test_while_the_disk_is_full_reading_goes_on(faulty: tuple[Store, Faulty]) -> None:
    store, ops = faulty
    await store.runs.put("r1", a_run(error="before"))
    ops.decide = lambda at, name: errno.ENOSPC if name == "write" else None
    for deed in (store.runs.put("r1", a_run(error="after")), store.runs.create("r2", a_run("r2"))):
        with pytest.raises(StoreFull, match="No space left"):
            await deed
        assert store.runs.list_names() == ["r1"] and store.runs.get("r1").error == "before"
    await store.runs.delete("r1")
    ops.decide = lambda at, name: None
    await store.runs.put("r1", a_run(error="again"))
    assert store.runs.get("r1").error == "again"


async def test_after_any_failure_the_index_says_what_the_file_says(faulty: tuple[Store, Faulty]) -> None:
    store, ops = faulty
    await store.runs.put("r1", a_run(error="0"))
    path = store.join_path("runs", "r1.json")
    for number, persistent in itertools.product(range(1, 14), (False, True)):
        start = len(ops.calls)
        ops.decide = lambda at, name, n=start + number, on=persistent: errno.EIO if at == n or (on and at > n) else None
        with contextlib.suppress(StoreError):  # what counts is that index and file agree
            await store.runs.put("r1", a_run(error=f"{number} {persistent}"))
        ops.decide = lambda at, name: None
        assert store.runs.get_raw("r1")[0] == path.read_bytes()
        assert store.list_problems() == []


def killed_at(number: int, root: Path) -> tuple[int, list[str]]:
    """How a process ended that put r1, deleted r2 and was killed at this call of the disk, and what it had told."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ops = Faulty(lambda at, name: os.kill(os.getpid(), signal.SIGKILL) if at == number else None)
            asyncio.run(put_and_delete(Store(root, ops=ops), lambda text: os.write(theirs, text.encode() + b"\n")))
            os.write(theirs, f"{len(ops.calls)} calls\n".encode())
            os._exit(0)
        except BaseException as error:
            os.write(theirs, repr(error).encode())
            os._exit(1)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        lines = pipe.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), lines


async def put_and_delete(store: Store, tell: Any) -> None:
    store.open()
    await store.runs.put("r1", a_run(error="new"))
    tell("acknowledged")
    with contextlib.suppress(NotFound):
        await store.runs.delete("r2")
    tell("deleted")
    await store.close()


def test_killed_at_any_call_of_a_put_and_a_delete(tmp_path: Path) -> None:
    def prepared(name: str) -> Path:
        root = tmp_path / name
        (root / "runs").mkdir(parents=True)
        # What an open would make only the first time: the second kill counts the same calls as the first.
        for folder in {kind.folder for kind in KINDS} | {"audit", "work", "cluster", "streams", "samples"}:
            (root / folder).mkdir(exist_ok=True)
        for name in ("config.yaml", "profiles.yaml"):
            (root / name).write_text("# none\n")
        (root / "runs/r1.json").write_bytes(to_json(a_run(error="old")))
        (root / "runs/r2.json").write_bytes(to_json(a_run("r2")))
        return root

    code, lines = killed_at(0, prepared("whole"))
    total = int(lines[-1].split()[0])
    assert (code, lines[:-1]) == (0, ["acknowledged", "deleted"]) and total > 12

    def checked(number: int) -> None:
        root = prepared(str(number))
        code, lines = killed_at(number, root)
        assert code == -signal.SIGKILL, lines
        # Killed once more in the middle of the same, then looked at.
        code, again = killed_at(max(1, number // 2), root)
        assert code == -signal.SIGKILL, again
        store = Store(root)
        store.open(wait_s=10)
        try:
            assert store.list_problems() == []
            error = store.runs.get("r1").error
            assert error == "new" if "acknowledged" in lines + again else error in ("old", "new")
            assert "r2" not in store.runs or "deleted" not in lines + again
            assert not any(is_temporary(path.name) for path in (root / "runs").iterdir())
        finally:
            asyncio.run(store.close())

    for number in range(1, total + 1):
        checked(number)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    root = tmp_path / "small"
    root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "none", root], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this container may not mount")
    try:
        store = Store(root)
        store.open()
        written = 0
        with pytest.raises(StoreFull):
            for written in range(1000):
                await store.runs.put(f"r{written}", a_run(f"r{written}", args={"x": "y" * 5000}))
        assert written > 5
        assert len(store.runs) == written == len(list((root / "runs").glob("r*.json")))
        assert not any(is_temporary(path.name) for path in (root / "runs").iterdir())
        assert all(orjson.loads(path.read_bytes())["args"] for path in (root / "runs").glob("*.json"))
        await store.runs.delete("r0")
        await store.runs.delete("r1")
        await store.runs.put("fits", a_run("fits"))
        await store.close()
    finally:
        subprocess.run(["umount", root], check=True)


async def test_a_file_larger_than_the_process_may_write(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    store.open()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(StoreFull, match="too large"):
            await store.runs.put("r1", a_run(args={"x": "y" * 50_000}))
        await store.runs.put("r2", a_run("r2"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert store.runs.list_names() == ["r2"]
    assert [path.name for path in store.join_path("runs").iterdir()] == ["r2.json"]
    await store.close()


# --- files torn and damaged ------------------------------------------------------------------------------------------


def test_a_file_torn_at_any_length_costs_only_itself(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    store.open()
    whole = to_json(a_run("torn", jobs=[{"name": "j"}]))
    path = store.join_path("runs", "torn.json")
    store.join_path("runs", "good.json").write_bytes(to_json(a_run("good")))
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        store.runs.file_states.clear()
        store.runs.filenames.clear()
        store.runs.load()
        # Without its last newline it is whole.
        assert ("torn" in store.runs) == (length == len(whole) - 1), length
        assert ("torn" in store.runs) != bool(store.list_problems()), length
        assert "good" in store.runs
        assert path.read_bytes() == whole[:length]
    asyncio.run(store.close())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damaged_bytes_are_a_document_or_a_problem(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(to_json(a_run("x", jobs=[{"name": "j", "attempts": [{"number": 1, "tag": "t"}]}])))
    start = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=8) | st.just(b"\0" * 64))
    whole[start : start + len(damage)] = damage
    store = Store(tmp_path / "data")
    store.runs.path.mkdir(parents=True, exist_ok=True)
    (store.runs.path / "x.json").write_bytes(whole)
    store.runs.load()
    assert ("x" in store.runs) != bool(store.runs.list_problems())


# --- a model of a disk that loses power ------------------------------------------------------------------------------


class Volatile(Faulty):
    """Keeps what each call changed, so that every disk can be made that a loss of power may leave behind."""

    def __init__(self, folder: Path, before: dict[str, bytes]) -> None:
        super().__init__()
        self.inodes: dict[int, dict[str, Any]] = {}
        self.fds: dict[int, int | None] = {}
        self.folder = folder
        self.durable = {name: self.inode(data, synced=True) for name, data in before.items()}
        self.pending: list[tuple[str, ...]] = []
        self.log: list[tuple[dict[str, int], list[tuple[Any, ...]]]] = []
        self.names = dict(self.durable)

    def inode(self, data: bytes = b"", synced: bool = False) -> int:
        self.inodes[len(self.inodes)] = {"data": data, "synced": synced}
        return len(self.inodes) - 1

    def note(self, *change: Any) -> None:
        self.pending.append(change)
        self.log.append((dict(self.durable), list(self.pending)))

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        seen = getattr(type(self), f"saw_{name}", None)
        if seen is None:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            seen(self, result, *args)
            return result

        return call

    def saw_open(self, fd: int, path: Path | str, flags: int, mode: int = 0) -> None:
        self.fds[fd] = None
        if flags & os.O_CREAT:
            name = Path(path).name
            self.fds[fd] = self.names[name] = self.inode()
            self.note("add", name, self.fds[fd])

    def saw_write(self, count: int, fd: int, data: Any) -> None:
        self.inodes[self.fds[fd]]["data"] += bytes(data[:count])  # type: ignore[index]

    def saw_fsync(self, _: None, fd: int) -> None:
        if self.fds[fd] is None:
            for change in self.pending:
                self.apply(self.durable, change)
            self.pending = []
        else:
            self.inodes[self.fds[fd]]["synced"] = True  # type: ignore[index]
        self.log.append((dict(self.durable), list(self.pending)))

    def saw_rename(self, _: None, *paths: Path | str) -> None:
        source, target = (Path(path).name for path in paths)
        inode = self.names[target] = self.names.pop(source)
        self.note("rename", source, target, inode)

    def saw_link(self, _: None, *paths: Path | str) -> None:
        source, target = (Path(path).name for path in paths)
        self.names[target] = self.names[source]
        self.note("add", target, self.names[source])

    def saw_unlink(self, _: None, path: Path | str) -> None:
        name = Path(path).name
        del self.names[name]
        self.note("remove", name)

    def apply(self, names: dict[str, int], change: tuple[Any, ...]) -> None:
        if change[0] == "add":
            names[change[1]] = change[2]
        elif change[0] == "remove":
            names.pop(change[1], None)
        else:
            names.pop(change[1], None)
            names[change[2]] = change[3]

    def disks(self) -> Iterator[dict[str, bytes | None]]:
        """Every content of the folder that may be there after a loss of power at any moment (None: a torn file)."""
        for durable, pending in self.log:
            for kept in itertools.product((False, True), repeat=len(pending)):
                names = dict(durable)
                for keep, change in zip(kept, pending, strict=True):
                    if keep:
                        self.apply(names, change)
                yield {
                    name: self.inodes[i]["data"] if self.inodes[i]["synced"] or i in durable.values() else None
                    for name, i in names.items()
                }


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
def test_a_loss_of_power_leaves_the_old_file_or_the_new_one(deed: Deed, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    if deed.before is not None:
        path.write_bytes(deed.before)
    disk = Volatile(tmp_path, {"x.json": deed.before} if deed.before is not None else {})
    deed.run(Files(tmp_path, disk), path)
    seen = {names.get("x.json", b"gone") for names in disk.disks()}
    allowed = {deed.before or b"gone", deed.after or b"gone"}
    assert seen == allowed
    # What was acknowledged is there whatever of the tidying up was lost.
    settled = disk.durable.get("x.json")
    assert (disk.inodes[settled]["data"] if settled is not None else None) == deed.after


# --- many at once ----------------------------------------------------------------------------------------------------


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    files = Files(tmp_path)
    texts = [orjson.dumps({"n": i, "fill": "x" * (i * 997 % 20_000)}) for i in range(100)]
    files.write_now(path, texts[0])
    stop = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes())

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for text in texts:
        files.write_now(path, text)
    stop.set()
    for reader in readers:
        reader.join()
    assert seen <= set(texts)


async def test_many_writers_share_the_waits_for_the_disk(tmp_path: Path) -> None:
    ops = Faulty()
    files = Files(tmp_path, ops)
    await asyncio.gather(*(files.write(tmp_path / f"{i}", b"x") for i in range(200)))
    files.close()
    folders = ops.calls.count("fsync") - 200
    assert 1 <= folders <= 20, "one fsync of the folder for many files"


async def test_deleting_what_is_not_there(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with pytest.raises(NotFound):
        await files.delete(tmp_path / "none")
    files.close()
    assert list(tmp_path.iterdir()) == []

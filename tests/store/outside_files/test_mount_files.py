"""The files of a mount: what is seen, what is read, and that nothing outside is reached, whatever changes meanwhile."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.errors import Denied, NotFound, StoreError, TooLarge, WrongKind
from store.outside_files import mount_files

SECRET = "outside, for nobody's eyes"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A mount with everything that a folder can hold, beside things that are none of its business."""
    top = tmp_path_factory.mktemp("mount")
    root, outside = top / "project", top / "project-other"
    for folder in (root / "a" / "b", root / ".hidden", outside / "a"):
        folder.mkdir(parents=True)
    (outside / "secret").write_text(SECRET)
    (outside / "a" / "f").write_text(SECRET)
    (root / "a" / "f").write_text("inside\n")
    (root / "a" / "b" / "deep").write_text("deep\n")
    (root / ".env").write_text("hidden\n")
    (root / "latin").write_bytes(b"caf\xe9 \x00\xff")
    (root / "large").write_bytes(b"x" * (mount_files.FILE_BYTES + 1))
    (root / "full").write_bytes(b"x" * mount_files.FILE_BYTES)
    with (root / "sparse").open("wb") as file:
        file.truncate(10 * 2**30)
    (Path(os.fsdecode(os.fsencode(root) + b"/odd\xff"))).write_text("odd\n")
    (root / "new\nline").write_text("line\n")
    os.mkfifo(root / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    before = Path.cwd()
    os.chdir(root)  # a socket's path is short
    listener.bind("sock")
    os.chdir(before)
    links = {
        "to-dir": "a", "to-file": "a/f", "absolute": str(root / "a"), "out": str(outside),
        "out-file": "../project-other/secret",
        "prefix": "../project-other", "etc": "/etc", "broken": "nope", "broken-out": "/nope/x", "loop": "loop",
        "ping": "pong", "pong": "ping", "round": "../project/a", "self": ".", "up": "a/..", "pipe-link": "pipe",
        "proc": "/proc/self/root", "dev": "/dev/zero",
    }  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "a" / "b" / "two-up").symlink_to("../../a/f")
    (root / "a" / "far-up").symlink_to("../../project-other/secret")
    for at in range(60):
        (root / f"chain{at}").symlink_to(f"chain{at + 1}" if at < 59 else "a")
    yield root
    listener.close()


@pytest.mark.parametrize(
    ("why", "path", "kind"),
    [
        ("up from the root", "..", Denied),
        ("up and back in is asked through the outside", "../project/a/f", Denied),
        ("up after going down", "a/../../project-other/secret", Denied),
        ("up through what is not there", "nope/../../x", Denied),
        ("an absolute path", "/etc/passwd", Denied),
        ("an absolute path into the mount", "{root}/a/f", Denied),
        ("a link to a folder outside", "out/secret", Denied),
        ("a link to a file outside", "out-file", Denied),
        ("a folder whose name begins like the mount's", "prefix/secret", Denied),
        ("a link out of a folder further down", "a/far-up", Denied),
        ("a link to the system's files", "etc/passwd", Denied),
        ("a link to the root of all", "proc/etc/passwd", Denied),
        ("a device", "dev", Denied),
        ("a broken link outside tells nothing", "broken-out", Denied),
        ("a link to itself", "loop", Denied),
        ("two links to each other", "ping", Denied),
        ("more links than Linux follows", "chain0/f", Denied),
        ("more parts than any path has", "self/" * 500 + "a/f", Denied),
        ("a pipe, without waiting for a writer", "pipe", WrongKind),
        ("a link to a pipe", "pipe-link", WrongKind),
        ("a socket", "sock", WrongKind),
        ("a folder", "a", WrongKind),
        ("the root", ".", WrongKind),
        ("nothing", "", WrongKind),
        ("a NUL", "a\0/f", WrongKind),
        ("one byte more than the limit", "large", TooLarge),
        ("ten gigabytes of nothing", "sparse", TooLarge),
        ("not there", "nope", NotFound),
        ("below what is not there", "nope/x", NotFound),
        ("below a file", "a/f/x", NotFound),
        ("back from a file", "a/f/../f", NotFound),
        ("a broken link", "broken", NotFound),
        ("a name that is too long", "x" * 300, NotFound),
        ("half a character", "\ud800", NotFound),
        ("bytes that no name has", "odd\ufffd\ufffd", NotFound),
    ],
)
def test_what_is_not_read(root: Path, why: str, path: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        mount_files.read_text(root, path.replace("{root}", str(root)))
    said = str(caught.value)
    assert type(caught.value) is kind and SECRET not in said
    if "{root}" not in path:
        assert str(root) not in said and "project-other" not in said.replace(path, "")


@pytest.mark.parametrize(
    ("why", "path", "text"),
    [
        ("plainly", "a/f", "inside\n"),
        ("down and up", "a/b/../f", "inside\n"),
        ("with idle parts", "./a//f/", "inside\n"),
        ("through a link to a folder", "to-dir/f", "inside\n"),
        ("through a link to a file", "to-file", "inside\n"),
        ("through an absolute link that stays inside", "absolute/f", "inside\n"),
        ("through a link that names the mount itself", "round/f", "inside\n"),
        ("through a link that goes up inside", "a/b/two-up", "inside\n"),
        ("up from where a link leads", "to-dir/b/../f", "inside\n"),
        ("through a link up to the root", "up/a/f", "inside\n"),
        ("not UTF-8", "latin", "caf\ufffd \0\ufffd"),
        ("a name that is not UTF-8, as it was shown", "odd\ufffd", "odd\n"),
        ("a newline in the name", "new\nline", "line\n"),
        ("exactly the limit", "full", "x" * mount_files.FILE_BYTES),
        ("as many links as Linux follows", "chain21/f", "inside\n"),
    ],
)
def test_what_is_read(root: Path, why: str, path: str, text: str) -> None:
    assert mount_files.read_text(root, path) == text


def test_a_file_that_is_longer_than_it_says(root: Path) -> None:
    """Files of /proc say 0 bytes."""
    with pytest.raises(TooLarge):
        mount_files.read_text(Path("/proc/self"), "maps", limit_bytes=10)
    assert "Name:" in mount_files.read_text(Path("/proc/self"), "status")


def test_a_listing(root: Path) -> None:
    found = mount_files.list_folder(root, "")
    rows = {entry["name"]: entry for entry in found["entries"]}
    assert list(rows) == sorted(rows, key=str.encode) and found["inside"] == "" and found["truncated"] is False
    assert not {".env", ".hidden", "pipe", "sock"} & set(rows)
    assert all(row.pop("modified_at") for row in rows.values())
    none = {"size": None, "accessible": None, "target_kind": None}
    assert rows["a"] == {"name": "a", "type": "directory", **none}
    assert rows["sparse"] == {"name": "sparse", "type": "file", **none, "size": 10 * 2**30}
    assert "odd\ufffd" in rows and "new\nline" in rows
    for name, accessible, kind in [
        ("to-dir", True, "directory"), ("to-file", True, "file"), ("absolute", True, "directory"), ("out", False, None),
        ("out-file", False, None), ("etc", False, None), ("broken", True, "file"), ("broken-out", False, None),
        ("loop", False, None), ("round", True, "directory"), ("pipe-link", False, None), ("chain0", False, None),
        ("chain30", True, "directory"), ("dev", False, None), ("prefix", False, None),
    ]:  # fmt: skip
        row = {"name": name, "type": "symlink", "size": None, "accessible": accessible, "target_kind": kind}
        assert rows[name] == row


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("", ""),
        ("a", "a"),
        ("to-dir/b", "a/b"),
        ("absolute", "a"),
        ("round/b/..", "a"),
        ("up", ""),
    ],
)
def test_where_a_listing_is(root: Path, path: str, inside: str) -> None:
    assert mount_files.list_folder(root, path)["inside"] == inside


@pytest.mark.parametrize(
    ("path", "kind"),
    [("..", Denied), ("out", Denied), ("loop", Denied), ("nope", NotFound), ("a/f", WrongKind), ("pipe", WrongKind),
     ("a/f/", WrongKind), ("\0", WrongKind), ("/", Denied), ("broken", NotFound), ("dev", Denied)],
)  # fmt: skip
def test_what_is_not_listed(root: Path, path: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        mount_files.list_folder(root, path)


def test_a_mount_that_is_gone_or_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    for name, kind in (("nope", NotFound), ("file", NotFound), ("loop", Denied)):
        with pytest.raises(kind) as caught:
            mount_files.list_folder(tmp_path / name, "")
        assert str(tmp_path) not in str(caught.value)


def test_a_folder_of_very_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(60):
        (tmp_path / f"{at:03}").touch()
    monkeypatch.setattr(mount_files, "MAX_ENTRIES", 50)
    found = mount_files.list_folder(tmp_path, "")
    assert [entry["name"] for entry in found["entries"]] == [f"{at:03}" for at in range(50)] and found["truncated"]
    monkeypatch.setattr(mount_files, "MAX_NAMES", 40)
    found = mount_files.list_folder(tmp_path, "")
    assert len(found["entries"]) == 40 and found["truncated"]


def as_nobody(work: Callable[[], Any]) -> Any:
    """What the work gives for a user whom permissions bind; they do not bind root."""
    if os.getuid() != 0:
        return work()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.write(writing, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        answer = said.read()
    os.waitpid(pid, 0)
    return eval(answer)


def test_what_may_not_be_read() -> None:
    def refused(call: Callable[..., Any], *given: Any) -> tuple[str, str]:
        try:
            return "read", str(call(*given))
        except StoreError as problem:
            return type(problem).__name__, str(problem)

    with tempfile.TemporaryDirectory() as top:
        root = Path(top)
        (root / "shut").mkdir()
        (root / "shut" / "f").write_text("x")
        (root / "secret").write_text("x")
        (root / "link").symlink_to("shut/f")
        for name in ("shut", "secret"):
            (root / name).chmod(0)
        root.chmod(0o755)
        denied = ("Denied", "Permission denied")
        for path in ("secret", "shut/f", "link"):
            assert as_nobody(lambda path=path: refused(mount_files.read_text, root, path)) == denied
        assert as_nobody(lambda: refused(mount_files.list_folder, root, "shut")) == denied
        rows = {entry["name"]: entry for entry in as_nobody(lambda: mount_files.list_folder(root, ""))["entries"]}
        assert rows["link"]["accessible"] is False and rows["secret"]["size"] == 1
        root.chmod(0o311)
        assert as_nobody(lambda: refused(mount_files.list_folder, root, "")) == denied
        for name in ("shut", "secret"):
            (root / name).chmod(0o700)
        root.chmod(0o700)


def open_files() -> int:
    """How many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_stays_open(root: Path) -> None:
    before = open_files()
    for path in ("", "a", "..", "out", "loop", "nope", "a/f", "up", "a/b/.."):
        for call in (mount_files.list_folder, mount_files.read_text):
            try:
                call(root, path)
            except StoreError:
                continue
    assert open_files() == before


def test_no_descriptor_is_left_over(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the process has no descriptor to spare it says so, at whichever call that is, and closes what it has."""
    before, left, failed = open_files(), [0], 0

    def scarce(call: Callable[..., int]) -> Callable[..., int]:
        def open_or_fail(*given: Any, **more: Any) -> int:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(24, "Too many open files")
            return call(*given, **more)

        return open_or_fail

    for turn in range(12):
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", scarce(os.open))
            patch.setattr(os, "dup", scarce(os.dup))
            left[0] = turn
            try:
                assert mount_files.read_text(root, "to-dir/b/../f") == "inside\n"
            except StoreError as problem:
                failed += 1
                assert "Too many open files" in str(problem) and str(root) not in str(problem)
    assert 4 < failed < 12
    assert open_files() == before


# --- whatever the path -----------------------------------------------------------------------------------------------

WORDS = [
    *(
        "a",
        "b",
        "f",
        "deep",
        "..",
        ".",
        "",
        "to-dir",
        "absolute",
        "out",
        "secret",
        "self",
        "up",
        "loop",
        "round",
        "etc",
    ),
    *(
        "a",
        "b",
        "f",
        "two-up",
        "far-up",
        "prefix",
        "chain40",
        "pipe",
        "project",
        "project-other",
        "passwd",
        "\0",
        "x" * 256,
    ),
]
PATHS = st.lists(st.sampled_from(WORDS) | st.text(max_size=6), max_size=12).map("/".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=600, deadline=None)
@given(path=PATHS)
def test_every_path_is_inside_or_refused(root: Path, path: str) -> None:
    for call in (mount_files.list_folder, mount_files.read_text):
        try:
            found: Any = call(root, path)
        except StoreError as problem:
            assert SECRET not in str(problem)
            continue
        real = Path(os.path.realpath(root / path))
        assert real.is_relative_to(os.path.realpath(root))
        if isinstance(found, str):
            assert found == real.read_text(errors="replace") and SECRET not in found
        else:
            assert (root / found["inside"]).samefile(real)
            assert "passwd" not in [entry["name"] for entry in found["entries"]]


# --- whatever changes meanwhile ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "path", "name", "target"),
    [
        ("a folder on the way becomes a link outside", "a/b/f", "a/b", "{outside}/b"),
        ("the first folder becomes a link outside", "a/b/f", "a", "{outside}/a"),
        ("the file becomes a link outside", "a/b/f", "a/b/f", "{outside}/b/f"),
        ("a folder below a link becomes a link outside", "in/b/f", "a/b", "{outside}/b"),
        ("a folder that is left again by .. becomes one", "a/b/../b/f", "a/b", "{outside}/b"),
    ],
)
def test_nothing_outside_is_read_while_it_is_swapped(
    tmp_path: Path, why: str, path: str, name: str, target: str
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for top, text in ((root, "inside"), (outside, SECRET)):
        (top / "a" / "b").mkdir(parents=True)
        (top / "a" / "b" / "f").write_text(text)
    (outside / "b").mkdir()
    (outside / "b" / "f").write_text(SECRET)
    (root / "in").symlink_to("a")
    place, aside, link = root / name, root / "aside", root / "link"
    link.symlink_to(target.replace("{outside}", str(outside)))
    over, undisturbed = threading.Event(), threading.Event()
    swaps = [0]

    def swap() -> None:
        while not over.is_set():
            place.rename(aside)
            link.rename(place)
            place.rename(link)
            aside.rename(place)
            swaps[0] += 1
            if swaps[0] % 50 == 0:  # two threads in step could never read
                undisturbed.clear()
                undisturbed.wait()

    swapper = threading.Thread(target=swap)
    swapper.start()
    outcomes: dict[str, int] = {}
    try:
        while swaps[0] < 3000 or len(outcomes) < 2:
            rests = not undisturbed.is_set()
            try:
                assert mount_files.read_text(root, path) == "inside"
                listing = mount_files.list_folder(root, path.rpartition("/")[0])
                assert [entry["size"] for entry in listing["entries"] if entry["name"] == "f"] in ([6], [None], [])
                outcome = "read"
            except StoreError as problem:
                outcome = type(problem).__name__
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            if rests:
                undisturbed.set()
    finally:
        over.set()
        undisturbed.set()
        swapper.join()
    assert outcomes["read"] and len(outcomes) > 1, f"{outcomes} in {swaps[0]} swaps"


def test_a_pipe_that_takes_a_files_place_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_text("inside")
    real = os.open

    def swapped(path: Any, *given: Any, **more: Any) -> int:
        if path == b"f":
            (tmp_path / "f").unlink()
            os.mkfifo(tmp_path / "f")
        return real(path, *given, **more)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(WrongKind):
        mount_files.read_text(tmp_path, "f")


@pytest.mark.parametrize("name", ["a/b/f", "a/b", "a"])
def test_what_becomes_a_link_as_it_is_opened_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Between the look and the opening; the swaps above seldom meet that moment."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for top, text in ((root, "inside"), (outside, SECRET)):
        (top / "a" / "b").mkdir(parents=True)
        (top / "a" / "b" / "f").write_text(text)
    really_open, place, aside = os.open, root / name, tmp_path / "aside"

    def swap_and_open(opened: Any, *given: Any, **named: Any) -> int:
        if opened == os.fsencode(place.name) and not aside.exists():
            place.rename(aside)
            place.symlink_to(outside / name)
        return really_open(opened, *given, **named)

    monkeypatch.setattr(os, "open", swap_and_open)
    with pytest.raises(Denied):
        mount_files.read_text(root, "a/b/f")
    assert aside.exists()

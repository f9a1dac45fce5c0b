"""A mount's files over HTTP: what its pages see, the document's statuses, and nothing of where the mount lies here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app_client import Client, serving

NAME = "srunx-project"


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Path]]:
    """The app with a mount of a profile that has no host, and the folder of that mount."""
    top = tmp_path_factory.mktemp("files")
    root = top / "somewhere-here" / NAME
    (root / "src" / "data").mkdir(parents=True)
    (root / "src" / "train.py").write_text("print('trained')\n")
    (root / "src" / "latest").symlink_to("data")
    (root / "src" / "away").symlink_to("/etc")
    (root / "src" / ".env").write_text("hidden")
    (root / "large").write_bytes(b"x" * 1_048_577)
    (root / "binary").write_bytes(b"\x7fELF\x00\xff\xfe")
    os.mkfifo(root / "pipe")
    (top / "store").mkdir()
    mounts = f"[{{name: ml, local: {root}, remote: /home/me/ml/}}, {{name: gone, local: {top}/no, remote: /x}}]"
    (top / "store" / "profiles.yaml").write_text(f"current: mine\nprofiles:\n  mine: {{mounts: {mounts}}}\n")
    with serving(top / "store", "embedded") as client:
        yield client, root


def browse(client: Client, **query: str) -> Any:
    """The answer to a look into a folder."""
    return client.get("/api/files/browse", params=query)


def read(client: Client, **query: str) -> Any:
    """The answer to a look into a file."""
    return client.get("/api/files/read", params=query)


# First, since there is one app in a process.
def test_without_a_profile(tmp_path: Path) -> None:
    with serving(tmp_path / "store", "embedded") as client:
        none = {"detail": "No SSH profile configured"}
        for call, status in (
            (lambda: browse(client, mount="ml"), 404),
            (lambda: read(client, mount="ml", path="x"), 404),
            (lambda: client.post("/api/files/sync", {"mount": "ml"}), 503),
        ):
            answer = call()
            assert answer.status_code == status and answer.json() == none


def test_a_folder_as_the_explorer_sees_it(mounted: tuple[Client, Path]) -> None:
    client, _ = mounted
    empty = {"size": None, "accessible": None, "target_kind": None}
    found = browse(client, mount="ml", path="src").json()
    times = [entry.pop("modified_at") for entry in found["entries"]]
    assert all(time.endswith("Z") for time in times)
    assert found == {
        "entries": [
            {"name": "away", "type": "symlink", "size": None, "accessible": False, "target_kind": None},
            {"name": "data", "type": "directory", **empty},
            {"name": "latest", "type": "symlink", "size": None, "accessible": True, "target_kind": "directory"},
            {"name": "train.py", "type": "file", **empty, "size": 17},
        ],
        "remote_prefix": "/home/me/ml/src",
        "mount_name": "ml",
        "truncated": False,
    }
    assert browse(client, mount="ml").json()["remote_prefix"] == "/home/me/ml/"
    assert browse(client, mount="ml", path="").status_code == 200
    assert browse(client, mount="ml", path="src/latest").json()["remote_prefix"] == "/home/me/ml/src/data"


def test_a_file_as_the_explorer_sees_it(mounted: tuple[Client, Path]) -> None:
    client, _ = mounted
    found = read(client, mount="ml", path="src/./train.py").json()
    assert found == {"content": "print('trained')\n", "path": "src/./train.py", "mount": "ml"}
    assert read(client, mount="ml", path="binary").json()["content"] == "\x7fELF\0\ufffd\ufffd"


@pytest.mark.parametrize(
    ("why", "path", "query", "wanted"),
    [
        ("as it is", "binary", {}, b"\x7fELF\x00\xff\xfe"),
        ("a part", "binary", {"offset": 1, "length": 3}, b"ELF"),
        ("no more than there is", "binary", {"offset": 5, "length": 99}, b"\xff\xfe"),
        ("beyond the end", "binary", {"offset": 99}, b""),
        ("none of it", "binary", {"length": 0}, b""),
        ("larger than what is read as text", "large", {}, b"x" * 1_048_577),
    ],
)
def test_a_file_that_is_downloaded(
    mounted: tuple[Client, Path], why: str, path: str, query: dict[str, int], wanted: bytes
) -> None:
    client, _ = mounted
    answer = client.get("/api/files/download", params={"mount": "ml", "path": path, **query})
    assert (answer.status_code, answer.content) == (200, wanted)
    assert answer.headers["content-disposition"] == "attachment", "no browser shows it as a page"


@pytest.mark.parametrize(
    ("why", "what", "query", "status", "detail"),
    [
        ("traversal", "browse", {"mount": "ml", "path": "../../etc/passwd"}, 403, "Path outside mount boundary"),
        (
            "traversal to nothing",
            "read",
            {"mount": "ml", "path": "../nope"},
            403,
            "Path outside mount boundary",
        ),
        (
            "traversal, encoded",
            "read",
            {"mount": "ml", "path": "src/..%2f..%2f/etc"},
            403,
            "Hidden files and folders are not shown",
        ),
        ("a link outside", "browse", {"mount": "ml", "path": "src/away"}, 403, "Path outside mount boundary"),
        ("a file behind it", "read", {"mount": "ml", "path": "src/away/passwd"}, 403, "Path outside mount boundary"),
        ("absolute", "read", {"mount": "ml", "path": "/etc/passwd"}, 403, "Path outside mount boundary"),
        ("a file is no folder", "browse", {"mount": "ml", "path": "large"}, 400, "Path is not a directory"),
        ("a folder is no file", "read", {"mount": "ml", "path": "src"}, 400, "Path is not a file"),
        ("a pipe is no file", "read", {"mount": "ml", "path": "pipe"}, 400, "Path is not a file"),
        ("a NUL", "browse", {"mount": "ml", "path": "a\0b"}, 422, None),
        ("no path", "read", {"mount": "ml"}, 400, "path is required"),
        ("an empty path", "read", {"mount": "ml", "path": ""}, 400, "path is required"),
        ("too large", "read", {"mount": "ml", "path": "large"}, 413, "the file is larger than 1048576 bytes"),
        ("a pipe is not downloaded", "download", {"mount": "ml", "path": "pipe"}, 400, "Path is not a file"),
        ("nor a folder", "download", {"mount": "ml", "path": "src"}, 400, "Path is not a file"),
        (
            "nor what is outside",
            "download",
            {"mount": "ml", "path": "src/away/passwd"},
            403,
            "Path outside mount boundary",
        ),
        ("nor what is not there", "download", {"mount": "ml", "path": "nope"}, 404, "File 'nope' not found"),
        ("a hidden file", "read", {"mount": "ml", "path": "src/.env"}, 403, "Hidden files and folders are not shown"),
        ("no such file", "read", {"mount": "ml", "path": "nope"}, 404, "File 'nope' not found"),
        ("no such folder", "browse", {"mount": "ml", "path": "nope"}, 404, "Directory 'nope' not found"),
        ("no such mount", "browse", {"mount": "nope"}, 404, "Mount 'nope' not found"),
        ("a mount that is not there", "browse", {"mount": "gone"}, 404, "Directory '' not found"),
        ("no mount", "browse", {"path": "src"}, 422, None),
        ("no mount, no path", "read", {}, 422, None),
        ("a path that no system has", "read", {"mount": "ml", "path": "x" * 5000}, 422, None),
        ("one that says it is nothing", "read", {"mount": "ml", "path": "{" + "x" * 5000 + "}"}, 422, None),
    ],
)
def test_what_is_refused(
    mounted: tuple[Client, Path], why: str, what: str, query: dict[str, str], status: int, detail: str | None
) -> None:
    client, _ = mounted
    answer = client.get(f"/api/files/{what}", params=query)
    assert answer.status_code == status, answer.text
    assert detail is None or answer.json()["detail"] == detail
    assert "somewhere-here" not in answer.text and NAME not in answer.text


def test_bytes_in_a_query(mounted: tuple[Client, Path]) -> None:
    client, root = mounted
    (Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9"))).write_text("latin")
    name = next(
        entry["name"] for entry in browse(client, mount="ml").json()["entries"] if entry["name"].startswith("caf")
    )
    assert read(client, mount="ml", path=name).json()["content"] == "latin"
    for query in (
        "path=caf%E9",
        "path=%ff%fe",
        "path=%00",
        "path=%ED%A0%80",
        "path=%2e%2e%2f",
        "path=a;b",
    ):
        assert client.get(f"/api/files/read?mount=ml&{query}").status_code in (200, 400, 403, 404, 422), query
    assert client.get("/api/files/read?mount=ml&path=%2e%2e%2fx").status_code == 403


def test_a_read_token_looks_and_does_not_sync(mounted: tuple[Client, Path]) -> None:
    client, _ = mounted
    assert client.get("/api/files/browse?mount=ml", token="read").status_code == 200
    assert client.post("/api/files/sync", {"mount": "ml"}, token="read").status_code == 403


@pytest.mark.parametrize(
    ("why", "body", "status", "said"),
    [
        ("no such mount", {"mount": "nope"}, 404, "Mount 'nope' not found"),
        ("no mount", {}, 422, "mount"),
        ("a flag that is none", {"mount": "ml", "delete": "yes"}, 422, "delete"),
    ],
)
def test_a_sync_that_cannot_be(
    mounted: tuple[Client, Path], why: str, body: dict[str, Any], status: int, said: str
) -> None:
    client, _ = mounted
    answer = client.post("/api/files/sync", body)
    assert answer.status_code == status and said in answer.text
    assert "somewhere-here" not in answer.text


def test_where_jobs_run_in_the_mount_itself_it_is_where_it_is_needed(mounted: tuple[Client, Path]) -> None:
    client, _ = mounted
    done = {"status": "synced", "mount": "ml"}
    assert client.post("/api/files/sync", {"mount": "ml"}).json() == done
    assert client.post("/api/files/sync", {"mount": "ml", "wait": False, "delete": True}).json() == done
    planned = client.post("/api/files/sync", {"mount": "ml", "dry_run": True}).json()
    assert planned["status"] == "planned" and planned["changes"] == [] and set(planned["counts"].values()) == {0}


def test_a_sync_that_nobody_asked_for(mounted: tuple[Client, Path]) -> None:
    client, _ = mounted
    assert client.get("/api/files/sync/nope").json() == {"detail": "Sync 'nope' not found"}

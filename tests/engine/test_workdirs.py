"""Where a run or job works: below the store, in a mount, or on another machine, which is not reached for the answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine import workdirs
from engine.workdirs import WorkDir
from slurm_shim.cluster import RemoteCluster
from slurm_shim.errors import SlurmUnreachable
from slurm_shim.remote.commands import Slice
from store.errors import Denied, NotFound
from store.outside_files.job_files import JobPlace
from tests.engine.servers.pretended import HERE, World, open_server
from tests.pretended import asynchronous

GPU = "ssh:gpu"
# Mounts that profiles of the local cluster have, and the same names in the profile of another machine.
PROFILES = """\
current: second
profiles:
  first:
    mounts:
      - {name: shared, local: /first/shared, remote: /unused}
      - {name: alone, local: /first/alone, remote: /unused}
  second:
    mounts: [{name: shared, local: /second/shared, remote: /unused}]
  gpu:
    hostname: gpu.example
    mounts:
      - {name: shared, local: /gpu/shared, remote: /there/shared}
      - {name: far, local: /gpu/far, remote: /there/far}
"""
FILES = {"store/profiles.yaml": PROFILES}


def get_remote(world: World) -> RemoteCluster:
    """Get the cluster of the profile `gpu`, to which nobody connects."""
    cluster = world.server.clusters.get(GPU)
    assert isinstance(cluster, RemoteCluster)
    return cluster


@pytest.mark.parametrize(
    ("why", "cluster", "mount", "expected"),
    [
        ("below the store", HERE, None, WorkDir(Path("{store}/work/w"))),
        ("in the mount itself", HERE, "alone", WorkDir(Path("/first/alone"), Path("/first/alone"))),
        ("below the home, which is not known yet", GPU, None, WorkDir(Path("~/.sluice/work/w"))),
        ("in a copy of the mount", GPU, "far", WorkDir(Path("/there/far"), Path("/gpu/far"), is_copied=True)),
    ],
)
@asynchronous
async def test_where_a_run_works(tmp_path: Path, why: str, cluster: str, mount: str | None, expected: WorkDir) -> None:
    async with open_server(tmp_path, FILES) as world:
        found = await workdirs.choose_workdir(world.server, world.server.clusters.get(cluster), mount, "w")
        root = Path(str(expected.root).format(store=tmp_path / "store"))
        assert found == WorkDir(root, expected.local, expected.is_copied), why
        assert not root.exists(), "it is made where the job is submitted"


@asynchronous
async def test_the_home_of_another_machine_counts_once_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_server(tmp_path, FILES) as world:
        cluster = get_remote(world)
        monkeypatch.setattr(RemoteCluster, "home", "/home/ann")
        assert (await workdirs.choose_workdir(world.server, cluster, None, "w")).root == Path(
            "/home/ann/.sluice/work/w"
        )


@pytest.mark.parametrize(
    ("why", "name", "cluster", "local"),
    [
        ("the active profile comes first", "shared", HERE, "/second/shared"),
        ("then the others of the local cluster", "alone", HERE, "/first/alone"),
        ("never that of another machine", "far", HERE, None),
        ("another machine's own", "shared", GPU, "/gpu/shared"),
        ("and no other than its own", "alone", GPU, None),
        ("also once its own name is known", "far", f"{GPU}:there", "/gpu/far"),
        ("a mount that nobody has", "none", HERE, None),
    ],
)
@asynchronous
async def test_whose_mount_is_meant(tmp_path: Path, why: str, name: str, cluster: str, local: str | None) -> None:
    async with open_server(tmp_path, FILES) as world:
        if local is None:
            with pytest.raises(NotFound, match=name):
                await workdirs.find_mount(world.server, name, cluster)
        else:
            assert (await workdirs.find_mount(world.server, name, cluster)).local == local, why


@pytest.mark.parametrize(
    ("why", "user", "project", "expected"),
    [
        ("by itself", None, None, True),
        ("the server's configuration forbids it", False, None, False),
        ("the mount's own configuration counts before that", False, True, True),
        ("in both directions", True, False, False),
    ],
)
@asynchronous
async def test_whether_a_mount_is_copied_by_itself(
    tmp_path: Path, why: str, user: bool | None, project: bool | None, expected: bool
) -> None:
    files = {}
    if user is not None:
        files["store/config.yaml"] = f"sync: {{auto: {str(user).lower()}}}\n"
    if project is not None:
        files["mount/srunx.json"] = f'{{"sync": {{"auto": {str(project).lower()}}}}}'
    async with open_server(tmp_path, files) as world:
        workdir = WorkDir(Path("/there"), tmp_path / "mount", is_copied=True)
        assert await workdirs.is_sync_wanted(world.server, workdir) is expected, why


@asynchronous
async def test_files_of_local_jobs_are_read_here(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        (tmp_path / "out").write_text("hello")
        read = workdirs.make_reader(world.cluster, JobPlace((str(tmp_path),)))
        content, missing = await read([(str(tmp_path / "out"), 1, 3), (str(tmp_path / "none"), 0, 3)], None)
        assert content == (b"ell", 5) and isinstance(missing, NotFound)
        files: list[tuple[float, int]] = []
        read = workdirs.make_reader(world.cluster, JobPlace((str(tmp_path),)), lambda *status: files.append(status))
        await read([(str(tmp_path / "out"), 1, 3), (str(tmp_path / "none"), 0, 3)], None)
        status = (tmp_path / "out").stat()
        assert files == [(status.st_mtime, status.st_ino)]


@asynchronous
async def test_files_of_another_machine_are_read_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    async def read_files(wanted: Any, owner: int | None, folders: Sequence[str]) -> tuple[list[Slice], dict[str, str]]:
        asked.append((list(wanted), owner))
        good = [Slice(b"ell", 5, None, "/real/out", 1000), Slice(b"", 0, None, "/real/empty", 1000)]
        bad = [Slice(b"x", 1, None, "/other/out", 1000), Slice(b"x", 1, None, "/real/out", 4)]
        found = [good[0], Slice(), Slice(refused="belongs to somebody else"), good[1], *bad]
        return found, {"/there": "/real", **{folder: folder for folder in folders if folder != "/there"}}

    async with open_server(tmp_path, FILES) as world:
        monkeypatch.setattr(get_remote(world), "read_files", read_files)
        files: list[tuple[float, int]] = []
        place = JobPlace(("/there",), since=1000.0)
        read = workdirs.make_reader(get_remote(world), place, lambda *status: files.append(status))
        names = ("out", "none", "theirs", "empty", "link", "old")
        wanted = [(f"/there/{name}", 1 if name == "out" else 0, 3) for name in names]
        content, missing, theirs, empty, link, old = await read(wanted, 1234)
        assert files[:2] == [(1000, 0), (1000, 0)], "of those that are there"
        assert asked == [(wanted, 1234)], "all at once, and only what belongs to the job's owner"
        assert content == (b"ell", 5) and empty == (b"", 0), "one without content is no missing one"
        assert isinstance(missing, NotFound) and "none" in str(missing)
        assert isinstance(theirs, Denied) and str(theirs) == "theirs belongs to somebody else", "without its folder"
        assert isinstance(link, Denied) and "outside" in str(link), "where it really lies counts"
        assert isinstance(old, Denied) and "before the job" in str(old)


@asynchronous
async def test_a_machine_that_is_away_is_no_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read_files(_wanted: Any, _owner: Any, _folders: Any) -> Any:
        raise SlurmUnreachable("cat", "away")

    async with open_server(tmp_path, FILES) as world:
        monkeypatch.setattr(get_remote(world), "read_files", read_files)
        with pytest.raises(SlurmUnreachable):
            await workdirs.make_reader(get_remote(world), JobPlace())([("/there/out", 0, 3)], None)

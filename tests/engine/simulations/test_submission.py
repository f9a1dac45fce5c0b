"""Simulations are checked before anything is written, and their folder is there before their document."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from engine.simulations import submission
from store.access import INCLUDED, Caller
from store.disk.files import Files
from store.errors import Invalid, StoreUnavailable
from store.rules.simulations.simulators import Simulator
from tests.engine.servers.pretended import HERE, open_server
from tests.pretended import asynchronous
from tests.store.rules.simulations.samples import ID, make_simulation

ANN = Caller("ann", INCLUDED["write"], "token")


def make_simulator(program: str, **more: Any) -> Simulator:
    given = {"title": "t", "recognise": ["a"], "command": [program], "results": {"form": "pages", "files": ["*"]}}
    return Simulator.model_validate({**given, **more})


PROGRAMS = [
    ("in the path", "ls", False, True),
    ("with its whole path", "/bin/ls", False, True),
    ("it comes with us", "{python}", False, True),
    ("below the work folder", "./run", False, True),
    ("nowhere", "no-such-program", False, False),
    ("nowhere, but a module may bring it", "no-such-program", True, True),
    ("nowhere, whatever a module brings", "/opt/no-such-program", True, False),
]


@pytest.mark.parametrize(("why", "program", "has_own_path", "found"), PROGRAMS, ids=[row[0] for row in PROGRAMS])
def test_programs_of_this_machine(why: str, program: str, has_own_path: bool, found: bool) -> None:
    if found:
        submission.require_program("x", make_simulator(program), has_own_path)
        return
    with pytest.raises(Invalid, match=r"was not found: install it, or correct `command` in simulators/x\.yaml"):
        submission.require_program("x", make_simulator(program), has_own_path)


def test_a_program_that_may_not_be_run(tmp_path: Path) -> None:
    program = tmp_path / "mc.py"
    program.write_text("")
    with pytest.raises(Invalid, match=rf"make it executable \(chmod \+x {program}\)"):
        submission.require_program("x", make_simulator(str(program)), False)


@asynchronous
async def test_a_document_has_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_server(tmp_path) as world:
        simulation, folder = make_simulation(), world.store.simulations.path / ID
        write = Files.write

        async def fail(files: Files, path: Path, data: bytes, run: Any = None) -> Any:
            if path.name == "b":
                raise StoreUnavailable(errno.EIO, "no")
            return await write(files, path, data, run)

        with monkeypatch.context() as patch:
            patch.setattr(Files, "write", fail)
            with pytest.raises(StoreUnavailable):
                await submission.save_document(world.server, simulation, {"a": b"1", "b": b"2"}, b"{}")
        assert ID not in world.store.simulations
        await submission.save_document(world.server, simulation, {"a": b"1", "b": b"2"}, b"{}")
        assert {path.name: path.read_bytes() for path in (folder / "input").iterdir()} == {"a": b"1", "b": b"2"}
        assert (folder / "project.json").read_bytes() == b"{}"
        assert ID in world.store.simulations


@asynchronous
async def test_names_of_clusters(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        profile = {"hostname": "127.0.0.1", "username": "me"}
        await world.server.store.single["profiles"].put("profiles", f"profiles: {{far: {profile}}}".encode())
        for name, found in ((None, HERE), ("", HERE), ("default", HERE), (HERE, HERE), ("far", "ssh:far")):
            assert submission.find_cluster(world.server, name) == found
        with pytest.raises(Invalid, match=r"there is no cluster 'fa'; did you mean 'far'\?"):
            submission.find_cluster(world.server, "fa")

"""Lists of simulations, and of where they can run."""

from __future__ import annotations

from pathlib import Path

from engine.simulations import lists
from store.access import INCLUDED, Caller
from tests.engine.servers.pretended import HERE, open_server
from tests.pretended import asynchronous
from tests.store.rules.simulations.samples import ID, make_simulation

ASKED = {"page_size": 6, "page_idx": 1, "order_by": "start_time", "order_type": "descend", "job_state": None}


@asynchronous
async def test_each_sees_his_own(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.simulations.create(ID, make_simulation(owner="ann"))
        for kind, scope, count in (("yaptide", "write", 1), ("token", "write", 0), ("token", "admin", 1)):
            caller = Caller("ann", INCLUDED[scope], kind)
            assert lists.list_simulations(world.server, **ASKED, caller=caller)["simulations_count"] == count


@asynchronous
async def test_the_cluster_of_this_machine_is_always_there(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        assert lists.list_names(world.server) == [HERE]

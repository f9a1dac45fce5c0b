"""The state of a simulation is made once per change, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import pytest

from engine.simulations import actions
from store.access import INCLUDED, Caller
from store.errors import Denied, NotFound
from store.views import yaptide
from tests.engine.servers.pretended import open_server
from tests.pretended import asynchronous
from tests.store.rules.simulations.samples import ID, make_simulation

ANN = Caller("ann", INCLUDED["write"], "yaptide")
BOB = Caller("bob", INCLUDED["write"], "yaptide")


@asynchronous
async def test_a_state_is_made_once_per_change(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.simulations.create(ID, make_simulation(owner="ann"))
        with patch.object(yaptide, "to_status_json", side_effect=yaptide.to_status_json) as made:
            answers = {actions.get_job(world.server, ID, ANN) for _ in range(10)}
            assert len(answers) == made.call_count == 1
            await world.store.simulations.put(ID, make_simulation(owner="ann", state="RUNNING"))
            assert json.loads(actions.get_direct(world.server, ID, ANN))["job_state"] == "RUNNING"
            assert made.call_count == 2
        with pytest.raises(Denied):
            actions.get_job(world.server, ID, BOB)
        await world.store.simulations.delete(ID)
        with pytest.raises(NotFound):
            actions.get_job(world.server, ID, ANN)


@asynchronous
async def test_what_is_cancelled_is_so_once(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.simulations.create(ID, make_simulation(owner="ann", state="RUNNING"))
        with pytest.raises(Denied):
            await actions.cancel_direct(world.server, ID, BOB)
        assert await actions.cancel_direct(world.server, ID, ANN) == {"message": "Job cancelled"}
        again = await actions.cancel_direct(world.server, ID, ANN)
        assert again["job_state"] == world.store.simulations.get(ID).state == "CANCELED"
        with pytest.raises(NotFound):
            await actions.cancel_batch(world.server, ID, Caller("ann", INCLUDED["admin"], "user"))

"""Results are sent as their files are, in pieces that fit into memory."""

from __future__ import annotations

import json
from pathlib import Path

from engine.simulations import result_files, results
from store.access import INCLUDED, Caller
from store.documents import EstimatorFacts
from tests.engine.servers import written
from tests.engine.servers.pretended import open_server
from tests.pretended import asynchronous
from tests.store.rules.simulations.samples import ID, make_simulation

ANN = Caller("ann", INCLUDED["write"], "yaptide")


@asynchronous
async def test_no_piece_is_large(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        folder = world.store.simulations.path / ID / "results"
        folder.mkdir(parents=True)
        whole = {"metadata": {}, "pages": [{"dimensions": 0, "data": {"name": "x", "values": [0.5] * 500_000}}]}
        estimators = []
        for name in ("a", "b"):
            facts = written.write_estimator(folder / f"{name}.json", {"name": name, **whole})
            estimators.append(EstimatorFacts(name=name, file=f"{name}.json", pages=facts))
        simulation = make_simulation(owner="ann", results="there", estimators=estimators)
        await world.store.simulations.create(ID, simulation)
        for name, said in ((None, {"message", "estimators"}), ("b", {"message", "name", *whole})):
            pieces = [piece async for piece in await results.get_results(world.server, ID, name, None, None, ANN)]
            assert max(map(len, pieces)) <= result_files.PIECE_BYTES + 100
            assert set(json.loads(b"".join(pieces))) == said

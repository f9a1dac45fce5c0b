"""Reservations, which are read and never made here."""

from __future__ import annotations

from engine.nodes.node_list import make_list_answer
from engine.server import Server
from store.errors import NotFound
from store.indexes.bodies import Answer, Body
from store.jsons import dump_json
from store.views.s9s_nodes import to_reservation_json


async def list_reservations(server: Server, limit: int | None, offset: int) -> Answer:
    """List all reservations."""
    rows = await server.cluster.inventory.reservations.get()
    return make_list_answer(
        server, "reservations", rows, lambda row: dump_json(to_reservation_json(row)), limit, offset
    )


async def get_reservation(server: Server, reservation_name: str) -> Body:
    """Get one reservation; raise NotFound."""
    rows = await server.cluster.inventory.reservations.get()
    found = next((row for row in rows if row["name"] == reservation_name), None)
    if found is None:
        raise NotFound("Reservation", reservation_name)
    return Body(dump_json(to_reservation_json(found)))

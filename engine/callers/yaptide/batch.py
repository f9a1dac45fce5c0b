"""Who may run simulations on a cluster by SLURM."""

from __future__ import annotations

from engine.server import Server
from store.access import Caller
from store.access.yaptide.logins import KINDS
from store.access.yaptide.users import make_user_id
from store.errors import Denied

SOURCES = {kind: source for source, kind in KINDS.items()}


def check_batch_allowed(server: Server, caller: Caller) -> None:
    """Refuse who may not run simulations on a cluster. Raises Denied.

    Users may whose file says so, as that of each user of Keycloak does at first. Of other callers the contract asks for
    a scope, as everywhere.
    """
    source = SOURCES.get(caller.kind)
    if source is None:
        return
    user_id = make_user_id(source, caller.name)
    user = server.logins.find_user(user_id)
    if user is None or not user.batch:
        raise Denied(
            f'User is not allowed to use this endpoint: "batch" is not true in users/{user_id}.json of the server'
        )

"""Requests to be notified of a job, run or sweep that exists already."""

from __future__ import annotations

import itertools
import time
from typing import Any

from engine import jobs
from engine.server import Server
from store import errors
from store.rules import states, watches

# What names the target of each kind in a request.
TARGET_KEYS = {"job": "job_id", "workflow_run": "run_id", "sweep_run": "sweep_run_id"}


async def create_watch(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    """Watch a job, run or sweep for an endpoint.

    Returns the watch and the subscription.
    """
    kind, key, state = body["kind"], TARGET_KEYS[body["kind"]], None
    if body.get(key) is None:
        raise errors.Invalid([errors.make_problem("Field required", ["body", key], type="missing")])
    # JSON has one kind of number: 42.0 is 42.
    target = body[key] if kind == "workflow_run" else str(int(body[key]))
    if kind == "job":
        job = await jobs.find_job(server, target, server.cluster)
        state = job["slurm_state"]
        if state in states.TERMINAL:
            watches.refuse_ended(watches.make_target_ref(kind, target, server.cluster.name), job["status"])
    elif target not in (server.store.runs if kind == "workflow_run" else server.store.sweeps):
        raise errors.NotFound("Run" if kind == "workflow_run" else "Sweep run", target)
    return await server.notifications.watch_target(kind, target, int(body["endpoint_id"]), body["preset"], state)


def list_watches(server: Server, open: bool, kind: str | None, target_ref: str | None) -> list[dict[str, Any]]:
    """List watches, newest first, at most 10,000.

    Of one kind or target, where given.
    """
    if not open and kind is None and target_ref is None:
        raise errors.WrongKind("open=false needs a kind or a target_ref")
    found = (
        watches.to_json(watch)
        for watch in server.notifications.watches.list_newest()
        if not (open and watch.closed_at) and kind in (None, watch.kind) and target_ref in (None, watch.target_ref)
    )
    return list(itertools.islice(found, MOST_LISTED))


MOST_LISTED = 10_000


def get_watch(server: Server, watch_id: int) -> dict[str, Any]:
    """Get one watch; raise NotFound."""
    return watches.to_json(server.notifications.get_watch(watch_id))


async def close_watch(server: Server, watch_id: int) -> dict[str, Any]:
    """Close a watch and stop its notifications; return it."""
    return watches.to_json(
        await server.notifications.change_watch(str(watch_id), lambda watch: watches.close_watch(watch, time.time()))
    )


def list_subscriptions(
    server: Server, watch_id: int | None, endpoint_id: int | None, limit: int
) -> list[dict[str, Any]]:
    """List subscriptions, newest first.

    Those of one watch or endpoint oldest first.
    """
    found = [
        watches.to_subscription_json(watch, subscription)
        for watch, subscription in server.notifications.list_subscriptions()
        if watch_id in (None, int(watch.id)) and endpoint_id in (None, subscription.endpoint_id)
    ]
    newest_first = watch_id is None and endpoint_id is None
    return sorted(found, key=lambda row: row["id"], reverse=newest_first)[:limit]


async def create_subscription(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    """Subscribe an endpoint to a watch; return the subscription."""
    return await server.notifications.subscribe(int(body["watch_id"]), int(body["endpoint_id"]), body["preset"])


async def delete_subscription(server: Server, subscription_id: int) -> None:
    """Delete a subscription; raise NotFound."""
    await server.notifications.unsubscribe(subscription_id)

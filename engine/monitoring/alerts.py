"""Alerts of the cluster in force: found, seen by people, resolved."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
import time
from typing import Any

from engine.server import Server
from slurm_shim.errors import SlurmError
from store import access
from store.errors import StoreError
from store.indexes.bodies import Answer, Body
from store.jsons import dump_json
from store.kinds import Key
from store.rules import deliveries
from store.rules.monitoring import alerts
from store.rules.monitoring.alerts import Alert, Condition
from store.views import s9s_metrics
from store.views.s9s import to_page_json

log = logging.getLogger("sluice")

# Use is judged by its mean over so long, so that one busy moment is no alert.
USE_S = 300
# Accounting is asked so often whether it answers: for what was submitted in so short a time.
DATABASE_S, PROBE_S = 120.0, 1.0


async def watch_forever(server: Server) -> None:
    """Look again and again for what is wrong."""
    asked_at = -math.inf
    while True:
        await asyncio.sleep(server.store.config.alerts.interval_s)
        if time.monotonic() - asked_at >= DATABASE_S:
            asked_at = time.monotonic()
            await ask_database(server)
        try:
            await check_alerts(server)
        except StoreError as problem:
            # The next look finds the same again.
            log.warning("alerts could not be written down: %s", problem)


async def ask_database(server: Server) -> None:
    """Ask accounting for nearly nothing, to learn whether it answers."""
    slurm = server.cluster.slurm
    with contextlib.suppress(SlurmError):  # which is noted where all calls are
        if slurm.has_database and server.cluster.is_answering:
            await asyncio.get_running_loop().run_in_executor(server.pool, slurm.list_submitted, PROBE_S)


async def check_alerts(server: Server) -> None:
    """Bring the alerts up to date with what is wrong now. Raises StoreError."""
    folder, limits, now = server.store.alerts, server.store.config.alerts, server.sampler.clock()
    async with server.locks.hold(Key("alert", "")):
        name, known = server.cluster.name, list_all(server)
        condition = await describe_condition(server)
        causes, judged = alerts.find_causes(condition, limits, alerts.list_severities(known, name))
        ids = iter(lambda: f"alert_{secrets.token_hex(8)}", None)
        for alert in alerts.advance_alerts(known, name, causes, judged, ids, now):
            await folder.put(alert.id, alert)
        await queue_events(server)
        for old in alerts.list_old(list_all(server), limits.keep_days, limits.keep_count, now):
            await folder.delete(old)


async def queue_events(server: Server) -> None:
    """Put what is new of the alerts into the outbox, then remember it.

    Killed in between, the server finds the same again, and the outbox knows it by its key.
    """
    notifications = server.notifications
    for alert in reversed(list_all(server)):
        events = alerts.list_events(alert)
        fresh = [event for event in events if event.key not in alert.told]
        for event in fresh:
            for number in notifications.list_alerted(alert):
                await notifications.outbox.add(deliveries.build_notice(event, number, time.time()))
        if fresh:
            known = alert.model_copy(update={"told": [event.key for event in events]})
            await server.store.alerts.put(alert.id, known)


async def describe_condition(server: Server) -> Condition:
    """Describe what alerts are judged by, from memory alone."""
    cluster, store = server.cluster, server.store
    snapshot, slurm = cluster.snapshot, cluster.slurm
    failing = slurm.has_database and slurm.database.is_failing
    known = Condition(
        cluster.name,
        # Before the first answer nothing is wrong yet.
        snapshot.error or (snapshot.problem if snapshot.taken_at is not None else None),
        "History and efficiency cannot be read until slurmdbd answers again." if failing else None,
        store.files.failure,
        store.count_problems(),
    )
    if snapshot.problem is not None:
        return known
    counts, now = await cluster.fetch_counts(), server.sampler.clock()
    known = known._replace(pending=counts.jobs.get("PENDING", 0))
    if snapshot.nodes_error is not None or not snapshot.nodes:
        return known
    rows = server.sampler.index.list_rows(cluster.name, now - USE_S)
    uses = {
        name: compute_use(pair, [getattr(row, name) for row in rows])
        for name, pair in (("cpu", counts.cpus), ("memory", counts.memory_mb), ("gpu", counts.gpus))
    }
    return known._replace(nodes=(counts.unavailable, len(snapshot.nodes)), uses=uses)


def compute_use(pair: tuple[int, int] | None, earlier: list[float | None]) -> float | None:
    """Compute the mean use of now and the last minutes; None unknown."""
    if not pair or not pair[1]:
        return None
    values = [value for value in earlier if value is not None] + [100 * pair[0] / pair[1]]
    return sum(values) / len(values)


def list_all(server: Server) -> list[Alert]:
    """List all alerts that are kept, newest first."""
    found = [entry.document for entry in server.store.alerts.iterate_entries()]
    return sorted(found, key=lambda alert: (alert.created_at, alert.id), reverse=True)


def list_alerts(
    server: Server,
    severity: str | None,
    type: str | None,
    acknowledged: bool | None,
    resolved: bool | None,
    limit: int,
    offset: int,
) -> Answer:
    """List a page of the alerts, newest first."""
    wanted = {"acknowledged": acknowledged, "resolved": resolved}
    severities = alerts.parse_words(severity, "severity", alerts.SEVERITIES)
    types = alerts.parse_words(type, "type", alerts.TYPES)
    rows = [
        alert
        for alert in list_all(server)
        if all(value is None or getattr(alert, name) == value for name, value in wanted.items())
        and alert.severity in severities
        and alert.type in types
    ]
    return Answer(Body(dump_json(to_page_json("alerts", rows, limit, offset, s9s_metrics.to_alert_json))))


async def acknowledge_alert(server: Server, alert_id: str, caller: access.Caller) -> dict[str, Any]:
    """Note that somebody has seen the alert; raise NotFound, Conflict."""
    async with server.locks.hold(Key("alert", "")):
        alert = alerts.acknowledge_alert(server.store.alerts.get(alert_id), caller.name, server.sampler.clock())
        await server.store.alerts.put(alert_id, alert)
    return s9s_metrics.to_alert_json(alert)


async def resolve_alert(server: Server, alert_id: str, caller: access.Caller) -> dict[str, Any]:
    """Note that somebody has dealt with the alert; raise NotFound."""
    async with server.locks.hold(Key("alert", "")):
        alert = alerts.resolve_alert(server.store.alerts.get(alert_id), caller.name, server.sampler.clock())
        await server.store.alerts.put(alert_id, alert)
    return s9s_metrics.to_alert_json(alert)

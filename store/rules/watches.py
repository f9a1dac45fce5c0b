"""Watches and subscriptions: which endpoint hears of which events. Pure.

A watch follows one job, run or sweep; its subscriptions name the endpoints. `advance_watch` is level-triggered: the
events follow from the watched document alone, with keys that are always the same, so nothing about an event needs to be
written together with the change that made it: a server that was killed in between derives it again. A watch remembers
the keys of the events that are dealt with, and closes when its target has ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field

from store.documents import VERSION, Run, ServerFileModel, Sweep, from_json
from store.errors import Conflict, Exists, Invalid, make_problem
from store.rules import runs, states, sweeps
from store.rules.endpoints import refuse_file_name
from store.times import to_epoch, to_rfc3339

PRESETS = ("terminal", "running_and_terminal", "all")
KINDS = ("job", "workflow_run", "sweep_run")
# Name in references for the local cluster; other clusters are named by their profile.
LOCAL = "local"


class Subscription(ServerFileModel):
    """One endpoint of a watch, and which events it gets."""

    id: int
    endpoint_id: int
    preset: str
    created_at: str


class Watch(ServerFileModel):
    """One job, run or sweep that somebody wants to hear of.

    `told` has the keys of the events that are dealt with.
    """

    version: int = VERSION
    id: str
    kind: Literal["job", "workflow_run", "sweep_run"]
    target: str
    cluster: str = ""
    target_ref: str
    created_at: str
    closed_at: str | None = None
    told: list[str] = Field(default=[])
    subscriptions: list[Subscription] = Field(default=[])


class Event(NamedTuple):
    """Something that happened to a target.

    `key` identifies it among the target's events; `over` says that it is the last; `more` is what a message adds.
    """

    kind: str
    target_ref: str
    status: str
    key: str
    at: str | None
    over: bool
    more: dict[str, Any]


class MatchedEvent(NamedTuple):
    """An event and the subscription that is to get it."""

    event: Event
    subscription: Subscription


def parse_watch(data: bytes, name: str) -> Watch:
    """Parse the watch in a file named by its number."""
    refuse_file_name(name)
    return from_json(Watch, data, name)


def make_target_ref(kind: str, target: str, cluster: str = "") -> str:
    """Name a watch's target as answers do.

    For a cluster reached over SSH the reference has its profile.

    >>> make_target_ref("job", "42", "hpc"), make_target_ref("job", "42", "ssh:lab:hpc")
    ('job:local:42', 'job:ssh:lab:42')
    >>> make_target_ref("sweep_run", "7")
    'sweep_run:7'
    """
    if kind != "job":
        return f"{kind}:{target}"
    return f"job:ssh:{cluster.split(':')[1]}:{target}" if cluster.startswith("ssh:") else f"job:{LOCAL}:{target}"


def check_preset(preset: str, loc: Sequence[str] = ("body", "preset")) -> None:
    """Raise Invalid for an unknown preset.

    Also for one that would never send anything.
    """
    if preset == "digest":
        message = "digest is not delivered by this server; use terminal, running_and_terminal or all"
        raise Invalid([make_problem(message, loc, type="literal_error", input=preset)])
    if preset not in PRESETS:
        message = "Input should be 'terminal', 'running_and_terminal' or 'all'"
        raise Invalid([make_problem(message, loc, type="literal_error", input=preset)])


def check_request(body: Mapping[str, Any]) -> None:
    """Raise Invalid if `notify` lacks its endpoint or has an unknown preset."""
    if not body.get("notify"):
        return
    if body.get("endpoint_id") is None:
        raise Invalid([make_problem("notify needs endpoint_id", ["body", "endpoint_id"], type="missing")])
    check_preset(body.get("preset") or "terminal")


# ---- events


def list_job_events(ref: str, job: Mapping[str, Any]) -> list[Event]:
    """List the events of a job in order.

    `job` has name, state (SLURM's word), submitted_at, started_at, ended_at, and may have reason, exit_code, run_id,
    workflow_name, user. The time of submission tells two jobs of one id apart.
    """
    state = job.get("state") or ""
    over, since = state in states.TERMINAL, job.get("submitted_at")
    more, kind = {key: job.get(key) for key in JOB_KEYS}, "job.status_changed"
    events = [Event("job.submitted", ref, "PENDING", f"submitted@{since}", since, False, hide_end(more, "PENDING"))]
    if states.to_status(state) == "RUNNING" or (over and job.get("started_at")):
        at = job.get("started_at")
        events.append(Event(kind, ref, "RUNNING", f"RUNNING@{since}", at, False, hide_end(more, "RUNNING")))
    if over:
        word, at = states.to_status(state), job.get("ended_at")
        events.append(Event(kind, ref, word, f"{word}@{since}", at, True, more))
    return events if since is not None else events[1:]


def hide_end(more: Mapping[str, Any], state: str | None = None) -> dict[str, Any]:
    """Remove what was not known before the end from a message's facts.

    So a message about an early state is the same, whenever it is written.
    """
    early = {**more, **{key: None for key in ("reason", "exit_code", "error", "ended_at") if key in more}}
    return early if state is None else {**early, "state": state}


JOB_KEYS = (
    *("name", "state", "reason", "exit_code", "submitted_at", "started_at", "ended_at"),
    *("run_id", "workflow_name", "user"),
)


def list_run_events(run: Run) -> list[Event]:
    """List the events of a run since it was started or rerun."""
    ref, kind, more = make_target_ref("workflow_run", run.id), "workflow_run.status_changed", _collect_run_facts(run)
    tries = sum(job.attempts_before for job in run.jobs)
    ended = run.status in runs.ENDED
    begun = any(attempt.job_id for job in run.jobs for attempt in job.attempts[job.attempts_before :])
    events = []
    if run.status == "running" or (ended and begun):
        events.append(
            Event(kind, ref, "running", f"running@{run.started_at}+{tries}", run.started_at, False, hide_end(more))
        )
    if ended:
        key = f"{run.status}@{run.completed_at}+{tries}"
        events.append(Event(kind, ref, run.status, key, run.completed_at, True, more))
    return events


def _collect_run_facts(run: Run) -> dict[str, Any]:
    return {
        "name": run.workflow_name if run.simulation is None else run.args.get("title") or run.workflow_name,
        "error": _keep_first_line(run.error),
        "started_at": run.started_at,
        "ended_at": run.completed_at,
        "sweep_run_id": run.sweep_run_id,
    }


def _keep_first_line(error: str | None) -> str | None:
    """Keep the first line of an error; what a job logged stays here."""
    return error and error.partition("\n")[0]


def list_sweep_events(sweep: Sweep, counts: Mapping[str, int], error: str | None = None) -> list[Event]:
    """List the events of a sweep.

    `counts` are its cells by state, `error` that of a cell that failed.
    """
    ref, kind = make_target_ref("sweep_run", sweep.id), "sweep_run.status_changed"
    more = {
        "name": sweep.name,
        "cells": dict(counts),
        "error": sweep.error,
        "representative_error": _keep_first_line(error),
        "started_at": sweep.started_at,
        "ended_at": sweep.completed_at,
    }
    ended = sweep.status in sweeps.ENDED
    events = []
    if sweep.status == "running" or (ended and counts.get("completed", 0) + counts.get("failed", 0)):
        events.append(
            Event(kind, ref, "running", f"running@{sweep.started_at}", sweep.started_at, False, hide_end(more))
        )
    if sweep.status == "draining":
        at = sweep.cancel_requested_at
        events.append(Event(kind, ref, "draining", f"draining@{at}", at, False, more))
    if ended:
        at = sweep.completed_at
        events.append(Event(kind, ref, sweep.status, f"{sweep.status}@{at}", at, True, more))
    return events


def is_wanted(preset: str, event: Event) -> bool:
    """Return whether a subscription of this preset gets the event."""
    if preset == "all" or event.over:
        return preset in PRESETS
    return preset == "running_and_terminal" and event.status.upper() == "RUNNING"


def make_idempotency_key(event: Event) -> str:
    """Return the event's key for receivers.

    It is the same whenever the event is derived, and different for each event.

    >>> make_idempotency_key(Event("job.status_changed", "job:local:42", "COMPLETED", "COMPLETED@t", None, True, {}))
    'job.status_changed:job:local:42:COMPLETED@t'
    """
    return f"{event.kind}:{event.target_ref}:{event.key}"


def make_event_id(event: Event) -> int:
    """Return a number that follows from the event.

    It is 52 bits of the SHA-256 of its idempotency key, never 0.
    """
    return int(hashlib.sha256(make_idempotency_key(event).encode()).hexdigest()[:13], 16) or 1


# ---- watches


def build_watch(kind: str, target: str, cluster: str, ref: str, now: float) -> Watch:
    """Build a watch without number, subscriptions or known events."""
    return Watch(
        id="0",
        kind=kind,  # type: ignore[arg-type]
        target=target,
        cluster=cluster,
        target_ref=ref,
        created_at=to_rfc3339(int(now)) or "",
    )


def advance_watch(
    watch: Watch, events: Sequence[Event], gone: bool, listening: Callable[[int], bool], now: float
) -> tuple[Watch, list[MatchedEvent]]:
    """Bring the watch up to date; return it with the new matched events.

    `gone` says that the target surely does not exist any more, `listening(endpoint_id)` whether an endpoint is there
    and enabled. The watch given is not changed. Deliveries must be durable before the watch is: then no event is lost,
    and a delivery that is written twice is recognised by its key.
    """
    if watch.closed_at is not None:
        return watch, []
    fresh = [event for event in events if event.key not in watch.told]
    matches = [
        MatchedEvent(event, subscription)
        for event in fresh
        for subscription in watch.subscriptions
        if is_wanted(subscription.preset, event) and listening(subscription.endpoint_id)
    ]
    over = gone or any(event.over for event in events)
    if not fresh and not over:
        return watch, []
    told_keys = [*watch.told, *(event.key for event in fresh)]
    closed_at = to_rfc3339(int(now)) if over else None
    return watch.model_copy(update={"told": told_keys, "closed_at": closed_at}), matches


def add_subscription(watch: Watch, number: int, endpoint_id: int, preset: str, now: float) -> Watch:
    """Add a subscription to the watch.

    Raises Conflict when the watch is closed, Exists when the endpoint has one already.
    """
    if watch.closed_at is not None:
        raise Conflict(f"watch {watch.id} is closed")
    if any(subscription.endpoint_id == endpoint_id for subscription in watch.subscriptions):
        raise Exists(f"Subscription of watch {watch.id} for endpoint", str(endpoint_id))
    subscription = Subscription(
        id=number, endpoint_id=endpoint_id, preset=preset, created_at=to_rfc3339(int(now)) or ""
    )
    return watch.model_copy(update={"subscriptions": [*watch.subscriptions, subscription]})


def remove_subscriptions(watch: Watch, *, number: int | None = None, endpoint_id: int | None = None) -> Watch:
    """Remove the subscription of this number, or those of this endpoint."""
    left = [
        subscription
        for subscription in watch.subscriptions
        if number != subscription.id and endpoint_id != subscription.endpoint_id
    ]
    return watch.model_copy(update={"subscriptions": left})


def find_subscription(watch: Watch, endpoint_id: int, preset: str) -> Subscription | None:
    """Find the endpoint's subscription with this preset; or None."""
    matches = (
        subscription
        for subscription in watch.subscriptions
        if (subscription.endpoint_id, subscription.preset) == (endpoint_id, preset)
    )
    return next(matches, None)


def refuse_if_over(events: Iterable[Event]) -> None:
    """Raise Invalid if the target has ended: there will be no more events."""
    ended = next((event for event in events if event.over), None)
    if ended is not None:
        refuse_ended(ended.target_ref, ended.status)


def refuse_ended(ref: str, status: str) -> None:
    """Raise Invalid: the target has ended, so there will be no more events."""
    raise Invalid([make_problem(f"{ref} is already {status}", ["body"], input=ref)])


def close_watch(watch: Watch, now: float) -> Watch:
    """Close the watch; a closed one is unchanged."""
    return watch if watch.closed_at else watch.model_copy(update={"closed_at": to_rfc3339(int(now))})


def is_old(watch: Watch, before: float) -> bool:
    """Return whether the watch was closed before this time (epoch)."""
    return watch.closed_at is not None and (to_epoch(watch.closed_at) or 0) < before


# ---- answers


def to_json(watch: Watch) -> dict[str, Any]:
    """Build the watch as answers show it."""
    return {
        "id": int(watch.id),
        "kind": watch.kind,
        "target_ref": watch.target_ref,
        "filter": None,
        "created_at": watch.created_at,
        "closed_at": watch.closed_at,
    }


def to_subscription_json(watch: Watch, subscription: Subscription) -> dict[str, Any]:
    """Build a subscription as answers show it."""
    return {"watch_id": int(watch.id), **subscription.model_dump(include={"id", "endpoint_id", "preset", "created_at"})}

"""Who is told of what: a watch looks at one job, run or sweep, and its subscriptions say which endpoints hear of it.

`advance` is level-triggered. What there is to tell follows from the watched document alone, under keys that stay the
same however often it is asked, so nothing about an event needs to be written together with the change that made it: a
server that was killed in between derives it again. A watch remembers the keys that it has told, and closes when its
target has ended. Pure.
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
# Clusters of this machine; a job of another one is called by the profile that leads there.
LOCAL = "local"


class Subscription(ServerFileModel):
    """One endpoint that hears of a watch's target, and of what."""

    id: int
    endpoint_id: int
    preset: str
    created_at: str


class Watch(ServerFileModel):
    """One job, run or sweep that somebody wants to hear of; `told` has the keys of the events that are dealt with."""

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
    """Something that happened: `key` tells it from all other events of its target, `more` is what a message says."""

    kind: str
    target_ref: str
    status: str
    key: str
    at: str | None
    over: bool
    more: dict[str, Any]


class MatchedEvent(NamedTuple):
    """An event that an endpoint is to hear of."""

    event: Event
    subscription: Subscription


def parse_watch(data: bytes, name: str) -> Watch:
    """The watch in a file called by its number."""
    refuse_file_name(name)
    return from_json(Watch, data, name)


def make_target_ref(kind: str, target: str, cluster: str = "") -> str:
    """What a watch looks at, as answers name it; of a cluster that is reached over SSH it names the profile.

    >>> target_ref("job", "42", "hpc"), target_ref("job", "42", "ssh:lab:hpc"), target_ref("sweep_run", "7")
    ('job:local:42', 'job:ssh:lab:42', 'sweep_run:7')
    """
    if kind != "job":
        return f"{kind}:{target}"
    return f"job:ssh:{cluster.split(':')[1]}:{target}" if cluster.startswith("ssh:") else f"job:{LOCAL}:{target}"


def check_preset(preset: str, loc: Sequence[str] = ("body", "preset")) -> None:
    """Nothing; Invalid for a preset that does not exist, or that would never send anything."""
    if preset == "digest":
        message = "digest is not delivered by this server; use terminal, running_and_terminal or all"
        raise Invalid([make_problem(message, loc, type="literal_error", input=preset)])
    if preset not in PRESETS:
        message = "Input should be 'terminal', 'running_and_terminal' or 'all'"
        raise Invalid([make_problem(message, loc, type="literal_error", input=preset)])


def check_request(body: Mapping[str, Any]) -> None:
    """Nothing; Invalid when notify lacks its endpoint or has a preset that does not exist."""
    if not body.get("notify"):
        return
    if body.get("endpoint_id") is None:
        raise Invalid([make_problem("notify needs endpoint_id", ["body", "endpoint_id"], type="missing")])
    check_preset(body.get("preset") or "terminal")


# ---- what there is to tell


def list_job_events(ref: str, job: Mapping[str, Any]) -> list[Event]:
    """The events of a job in their order; `job` has name, state (SLURM's word), submitted_at, started_at, ended_at,
    and may have reason, exit_code, run_id, workflow_name, user. The time of submission tells two jobs of one id apart.
    """
    state = job.get("state") or ""
    over, since = state in states.TERMINAL, job.get("submitted_at")
    more, kind = {key: job.get(key) for key in JOB_KEYS}, "job.status_changed"
    found = [Event("job.submitted", ref, "PENDING", f"submitted@{since}", since, False, hide_end(more, "PENDING"))]
    if states.to_status(state) == "RUNNING" or (over and job.get("started_at")):
        at = job.get("started_at")
        found.append(Event(kind, ref, "RUNNING", f"RUNNING@{since}", at, False, hide_end(more, "RUNNING")))
    if over:
        word, at = states.to_status(state), job.get("ended_at")
        found.append(Event(kind, ref, word, f"{word}@{since}", at, True, more))
    return found if since is not None else found[1:]


def hide_end(more: Mapping[str, Any], state: str | None = None) -> dict[str, Any]:
    """What a message says of a time at which how it ended was not known yet, whenever it is written."""
    early = {**more, **{key: None for key in ("reason", "exit_code", "error", "ended_at") if key in more}}
    return early if state is None else {**early, "state": state}


JOB_KEYS = (
    *("name", "state", "reason", "exit_code", "submitted_at", "started_at", "ended_at"),
    *("run_id", "workflow_name", "user"),
)


def list_run_events(run: Run) -> list[Event]:
    """The events of a run since it was started (again)."""
    ref, kind, more = make_target_ref("workflow_run", run.id), "workflow_run.status_changed", _collect_run_facts(run)
    tries = sum(job.attempts_before for job in run.jobs)
    ended = run.status in runs.ENDED
    begun = any(attempt.job_id for job in run.jobs for attempt in job.attempts[job.attempts_before :])
    found = []
    if run.status == "running" or (ended and begun):
        found.append(
            Event(kind, ref, "running", f"running@{run.started_at}+{tries}", run.started_at, False, hide_end(more))
        )
    if ended:
        key = f"{run.status}@{run.completed_at}+{tries}"
        found.append(Event(kind, ref, run.status, key, run.completed_at, True, more))
    return found


def _collect_run_facts(run: Run) -> dict[str, Any]:
    return {
        "name": run.workflow_name,
        "error": run.error,
        "started_at": run.started_at,
        "ended_at": run.completed_at,
        "sweep_run_id": run.sweep_run_id,
    }


def list_sweep_events(sweep: Sweep, counts: Mapping[str, int], error: str | None = None) -> list[Event]:
    """The events of a sweep; `counts` are those of its cells by state, `error` that of a cell that failed."""
    ref, kind = make_target_ref("sweep_run", sweep.id), "sweep_run.status_changed"
    more = {
        "name": sweep.name,
        "cells": dict(counts),
        "error": sweep.error,
        "representative_error": error,
        "started_at": sweep.started_at,
        "ended_at": sweep.completed_at,
    }
    ended = sweep.status in sweeps.ENDED
    found = []
    if sweep.status == "running" or (ended and counts.get("completed", 0) + counts.get("failed", 0)):
        found.append(
            Event(kind, ref, "running", f"running@{sweep.started_at}", sweep.started_at, False, hide_end(more))
        )
    if sweep.status == "draining":
        at = sweep.cancel_requested_at
        found.append(Event(kind, ref, "draining", f"draining@{at}", at, False, more))
    if ended:
        at = sweep.completed_at
        found.append(Event(kind, ref, sweep.status, f"{sweep.status}@{at}", at, True, more))
    return found


def is_wanted(preset: str, event: Event) -> bool:
    """Whether a subscription of this preset hears of the event."""
    if preset == "all" or event.over:
        return preset in PRESETS
    return preset == "running_and_terminal" and event.status.upper() == "RUNNING"


def make_idempotency_key(event: Event) -> str:
    """What an event is called wherever it goes: the same whenever it is derived, one for each event.

    >>> idempotency_key(Event("job.status_changed", "job:local:42", "COMPLETED", "COMPLETED@t", None, True, {}))
    'job.status_changed:job:local:42:COMPLETED@t'
    """
    return f"{event.kind}:{event.target_ref}:{event.key}"


def make_event_id(event: Event) -> int:
    """A number that follows from the event: 52 bits of the SHA-256 of its key, never 0."""
    return int(hashlib.sha256(make_idempotency_key(event).encode()).hexdigest()[:13], 16) or 1


# ---- what becomes of a watch


def build_watch(kind: str, target: str, cluster: str, ref: str, now: float) -> Watch:
    """A watch without a number and subscriptions, to which everything is news."""
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
    """The watch after these events of its target, and who is to hear of which; the watch given is not changed.

    `gone` says that there surely is no such target any more, `listening(endpoint_id)` whether that endpoint is there
    and enabled. Deliveries have to be durable before the watch is: then what was told is never lost, and what was
    written twice is told apart by its key.
    """
    if watch.closed_at is not None:
        return watch, []
    fresh = [event for event in events if event.key not in watch.told]
    wanted = [
        MatchedEvent(event, one)
        for event in fresh
        for one in watch.subscriptions
        if is_wanted(one.preset, event) and listening(one.endpoint_id)
    ]
    over = gone or any(event.over for event in events)
    if not fresh and not over:
        return watch, []
    told = [*watch.told, *(event.key for event in fresh)]
    closed_at = to_rfc3339(int(now)) if over else None
    return watch.model_copy(update={"told": told, "closed_at": closed_at}), wanted


def add_subscription(watch: Watch, number: int, endpoint_id: int, preset: str, now: float) -> Watch:
    """The watch with one more subscription; Conflict when it is closed, Exists when the endpoint has one."""
    if watch.closed_at is not None:
        raise Conflict(f"watch {watch.id} is closed")
    if any(one.endpoint_id == endpoint_id for one in watch.subscriptions):
        raise Exists(f"Subscription of watch {watch.id} for endpoint", str(endpoint_id))
    one = Subscription(id=number, endpoint_id=endpoint_id, preset=preset, created_at=to_rfc3339(int(now)) or "")
    return watch.model_copy(update={"subscriptions": [*watch.subscriptions, one]})


def remove_subscriptions(watch: Watch, *, number: int | None = None, endpoint_id: int | None = None) -> Watch:
    """The watch without the subscription of this number, or without those of this endpoint."""
    left = [one for one in watch.subscriptions if number != one.id and endpoint_id != one.endpoint_id]
    return watch.model_copy(update={"subscriptions": left})


def find_subscription(watch: Watch, endpoint_id: int, preset: str) -> Subscription | None:
    """The subscription of this endpoint with this preset; None when there is none."""
    same = (one for one in watch.subscriptions if (one.endpoint_id, one.preset) == (endpoint_id, preset))
    return next(same, None)


def refuse_if_over(events: Iterable[Event]) -> None:
    """Nothing; Invalid when the target has ended, so that there will never be news of it."""
    ended = next((event for event in events if event.over), None)
    if ended is not None:
        refuse_ended(ended.target_ref, ended.status)


def refuse_ended(ref: str, status: str) -> None:
    """Never returns; raises Invalid, since there will be no news of what has ended."""
    raise Invalid([make_problem(f"{ref} is already {status}", ["body"], input=ref)])


def close_watch(watch: Watch, now: float) -> Watch:
    """The watch as somebody closed it; one that is closed already stays as it is."""
    return watch if watch.closed_at else watch.model_copy(update={"closed_at": to_rfc3339(int(now))})


def is_old(watch: Watch, before: float) -> bool:
    """Whether the watch was closed before this time (epoch)."""
    return watch.closed_at is not None and (to_epoch(watch.closed_at) or 0) < before


# ---- how they are shown


def to_json(watch: Watch) -> dict[str, Any]:
    """The watch as answers show it."""
    return {
        "id": int(watch.id),
        "kind": watch.kind,
        "target_ref": watch.target_ref,
        "filter": None,
        "created_at": watch.created_at,
        "closed_at": watch.closed_at,
    }


def to_subscription_json(watch: Watch, one: Subscription) -> dict[str, Any]:
    """A subscription as answers show it."""
    return {"watch_id": int(watch.id), **one.model_dump(include={"id", "endpoint_id", "preset", "created_at"})}

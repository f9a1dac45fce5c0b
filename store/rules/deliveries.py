"""The outbox: one document per event and endpoint. Pure.

A delivery is written before anything is sent.

    pending ──claim──▶ sending ──▶ delivered
       ▲                  │
       └── next attempt ──┴──▶ abandoned, after five attempts or when another one might repeat the message

An attempt is written as `sending` before it begins, and with `handed_at` before the first byte of the request leaves.
The receiver's answer is written down. Without an answer (time-out, lost connection, or this server was killed
meanwhile) it is unknown whether the message arrived. A `webhook` then gets it again: each attempt carries the same
Idempotency-Key, by which the receiver drops duplicates; an e-mail keeps its Message-ID. Slack cannot recognise
duplicates, so the delivery is abandoned instead and says why. An attempt that was cut off before `handed_at` has sent
nothing and is simply repeated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from store.documents import VERSION, ServerFileModel, from_json
from store.rules.endpoints import refuse_file_name
from store.rules.exports.files import ClusterReport
from store.rules.watches import Event, MatchedEvent, Watch, make_event_id, make_idempotency_key
from store.times import has_come, to_epoch, to_rfc3339

ATTEMPTS = 5
LEASE_S = 300
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10, 3600
ERROR_CHARACTERS, FACT_CHARACTERS = 300, 2000
OVER = frozenset({"delivered", "abandoned"})
MAY_HAVE_ARRIVED = (
    "no answer came, so it may have arrived; it is not sent again, since Slack could not tell that it is the same"
)


class Delivery(ServerFileModel):
    """One event on its way to one endpoint.

    Times are RFC 3339. `body` is the message as plain data, for every kind of endpoint.
    """

    version: int = VERSION
    id: str
    event_id: int
    watch_id: int
    subscription_id: int
    endpoint_id: int
    idempotency_key: str
    body: dict[str, Any]
    report_id: str | None = None  # of a report that goes by e-mail; there is no endpoint then
    status: Literal["pending", "sending", "delivered", "abandoned"] = "pending"
    attempt_count: int = 0
    next_attempt_at: str
    leased_until: str | None = None
    worker_id: str | None = None
    handed_at: str | None = None
    last_error: str | None = None
    delivered_at: str | None = None
    created_at: str


def parse_delivery(data: bytes, name: str) -> Delivery:
    """Parse the delivery in a file named by its number."""
    refuse_file_name(name)
    return from_json(Delivery, data, name)


def build_delivery(watch: Watch, match: MatchedEvent, now: float) -> Delivery:
    """Build the delivery of a watch's event, without a number."""
    event, subscription = match
    ids = {"watch_id": int(watch.id), "subscription_id": subscription.id}
    return build_notice(event, subscription.endpoint_id, now).model_copy(update=ids)


def build_notice(event: Event, endpoint_id: int, now: float) -> Delivery:
    """Build a delivery that no watch asked for, to be sent at once."""
    facts = {
        key: _shorten_text(value, FACT_CHARACTERS) if isinstance(value, str) else value
        for key, value in event.more.items()
    }
    return Delivery(
        id="0",
        event_id=make_event_id(event),
        watch_id=0,
        subscription_id=0,
        endpoint_id=endpoint_id,
        idempotency_key=make_idempotency_key(event),
        body={
            "event": event.kind,
            "target_ref": event.target_ref,
            "status": event.status,
            "at": event.at,
            **facts,
        },
        next_attempt_at=to_rfc3339(int(now)) or "",
        created_at=to_rfc3339(int(now)) or "",
    )


def build_mail(report: ClusterReport, now: float) -> Delivery:
    """Build the delivery of a report by e-mail, without a number.

    It is the same one however often the report is made.
    """
    key = f"report:{report.id}"
    return Delivery(
        id="0",
        event_id=int(hashlib.sha256(key.encode()).hexdigest()[:13], 16) or 1,
        watch_id=0,
        subscription_id=0,
        endpoint_id=0,
        idempotency_key=key,
        body={"event": "report.completed", "target_ref": key, "status": "completed", "to": report.email},
        report_id=report.id,
        next_attempt_at=to_rfc3339(int(now)) or "",
        created_at=to_rfc3339(int(now)) or "",
    )


# ---- steps of a delivery


def is_due(delivery: Delivery, now: float) -> bool:
    """Return whether an attempt may be made now."""
    return delivery.status == "pending" and has_come(to_epoch(delivery.next_attempt_at) or 0, now, LONGEST_PAUSE_S)


def claim_delivery(delivery: Delivery, worker: str, now: float) -> Delivery:
    """Mark the delivery as being sent by `worker`."""
    return delivery.model_copy(
        update={
            "status": "sending",
            "attempt_count": delivery.attempt_count + 1,
            "worker_id": worker,
            "leased_until": to_rfc3339(int(now) + LEASE_S),
            "handed_at": None,
        }
    )


def mark_handed(delivery: Delivery, now: float) -> Delivery:
    """Record that the request is about to leave, so it may arrive from now on."""
    return delivery.model_copy(update={"handed_at": to_rfc3339(now)})


def mark_delivered(delivery: Delivery, now: float) -> Delivery:
    """Record that the receiver took the delivery."""
    changes = {"status": "delivered", "delivered_at": to_rfc3339(int(now)), "last_error": None}
    return delivery.model_copy(update={**UNCLAIMED, **changes})


def retry_or_abandon(delivery: Delivery, error: str, now: float, wait_s: float = 0) -> Delivery:
    """Schedule the next attempt, or abandon the delivery after five.

    The pause is min(10·2^n, 3600) s, but at least `wait_s`, which is at most an hour.
    """
    if delivery.attempt_count >= ATTEMPTS:
        return abandon_delivery(delivery, error)
    pause_s = min(FIRST_PAUSE_S * 2 ** max(0, delivery.attempt_count - 1), LONGEST_PAUSE_S)
    pause_s = min(max(pause_s, wait_s), LONGEST_PAUSE_S)
    changes = {
        "status": "pending",
        "next_attempt_at": to_rfc3339(int(now + pause_s)),
        "last_error": _shorten_text(error),
    }
    return delivery.model_copy(update={**UNCLAIMED, **changes})


def mark_unanswered(delivery: Delivery, kind: str, error: str, now: float) -> Delivery:
    """Retry or abandon a delivery that may or may not have arrived.

    `kind` is that of its endpoint; Slack does not get it again.
    """
    if kind in ("webhook", "email"):
        return retry_or_abandon(delivery, error, now)
    return abandon_delivery(delivery, f"{error}: {MAY_HAVE_ARRIVED}")


def abandon_delivery(delivery: Delivery, error: str) -> Delivery:
    """Mark the delivery as not to be tried again."""
    return delivery.model_copy(update={**UNCLAIMED, "status": "abandoned", "last_error": _shorten_text(error)})


def recover_delivery(delivery: Delivery, kind: str, now: float) -> Delivery:
    """Settle a delivery whose worker died without recording the outcome."""
    if delivery.status != "sending":
        return delivery
    if delivery.handed_at is not None:
        return mark_unanswered(delivery, kind, "the server ended while this was being sent", now)
    changes = {
        "status": "pending",
        "attempt_count": max(0, delivery.attempt_count - 1),
        "next_attempt_at": to_rfc3339(int(now)),
    }
    return delivery.model_copy(update={**UNCLAIMED, **changes})


UNCLAIMED: dict[str, Any] = {"leased_until": None, "worker_id": None, "handed_at": None}


def _shorten_text(text: str, most: int = ERROR_CHARACTERS) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


# ---- overdue and old deliveries, and how one is shown


def is_stuck(delivery: Delivery, older_than_s: float, now: float) -> bool:
    """Return whether the delivery is overdue by `older_than_s`.

    Its attempt was due, or its lease ended, that long ago.
    """
    due = (
        delivery.next_attempt_at
        if delivery.status == "pending"
        else delivery.leased_until
        if delivery.status == "sending"
        else None
    )
    return due is not None and (to_epoch(due) or 0) <= now - older_than_s


def list_expired(deliveries: Iterable[Delivery], days: float, count: int, now: float) -> Iterator[str]:
    """List the numbers of the deliveries that need not be kept.

    These are older than `days`, or finished and not among the newest `count`. A delivery that could not be sent for
    that long is dropped too: its news is too old.
    """
    newest = sorted(
        (delivery for delivery in deliveries if delivery.status != "sending"),
        key=lambda delivery: int(delivery.id),
        reverse=True,
    )
    finished_count = 0
    for delivery in newest:
        finished_count += delivery.status in OVER
        if (to_epoch(delivery.created_at) or 0) < now - days * 86_400 or (
            delivery.status in OVER and finished_count > count
        ):
            yield delivery.id


def to_json(delivery: Delivery) -> dict[str, Any]:
    """Build the delivery as answers show it."""
    plain = delivery.model_dump(mode="json", exclude={"version", "watch_id", "handed_at"})
    return {**{key: plain[key] for key in JSON_KEYS}, "id": int(delivery.id), "event": delivery.body}


JSON_KEYS = (
    *("id", "event_id", "subscription_id", "endpoint_id", "idempotency_key", "status", "attempt_count"),
    *("next_attempt_at", "leased_until", "worker_id", "last_error", "delivered_at", "created_at"),
)

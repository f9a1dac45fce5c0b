"""The outbox: a document for each event and endpoint, written before anything is sent, and what becomes of it. Pure.

    pending ──claim──▶ sending ──▶ delivered
       ▲                  │
       └── next attempt ──┴──▶ abandoned, after five attempts or when another one might say it twice

An attempt is written down as `sending` before it begins, and with `handed_at` before the first byte of the request
leaves. A receiver that answered has or has not taken it, and that is written down. Where no answer came (time-out, lost
connection, or this server was killed in between) it cannot be known. A `webhook` then gets it again: each attempt
carries the same Idempotency-Key, by which it drops what it has. Slack cannot tell them apart, so it never gets one
twice: the delivery is abandoned and says why. An attempt that was cut off before `handed_at` has sent nothing and is
simply made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from store.documents import VERSION, ServerFileModel, from_json
from store.rules.endpoints import refuse_file_name
from store.rules.watches import MatchedEvent, Watch, make_event_id, make_idempotency_key
from store.times import to_epoch, to_rfc3339

ATTEMPTS = 5
LEASE_S = 300
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10, 3600
ERROR_CHARACTERS, FACT_CHARACTERS = 300, 2000
OVER = frozenset({"delivered", "abandoned"})
MAY_HAVE_ARRIVED = (
    "no answer came, so it may have arrived; it is not sent again, since Slack could not tell that it is the same"
)


class Delivery(ServerFileModel):
    """One event on its way to one endpoint. Times are RFC 3339; `body` is what the event says, whatever its form."""

    version: int = VERSION
    id: str
    event_id: int
    watch_id: int
    subscription_id: int
    endpoint_id: int
    idempotency_key: str
    body: dict[str, Any]
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
    """The delivery in a file called by its number."""
    refuse_file_name(name)
    return from_json(Delivery, data, name)


def build_delivery(watch: Watch, wanted: MatchedEvent, now: float) -> Delivery:
    """A delivery without a number, to be sent at once."""
    event, one = wanted
    more = {
        key: _shorten_text(value, FACT_CHARACTERS) if isinstance(value, str) else value
        for key, value in event.more.items()
    }
    return Delivery(
        id="0",
        event_id=make_event_id(event),
        watch_id=int(watch.id),
        subscription_id=one.id,
        endpoint_id=one.endpoint_id,
        idempotency_key=make_idempotency_key(event),
        body={
            "event": event.kind,
            "target_ref": event.target_ref,
            "status": event.status,
            "at": event.at,
            **more,
        },
        next_attempt_at=to_rfc3339(int(now)) or "",
        created_at=to_rfc3339(int(now)) or "",
    )


# ---- what becomes of it


def is_due(one: Delivery, now: float) -> bool:
    """Whether an attempt may be made now."""
    return one.status == "pending" and (to_epoch(one.next_attempt_at) or 0) <= now


def claim_delivery(one: Delivery, worker: str, now: float) -> Delivery:
    """The delivery while `worker` tries to send it."""
    return one.model_copy(
        update={
            "status": "sending",
            "attempt_count": one.attempt_count + 1,
            "worker_id": worker,
            "leased_until": to_rfc3339(int(now) + LEASE_S),
            "handed_at": None,
        }
    )


def mark_handed(one: Delivery, now: float) -> Delivery:
    """The delivery from the moment on in which it may arrive."""
    return one.model_copy(update={"handed_at": to_rfc3339(now)})


def mark_delivered(one: Delivery, now: float) -> Delivery:
    """The delivery that was taken."""
    changes = {"status": "delivered", "delivered_at": to_rfc3339(int(now)), "last_error": None}
    return one.model_copy(update={**UNCLAIMED, **changes})


def retry_or_abandon(one: Delivery, error: str, now: float, wait_s: float = 0) -> Delivery:
    """The delivery that did not arrive: another attempt after min(10·2^n, 3600) s, at least `wait_s`; abandoned after
    five."""
    if one.attempt_count >= ATTEMPTS:
        return abandon_delivery(one, error)
    pause_s = min(FIRST_PAUSE_S * 2 ** max(0, one.attempt_count - 1), LONGEST_PAUSE_S)
    pause_s = min(max(pause_s, wait_s), LONGEST_PAUSE_S)
    changes = {
        "status": "pending",
        "next_attempt_at": to_rfc3339(int(now + pause_s)),
        "last_error": _shorten_text(error),
    }
    return one.model_copy(update={**UNCLAIMED, **changes})


def mark_unanswered(one: Delivery, kind: str, error: str, now: float) -> Delivery:
    """The delivery that left and of which nobody knows whether it arrived; `kind` is that of its endpoint."""
    if kind == "webhook":
        return retry_or_abandon(one, error, now)
    return abandon_delivery(one, f"{error}: {MAY_HAVE_ARRIVED}")


def abandon_delivery(one: Delivery, error: str) -> Delivery:
    """The delivery that is not tried again."""
    return one.model_copy(update={**UNCLAIMED, "status": "abandoned", "last_error": _shorten_text(error)})


def recover_delivery(one: Delivery, kind: str, now: float) -> Delivery:
    """The delivery whose worker is gone without having written down how the attempt went."""
    if one.status != "sending":
        return one
    if one.handed_at is not None:
        return mark_unanswered(one, kind, "the server ended while this was being sent", now)
    changes = {
        "status": "pending",
        "attempt_count": max(0, one.attempt_count - 1),
        "next_attempt_at": to_rfc3339(int(now)),
    }
    return one.model_copy(update={**UNCLAIMED, **changes})


UNCLAIMED: dict[str, Any] = {"leased_until": None, "worker_id": None, "handed_at": None}


def _shorten_text(text: str, most: int = ERROR_CHARACTERS) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


# ---- which of them


def is_stuck(one: Delivery, older_than_s: float, now: float) -> bool:
    """Whether it should have gone on so long ago: its time has come, or its lease has run out, and nothing happened."""
    due = one.next_attempt_at if one.status == "pending" else one.leased_until if one.status == "sending" else None
    return due is not None and (to_epoch(due) or 0) <= now - older_than_s


def list_expired(known: Iterable[Delivery], days: float, count: int, now: float) -> Iterator[str]:
    """The numbers of those that need not be kept: older than `days`, or over and beyond the newest `count`.

    One that could not be sent for so long, since nothing is to be sent or its endpoint cannot be read, is no news.
    """
    newest = sorted((one for one in known if one.status != "sending"), key=lambda one: int(one.id), reverse=True)
    place = 0
    for one in newest:
        place += one.status in OVER
        if (to_epoch(one.created_at) or 0) < now - days * 86_400 or (one.status in OVER and place > count):
            yield one.id


def to_json(one: Delivery) -> dict[str, Any]:
    """The delivery as answers show it."""
    plain = one.model_dump(mode="json", exclude={"version", "watch_id", "handed_at"})
    return {**{key: plain[key] for key in JSON_KEYS}, "id": int(one.id), "event": one.body}


JSON_KEYS = (
    *("id", "event_id", "subscription_id", "endpoint_id", "idempotency_key", "status", "attempt_count"),
    *("next_attempt_at", "leased_until", "worker_id", "last_error", "delivered_at", "created_at"),
)

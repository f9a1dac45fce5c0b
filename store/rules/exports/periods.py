"""The period of a report, and what may be asked for. Pure."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection, Mapping
from typing import Any

from store.documents import ADDRESS
from store.errors import Invalid, make_problem
from store.times import read_time, to_day_end

DAY_S = 86_400
DAYS = {"day": 1, "week": 7, "month": 30, "quarter": 91, "year": 365}
LONGEST_DAYS = 3660
GET_CHARTS = "pdf needs matplotlib, which is not installed here: pip install matplotlib"
NO_SMTP = "no SMTP server is configured: config.yaml has no section smtp"


def choose_period(parameters: Mapping[str, Any], now: float) -> tuple[float, float]:
    """Choose from when to when, in epoch seconds; raise Invalid.

    Dates count before the period; a day at the end is in the report. With one date the other lies a period away,
    without any the period ends now.
    """
    length_s = DAYS[parameters.get("period") or "month"] * DAY_S
    since = read_time(parameters.get("start_date"), ["body", "parameters", "start_date"])
    until = read_time(parameters.get("end_date"), ["body", "parameters", "end_date"], to_day_end)
    if until is not None and len(str(parameters["end_date"])) <= 10:
        until += 1e-6  # the end of the day, to a second
    if since is None:
        since = (now if until is None else until) - length_s
    if until is None:
        until = since + length_s
    if since < 0:
        raise Invalid([make_problem("is before 1970", ["body", "parameters", "start_date"], input=None)])
    if since >= until:
        raise Invalid([make_problem("must be before end_date", ["body", "parameters", "start_date"], input=None)])
    if until - since > LONGEST_DAYS * DAY_S:
        message = f"the period is longer than {LONGEST_DAYS} days"
        raise Invalid([make_problem(message, ["body", "parameters", "end_date"], input=None)])
    return since, until


def check_format(name: str) -> None:
    """Raise Invalid for a format that needs what is not installed."""
    if name == "pdf" and not has_charts():
        raise Invalid([make_problem(GET_CHARTS, ["body", "format"], input=name)])


def has_charts() -> bool:
    """Return whether charts can be drawn here."""
    return importlib.util.find_spec("matplotlib") is not None


def read_recipient(delivery: Mapping[str, Any], allowed: Collection[str] | None) -> str | None:
    """Return whom a report is sent to, None for nobody; raise Invalid.

    `allowed` are addresses and domains; anybody if empty, nobody if None.
    """
    address = delivery.get("email")
    method = delivery.get("method") or ("email" if address else "none")
    if method == "none":
        return None
    if allowed is None:
        raise Invalid([make_problem(NO_SMTP, ["body", "delivery", "method"], input=method)])
    if not address or not re.fullmatch(ADDRESS, address):
        message = "must be one address of e-mail, such as admin@example.com"
        raise Invalid([make_problem(message, ["body", "delivery", "email"], input=address)])
    known = {word.lower() for word in allowed}
    if known and known.isdisjoint({address.lower(), address.lower().partition("@")[2]}):
        message = f"config.yaml (smtp.recipients) allows only {', '.join(sorted(known))}"
        raise Invalid([make_problem(message, ["body", "delivery", "email"], input=address)])
    return str(address)

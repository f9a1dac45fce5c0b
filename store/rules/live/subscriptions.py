"""What a client of the S9S WebSocket subscribes to.

A change is wanted where the old or the new version of the row matches: who watches running jobs hears that one of them
has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from store.errors import Invalid, NotJson, make_problem, suggest_word
from store.jsons import parse_json
from store.operations import find_word
from store.rules.monitoring import alerts
from store.rules.nodes.states import parse_states
from store.rules.queue.job_states import find_states
from store.words import split_words

Row = Mapping[str, Any]
# By channel the fields that a filter may name.
FIELDS: dict[str, tuple[str, ...]] = {
    "jobs": ("user", "state", "partition", "account", "qos", "job_id", "job_name"),
    "nodes": ("node_name", "state", "partition", "features"),
    "metrics": (),
    "alerts": ("alert_id", "severity", "type", "component"),
    "queue": (),
}
# Fields whose words are known; those of jobs' states are told one by one.
PARSERS: dict[tuple[str, str], Callable[[str], frozenset[str]]] = {
    ("nodes", "state"): parse_states,
    ("alerts", "severity"): partial(alerts.parse_words, name="severity", known=alerts.SEVERITIES),
    ("alerts", "type"): partial(alerts.parse_words, name="type", known=alerts.TYPES),
}
# Fields whose row has them under another name.
IN_ROWS = {"nodes": {"partition": "partitions"}}
KEYS = {
    "auth": ("token", "api_key"),
    "subscribe": ("channel", "filter", "snapshot"),
    "unsubscribe": ("channel", "subscription_id"),
    "ping": (),
}
MOST_VALUES, VALUE_CHARACTERS = 1000, 256
MOST_SUBSCRIPTIONS = 100
# So many problems of a message are told, and no others are looked for: each costs a search for a near word.
MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Subscription:
    """What a client wants of a channel; `given` is its filter as it was sent."""

    id: str
    channel: str
    given: Row
    wanted: Mapping[str, frozenset[str]]

    def accepts(self, channel: str, *versions: Row | None) -> bool:
        """Return whether one of the versions of a row is wanted."""
        return channel == self.channel and (not self.wanted or any(self._accepts_row(row) for row in versions if row))

    def _accepts_row(self, row: Row) -> bool:
        return all(not values.isdisjoint(_list_values(row.get(field))) for field, values in self.wanted.items())


def _list_values(found: Any) -> Collection[str]:
    """List what a field of a row has: one value, or one of each partition."""
    if isinstance(found, list | tuple):
        return [str(value) for value in found]
    return () if found is None else [part.strip() for part in str(found).split(",")]


def parse_message(text: str) -> dict[str, Any]:
    """Return a client's message; raise Invalid with all that is wrong."""
    found = parse_json(text.encode(errors="surrogatepass"))
    if not isinstance(found, dict):
        raise NotJson([make_problem("a message is an object", ["body"], input=found)])
    action = found.get("action")
    action = found["action"] = find_word(list(KEYS), action) if isinstance(action, str) else action
    if not isinstance(action, str) or action not in KEYS:
        near = suggest_word(action, KEYS) if isinstance(action, str) else ""
        raise Invalid([make_problem(f"must be one of {', '.join(KEYS)}{near}", ["body", "action"], input=action)])
    unknown = [key for key in found if key not in (*KEYS[action], "action")]
    if unknown:
        raise Invalid([_refuse_word("unknown field", key, KEYS[action], [key]) for key in unknown[:MOST_PROBLEMS]])
    return found


def parse_subscription(message: Row, id: str) -> Subscription:
    """Return what a message subscribes to; raise Invalid."""
    channel, given, snapshot = message.get("channel"), message.get("filter"), message.get("snapshot")
    channel = find_word(list(FIELDS), channel) if isinstance(channel, str) else channel
    given = {} if given is None else given
    problems = [] if isinstance(channel, str) and channel in FIELDS else [_refuse_channel(channel)]
    if not isinstance(given, dict):
        problems.append(make_problem("must be an object", ["body", "filter"], input=given))
    if snapshot is not None and not isinstance(snapshot, bool):
        problems.append(make_problem("must be true or false", ["body", "snapshot"], input=snapshot))
    if problems:
        raise Invalid(problems)
    channel = str(channel)
    known, wanted = FIELDS[channel], dict[str, frozenset[str]]()
    for field, value in given.items():
        place = ["filter", field]
        if field not in known:
            problems.append(_refuse_word(f"no field of a filter on {channel}", field, known, place))
            if len(problems) == MOST_PROBLEMS:
                break
            continue
        values, wrong = _read_values(channel, field, value)
        problems += [make_problem(wrong, ["body", *place], input=value)] if wrong else []
        wanted[IN_ROWS.get(channel, {}).get(field, field)] = values
    if problems:
        raise Invalid(problems)
    return Subscription(id, channel, given, wanted)


def _refuse_channel(channel: Any) -> dict[str, Any]:
    near = suggest_word(channel, FIELDS) if isinstance(channel, str) else ""
    return make_problem(f"must be one of {', '.join(FIELDS)}{near}", ["body", "channel"], input=channel)


def _refuse_word(what: str, word: str, known: Collection[str], place: list[str]) -> dict[str, Any]:
    return make_problem(f"{what}{suggest_word(word, known)}", ["body", *place], input=word)


def _read_values(channel: str, field: str, value: Any) -> tuple[frozenset[str], str | None]:
    """Return the values that a filter names, or what is wrong with them.

    A text may name several with commas; states may be compact codes.
    """
    items = value if isinstance(value, list) else [value]
    if not items or len(items) > MOST_VALUES:
        return frozenset(), f"must name 1 to {MOST_VALUES} values"
    found = set()
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int) or len(str(item)) > VALUE_CHARACTERS:
            return frozenset(), f"must be a text of at most {VALUE_CHARACTERS} characters, or a list of such"
        found |= set(split_words(str(item)))
    if not 1 <= len(found) <= MOST_VALUES:
        return frozenset(), "must name a value" if not found else f"must name 1 to {MOST_VALUES} values"
    if field == "state" and channel == "jobs":
        return find_states(sorted(found))
    if (parse := PARSERS.get((channel, field))) is None:
        return frozenset(found), None
    try:
        return parse(",".join(found)), None
    except Invalid as refusal:
        return frozenset(), refusal.problems[0]["msg"]

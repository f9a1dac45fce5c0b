"""What a notification says: JSON for a webhook of one's own, a text for Slack. Pure.

Names come from whoever submits jobs, so nothing of them may become a mention, a link or a line of its own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

import orjson

from store.rules.deliveries import Delivery

NAME_CHARACTERS = 150
REASON_CHARACTERS = 500
TEXT_CHARACTERS = 3000
MARKS = {"COMPLETED": "✅", "FAILED": "❌", "CANCELLED": "⚪", "TIMEOUT": "⏰", "RUNNING": "▶️", "DRAINING": "⏬"}
# Names and addresses in a text stay text.
NO_MARKUP = {"link_names": False, "parse": "none", "unfurl_links": False, "unfurl_media": False}
KIND_WORDS = {"job": "Job", "workflow_run": "Run", "sweep_run": "Sweep"}


def build_body(kind: str, one: Delivery) -> bytes:
    """The body of the request for an endpoint of this kind."""
    if kind == "slack_webhook":
        return orjson.dumps({"text": format_text(one.body), **NO_MARKUP})
    plain = {"id": one.idempotency_key, "event_id": one.event_id, "created_at": one.created_at, **one.body}
    return orjson.dumps(plain)


def format_text(said: Mapping[str, Any]) -> str:
    """What happened, in one to three short lines, with nothing in it that Slack would take for markup of its own.

    >>> text({"target_ref": "job:local:42", "status": "FAILED", "name": "<!channel> & co", "exit_code": 1})
    '❌ Job 42 (&lt;!channel&gt; &amp; co): FAILED, exit code 1'
    """
    kind, _, rest = str(said["target_ref"]).partition(":")
    number = rest.rpartition(":")[2]
    status = str(said["status"])
    line = f"{MARKS.get(status.upper(), '•')} {KIND_WORDS.get(kind, kind)} {escape_text(number)}"
    line += f" ({escape_text(said.get('name') or '')}): {escape_text(status)}"
    if said.get("exit_code") and status != "RUNNING":
        line += f", exit code {int(said['exit_code'])}"
    if said.get("cells"):
        counted = ", ".join(f"{count} {state}" for state, count in said["cells"].items() if count)
        line += f" ({escape_text(counted)})"
    more = [said.get("error"), said.get("representative_error"), _find_reason(said)]
    lines = [line, *(escape_text(one, REASON_CHARACTERS) for one in more if one)]
    if said.get("run_id"):
        lines.append(f"run {escape_text(said['run_id'])} of {escape_text(said.get('workflow_name') or '')}")
    return "\n".join(lines)[:TEXT_CHARACTERS]


def _find_reason(said: Mapping[str, Any]) -> str | None:
    """SLURM's own word where it says more than the status does."""
    state = said.get("state")
    return (
        str(state) if state and state != said["status"] and said["status"] in ("FAILED", "TIMEOUT", "UNKNOWN") else None
    )


def escape_text(value: Any, most: int = NAME_CHARACTERS) -> str:
    """The value on one line, cut, and escaped as Slack wants it (&, <, > only); what cannot be seen is left out.

    >>> plain("a\\nb <@U1> & \\u202ec")
    'a b &lt;@U1&gt; &amp; c'
    """
    line = " ".join(str(value).split())
    seen = "".join(one for one in line if unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    cut = seen if len(seen) <= most else seen[: most - 1] + "…"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

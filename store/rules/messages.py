"""Texts of notifications: JSON for webhooks, plain text for Slack. Pure.

Names come from whoever submits jobs, so no part of them may become a mention, a link or a line of its own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from store.jsons import dump_json
from store.rules.deliveries import Delivery

NAME_CHARACTERS = 150
REASON_CHARACTERS = 500
TEXT_CHARACTERS = 3000
MARKS = {"COMPLETED": "✅", "FAILED": "❌", "CANCELLED": "⚪", "TIMEOUT": "⏰", "RUNNING": "▶️", "DRAINING": "⏬"}
MARKS |= {"WARNING": "⚠️", "CRITICAL": "🚨", "RESOLVED": "✅"}
# Slack's options against turning names and addresses in a text into mentions and links.
NO_MARKUP = {"link_names": False, "parse": "none", "unfurl_links": False, "unfurl_media": False}
KIND_WORDS = {"job": "Job", "workflow_run": "Run", "sweep_run": "Sweep", "alert": "Alert"}


def build_body(kind: str, delivery: Delivery) -> bytes:
    """Build the request body for an endpoint of this kind."""
    if kind == "slack_webhook":
        return dump_json({"text": format_text(delivery.body), **NO_MARKUP})
    plain = {
        "id": delivery.idempotency_key,
        "event_id": delivery.event_id,
        "created_at": delivery.created_at,
        **delivery.body,
    }
    return dump_json(plain)


def format_text(message: Mapping[str, Any]) -> str:
    """Write what happened in one to three short lines, safe for Slack.

    >>> format_text({"target_ref": "job:local:42", "status": "FAILED", "name": "<!channel> & co", "exit_code": 1})
    '❌ Job 42 (&lt;!channel&gt; &amp; co): FAILED, exit code 1'
    """
    kind, _, target = str(message["target_ref"]).partition(":")
    number = target.rpartition(":")[2]
    status = str(message["status"])
    line = f"{MARKS.get(status.upper(), '•')} {KIND_WORDS.get(kind, kind)} {escape_text(number)}"
    line += f" ({escape_text(message.get('name') or '')}): {escape_text(status)}"
    if message.get("exit_code") and status != "RUNNING":
        line += f", exit code {int(message['exit_code'])}"
    if message.get("cells"):
        counts = ", ".join(f"{count} {state}" for state, count in message["cells"].items() if count)
        line += f" ({escape_text(counts)})"
    details = [message.get("error"), message.get("representative_error"), _find_reason(message)]
    details += [message.get("message")] if status != "resolved" else []
    lines = [line, *(escape_text(detail, REASON_CHARACTERS) for detail in details if detail)]
    if message.get("run_id"):
        lines.append(f"run {escape_text(message['run_id'])} of {escape_text(message.get('workflow_name') or '')}")
    return "\n".join(lines)[:TEXT_CHARACTERS]


def _find_reason(message: Mapping[str, Any]) -> str | None:
    """Return SLURM's own state where it says more than the status."""
    state = message.get("state")
    return (
        str(state)
        if state and state != message["status"] and message["status"] in ("FAILED", "TIMEOUT", "UNKNOWN")
        else None
    )


def escape_text(value: Any, most: int = NAME_CHARACTERS) -> str:
    """Put the value on one line, shortened and escaped for Slack.

    Slack wants &, < and > escaped and nothing else; invisible characters are left out.

    >>> escape_text("a\\nb <@U1> & \\u202ec")
    'a b &lt;@U1&gt; &amp; c'
    """
    line = " ".join(str(value).split())
    visible = "".join(
        character for character in line if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")
    )
    cut = visible if len(visible) <= most else visible[: most - 1] + "…"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

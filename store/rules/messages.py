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
QUIET = {"link_names": False, "parse": "none", "unfurl_links": False, "unfurl_media": False}
WHAT = {"job": "Job", "workflow_run": "Run", "sweep_run": "Sweep"}


def body(kind: str, one: Delivery) -> bytes:
    """The body of the request for an endpoint of this kind."""
    if kind == "slack_webhook":
        return orjson.dumps({"text": text(one.body), **QUIET})
    plain = {"id": one.idempotency_key, "event_id": one.event_id, "created_at": one.created_at, **one.body}
    return orjson.dumps(plain)


def text(said: Mapping[str, Any]) -> str:
    """What happened, in one to three short lines, with nothing in it that Slack would take for markup of its own.

    >>> text({"target_ref": "job:local:42", "status": "FAILED", "name": "<!channel> & co", "exit_code": 1})
    '❌ Job 42 (&lt;!channel&gt; &amp; co): FAILED, exit code 1'
    """
    kind, _, rest = str(said["target_ref"]).partition(":")
    number = rest.rpartition(":")[2]
    status = str(said["status"])
    line = f"{MARKS.get(status.upper(), '•')} {WHAT.get(kind, kind)} {plain(number)}"
    line += f" ({plain(said.get('name') or '')}): {plain(status)}"
    if said.get("exit_code") and status != "RUNNING":
        line += f", exit code {int(said['exit_code'])}"
    if said.get("cells"):
        counted = ", ".join(f"{count} {state}" for state, count in said["cells"].items() if count)
        line += f" ({plain(counted)})"
    more = [said.get("error"), said.get("representative_error"), _reason(said)]
    lines = [line, *(plain(one, REASON_CHARACTERS) for one in more if one)]
    if said.get("run_id"):
        lines.append(f"run {plain(said['run_id'])} of {plain(said.get('workflow_name') or '')}")
    return "\n".join(lines)[:TEXT_CHARACTERS]


def _reason(said: Mapping[str, Any]) -> str | None:
    """SLURM's own word where it says more than the status does."""
    state = said.get("state")
    return (
        str(state) if state and state != said["status"] and said["status"] in ("FAILED", "TIMEOUT", "UNKNOWN") else None
    )


def plain(value: Any, most: int = NAME_CHARACTERS) -> str:
    """The value on one line, cut, and escaped as Slack wants it (&, <, > only); what cannot be seen is left out.

    >>> plain("a\\nb <@U1> & \\u202ec")
    'a b &lt;@U1&gt; &amp; c'
    """
    line = " ".join(str(value).split())
    seen = "".join(one for one in line if unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    cut = seen if len(seen) <= most else seen[: most - 1] + "…"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

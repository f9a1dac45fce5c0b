"""Secrets as they may be shown: a mask in their place, and the way back when a mask is sent in return. Pure.

What counts as one: the address of a Slack webhook, the password in a URL, and the value of a variable whose name says
so (`HF_TOKEN`, `AWS_SECRET_ACCESS_KEY`).
"""

from __future__ import annotations

import re
from typing import Any

from store.errors import Invalid, make_problem

MASK = "***"
HOOK_PREFIX = "https://hooks.slack.com/services/"
HOOK = re.compile(r"https://hooks\.slack\.com/services/\S+")
URL_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")
SECRETS = ("TOKEN", "TOKENS", "SECRET", "SECRETS", "PASSWORD", "PASSWD", "PASSPHRASE", "APIKEY", "CREDENTIALS")
# Keys below which every key is the name of a variable.
VARIABLES = ("env_vars", "env")

Loc = tuple[str | int, ...]


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret.

    >>> [is_secret(one) for one in ("HF_TOKEN", "WANDB_API_KEY", "DbPassword", "TOKENIZERS_PARALLELISM", "AUTHOR")]
    [True, True, True, False, False]
    """
    parts = name.upper().split("_")
    return parts[-1] == "KEY" or any(part.endswith(SECRETS) for part in parts)


def mask_text(text: str) -> str:
    """The text without the webhooks and passwords in it.

    >>> masked_text("docker://me:pw@host/x"), masked_text("https://hooks.slack.com/services/T/B/x")
    ('docker://me:***@host/x', 'https://hooks.slack.com/services/***')
    """
    return URL_PASSWORD.sub(rf"\1{MASK}@", HOOK.sub(HOOK_PREFIX + MASK, text))


def mask_secrets(value: Any, loc: Loc = ()) -> Any:
    """A copy of plain values with masks in the place of secrets.

    >>> masked({"env_vars": {"HF_TOKEN": "hf_x", "N": "8"}})
    {'env_vars': {'HF_TOKEN': '***', 'N': '8'}}
    """
    if isinstance(value, dict):
        return {key: mask_secrets(one, (*loc, key)) for key, one in value.items()}
    if isinstance(value, list):
        return [mask_secrets(one, (*loc, at)) for at, one in enumerate(value)]
    if not isinstance(value, str) or not value:
        return value
    if loc[-2:-1] and loc[-2] in VARIABLES and is_secret(str(loc[-1])):
        return MASK
    return MASK if loc[-1:] == ("slack_webhook_url",) and not HOOK.search(value) else mask_text(value)


def unmask_secrets(given: Any, kept: Any) -> Any:
    """What was sent, with the kept value wherever a mask of it came back; Invalid for a mask of nothing.

    >>> unmasked({"env_vars": {"HF_TOKEN": "***", "N": "9"}}, {"env_vars": {"HF_TOKEN": "hf_x"}})
    {'env_vars': {'HF_TOKEN': 'hf_x', 'N': '9'}}
    """
    return _unmask_value(given, kept, mask_secrets(kept), ())


def _unmask_value(given: Any, kept: Any, shown: Any, loc: Loc) -> Any:
    if isinstance(given, dict):
        old, seen = (one if isinstance(one, dict) else {} for one in (kept, shown))
        return {key: _unmask_value(one, old.get(key), seen.get(key), (*loc, key)) for key, one in given.items()}
    if isinstance(given, list):
        pairs = dict(zip(map(str, shown), kept, strict=True)) if isinstance(kept, list) else {}
        return [pairs.get(one, one) if isinstance(one, str) else one for one in given]
    if isinstance(given, str) and kept is not None and given == shown:
        return kept
    if isinstance(given, str) and _is_only_mask(given):
        raise Invalid([make_problem("this is the mask of a secret, but no secret is kept here", loc, input=given)])
    return given


def _is_only_mask(text: str) -> bool:
    """Whether the text is one that only masking makes."""
    return text in (MASK, HOOK_PREFIX + MASK) or f":{MASK}@" in text

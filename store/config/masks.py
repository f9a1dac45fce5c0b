"""Masking secrets, and restoring them when a mask is sent back. Pure.

Secrets are the address of a Slack webhook, the password in a URL, and the value of a variable whose name says so
(`HF_TOKEN`, `AWS_SECRET_ACCESS_KEY`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from store.errors import Invalid, make_problem

MASK = "***"
HOOK_PREFIX = "https://hooks.slack.com/services/"
HOOK = re.compile(r"https://hooks\.slack\.com/services/\S+")
URL_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")
SECRETS = ("TOKEN", "TOKENS", "SECRET", "SECRETS", "PASSWORD", "PASSWD", "PASSPHRASE", "APIKEY", "CREDENTIALS")
# Mappings whose keys are names of variables.
VARIABLES = ("env_vars", "env")

Loc = tuple[str | int, ...]


def is_secret(name: str) -> bool:
    """Tell whether a variable of this name holds a secret.

    >>> [is_secret(name) for name in ("HF_TOKEN", "WANDB_API_KEY", "DbPassword", "TOKENIZERS_PARALLELISM", "AUTHOR")]
    [True, True, True, False, False]
    """
    parts = name.upper().split("_")
    return parts[-1] == "KEY" or any(part.endswith(SECRETS) for part in parts)


def mask_text(text: str) -> str:
    """Mask the webhooks and passwords in a text.

    >>> mask_text("docker://me:pw@host/x"), mask_text("https://hooks.slack.com/services/T/B/x")
    ('docker://me:***@host/x', 'https://hooks.slack.com/services/***')
    """
    return URL_PASSWORD.sub(rf"\1{MASK}@", HOOK.sub(HOOK_PREFIX + MASK, text))


def mask_secrets(value: Any, loc: Loc = ()) -> Any:
    """Return a copy of plain values with the secrets masked.

    >>> mask_secrets({"env_vars": {"HF_TOKEN": "hf_x", "N": "8"}})
    {'env_vars': {'HF_TOKEN': '***', 'N': '8'}}
    """
    if isinstance(value, dict):
        return {key: mask_secrets(item, (*loc, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [mask_secrets(item, (*loc, at)) for at, item in enumerate(value)]
    if not isinstance(value, str) or not value:
        return value
    if loc[-2:-1] and loc[-2] in VARIABLES and is_secret(str(loc[-1])):
        return MASK
    return MASK if loc[-1:] == ("slack_webhook_url",) and not HOOK.search(value) else mask_text(value)


def find_secrets(environment: Any, loc: Loc = ()) -> dict[str, str]:
    """Find what is masked in a job's environment, by its place.

    A mask that stands there already counts too.

    >>> find_secrets({"env_vars": {"HF_TOKEN": "hf_x", "N": "8"}, "container": {"mounts": ["s3://me:pw@h"]}})
    {'env_vars.HF_TOKEN': 'hf_x', 'container.mounts.0': 's3://me:pw@h'}
    """
    if isinstance(environment, dict | list):
        items = environment.items() if isinstance(environment, dict) else enumerate(environment)
        parts = (find_secrets(item, (*loc, key)) for key, item in items)
        return {place: value for part in parts for place, value in part.items()}
    is_masked = isinstance(environment, str) and MASK in mask_secrets(environment, loc)
    return {".".join(map(str, loc)): environment} if is_masked else {}


def replace_secrets(environment: Any, replacements: Mapping[str, str], place: str = "") -> Any:
    """Return a copy of a job's environment with other texts at places.

    >>> replace_secrets({"env_vars": {"HF_TOKEN": "hf_x", "N": "8"}}, {"env_vars.HF_TOKEN": "${T}"})
    {'env_vars': {'HF_TOKEN': '${T}', 'N': '8'}}
    """
    if isinstance(environment, dict):
        items = environment.items()
        return {key: replace_secrets(item, replacements, f"{place}.{key}".lstrip(".")) for key, item in items}
    if isinstance(environment, list):
        return [replace_secrets(item, replacements, f"{place}.{at}") for at, item in enumerate(environment)]
    return replacements.get(place, environment)


def unmask_secrets(given: Any, kept: Any) -> Any:
    """Put the kept secrets back where their masks were sent.

    Raises Invalid for a mask where no secret is kept.

    >>> unmask_secrets({"env_vars": {"HF_TOKEN": "***", "N": "9"}}, {"env_vars": {"HF_TOKEN": "hf_x"}})
    {'env_vars': {'HF_TOKEN': 'hf_x', 'N': '9'}}
    """
    return _unmask_value(given, kept, mask_secrets(kept), ())


def _unmask_value(given: Any, kept: Any, masked: Any, loc: Loc) -> Any:
    """Do the work of `unmask_secrets` for the part at `loc`."""
    if isinstance(given, dict):
        old, seen = (item if isinstance(item, dict) else {} for item in (kept, masked))
        return {key: _unmask_value(item, old.get(key), seen.get(key), (*loc, key)) for key, item in given.items()}
    if isinstance(given, list):
        pairs = dict(zip(map(str, masked), kept, strict=True)) if isinstance(kept, list) else {}
        return [pairs.get(item, item) if isinstance(item, str) else item for item in given]
    if isinstance(given, str) and kept is not None and given == masked:
        return kept
    if isinstance(given, str) and _is_only_mask(given):
        raise Invalid([make_problem("this is the mask of a secret, but no secret is kept here", loc, input=given)])
    return given


def _is_only_mask(text: str) -> bool:
    """Tell whether the text is one that only masking makes."""
    return text in (MASK, HOOK_PREFIX + MASK) or f":{MASK}@" in text

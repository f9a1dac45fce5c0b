"""What of environments and command lines nobody else may see. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from store.config.masks import MASK, mask_text

_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIAL", re.IGNORECASE)
_PAIR = re.compile(r"(\b\w*(?:TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIAL)\w*=)([^\s,'\"]+)", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r"sluice:[0-9a-f]{32}")
_EMPTY_COMMENT = re.compile(r"\s*--comment=(?:''|\"\"|``|(?=\s|$))")


def redact_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with the values of secrets masked, by their names.

    >>> redact_environment({"HF_TOKEN": "hf_x", "SSH_KEY_FILE": "/k", "LANG": "C"})
    {'HF_TOKEN': '***', 'SSH_KEY_FILE': '***', 'LANG': 'C'}
    """
    return {name: MASK if _SECRET.search(name) else mask_text(value) for name, value in environment.items()}


def redact_line(line: str | None) -> str | None:
    """Return a command line without our tag and with secrets masked.

    >>> redact_line("sbatch --comment=sluice:0123456789abcdef0123456789abcdef --export=ALL,HF_TOKEN=hf_x a.sh")
    'sbatch --export=ALL,HF_TOKEN=*** a.sh'
    """
    if line is None:
        return None
    bare = _EMPTY_COMMENT.sub("", _TAG.sub("", line)) if _TAG.search(line) else line
    return mask_text(_PAIR.sub(rf"\1{MASK}", bare))


def strip_tag(comment: str | None) -> str | None:
    """Return a job's own comment, without the tag that we add to it.

    >>> strip_tag("mine sluice:0123456789abcdef0123456789abcdef"), strip_tag("sluice:0123456789abcdef0123456789abcdef")
    ('mine', None)
    """
    return _TAG.sub("", comment or "").strip() or None

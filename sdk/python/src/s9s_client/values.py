"""What goes into requests and comes out of answers."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from s9s_client.errors import UnexpectedAnswer

Value = TypeVar("Value")
ENDED = frozenset(
    {
        "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE",
        "PREEMPTED", "REVOKED", "SPECIAL_EXIT", "LAUNCH_FAILED", "RECONFIG_FAIL",
    }
)  # fmt: skip


def complete_address(base_url: str) -> str:
    """Return the address of the API: /v1 is added where it is missing.

    >>> complete_address("https://api.example.com"), complete_address("https://host/slurm/api/v1/")
    ('https://api.example.com/v1', 'https://host/slurm/api/v1')
    """
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith("/v1") else f"{path}/v1"))


def find_root(address: str) -> str:
    """Return what stands before the API in its address.

    >>> find_root("https://api.example.com/v1"), find_root("https://host/slurm/api/v1")
    ('https://api.example.com', 'https://host/slurm')
    """
    return address.removesuffix("/v1").removesuffix("/api")


def drop_none(**values: Any) -> dict[str, Any]:
    """Return the values that are given; None stands for those that are not."""
    return {name: value for name, value in values.items() if value is not None}


def expect(kind: type[Value], answer: object) -> Value:
    """Return the answer, which is of this kind."""
    if isinstance(answer, kind):
        return answer
    raise UnexpectedAnswer(f"The server answered {type(answer).__name__}, not {kind.__name__}")


def name_job(job: Any) -> str:
    """Return the id of a job: of its row, or as it is."""
    return str(getattr(job, "job_id", job))

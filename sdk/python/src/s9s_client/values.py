"""What goes into requests and comes out of answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from s9s_client.errors import UnexpectedAnswer, ValidationError

Value = TypeVar("Value")
ENDED = frozenset(
    {
        "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE",
        "PREEMPTED", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL", "LOST",
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


class BodyModel(Protocol):
    """The body of a request, as it is made from the contract."""

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], /) -> Self:
        """Make it."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return what will be sent."""
        ...


Body = TypeVar("Body", bound=BodyModel)


def make_body(kind: type[Body], **given: Any) -> Body:
    """Make the body of a request; None stands for what is not given.

    The model leaves out fields that it does not know: a wrong name in `filter` would export everything.
    """
    fields = drop_none(**given)
    made = kind.from_dict(fields)
    unknown = list(find_lost(fields, made.to_dict()))
    if unknown:
        named = dict.fromkeys(unknown, "unknown field")
        raise ValidationError(f"Unknown: {', '.join(unknown)}", code="VALIDATION_ERROR", details={"fields": named})
    return made


def find_lost(given: Any, kept: Any, place: str = "") -> Iterator[str]:
    """Yield the places of fields that are given and not kept.

    >>> list(find_lost({"filter": {"usr": "alice"}, "rows": [{"a": 1, "b": 2}]}, {"filter": {}, "rows": [{"a": 1}]}))
    ['filter.usr', 'rows.0.b']
    """
    if isinstance(given, Mapping) and isinstance(kept, Mapping):
        for name, value in given.items():
            if name in kept:
                yield from find_lost(value, kept[name], f"{place}{name}.")
            else:
                yield f"{place}{name}"
    elif isinstance(given, list | tuple) and isinstance(kept, list):
        for at, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from find_lost(one, other, f"{place}{at}.")


def expect(kind: type[Value], answer: object) -> Value:
    """Return the answer, which is of this kind."""
    if isinstance(answer, kind):
        return answer
    raise UnexpectedAnswer(f"The server answered {type(answer).__name__}, not {kind.__name__}")


def name_job(job: Any) -> str:
    """Return the id of a job: of its row, or as it is."""
    return str(getattr(job, "job_id", job))

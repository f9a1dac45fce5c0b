"""What can go wrong, as exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx


class S9SError(Exception):
    """A refusal of the server, or no answer of it."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.code = message, status, code
        self.details = dict(details or {})
        self.request_id, self.retry_after_s = request_id, retry_after_s


class InvalidRequest(S9SError):
    """The request is malformed."""


class ValidationError(InvalidRequest):
    """A value is wrong; `details` names the fields."""


class AuthenticationFailed(S9SError):
    """The credentials are missing or wrong."""


class PermissionDenied(S9SError):
    """The credentials do not allow this."""


class ResourceNotFound(S9SError):
    """There is no such job, node …"""


class ResourceConflict(S9SError):
    """The present state does not allow this."""


class RateLimitExceeded(S9SError):
    """There were too many requests; `retry_after_s` says how long to wait."""


class SlurmError(S9SError):
    """SLURM refused, or cannot be reached (status 503)."""


class ConnectionFailed(S9SError):
    """The server could not be reached, or the connection was lost."""


class UnexpectedAnswer(S9SError):
    """The answer is not what the contract promises."""


class WaitTimeout(S9SError):
    """What was waited for did not happen in time."""


BY_CODE: dict[str, type[S9SError]] = {
    "INVALID_REQUEST": InvalidRequest,
    "VALIDATION_ERROR": ValidationError,
    "AUTHENTICATION_FAILED": AuthenticationFailed,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_NOT_FOUND": ResourceNotFound,
    "RESOURCE_CONFLICT": ResourceConflict,
    "RATE_LIMIT_EXCEEDED": RateLimitExceeded,
    "SLURM_ERROR": SlurmError,
}


def explain_refusal(response: httpx.Response) -> S9SError:
    """Return the exception for a refusal; its body has been read."""
    try:
        said = response.json()["error"]
        code, message, details = said["code"], said["message"], said["details"]
        request_id = said["request_id"]
    except (ValueError, KeyError, TypeError):
        # Something in between answers in its own way, such as a proxy.
        code, message, details = "", response.text[:500] or response.reason_phrase, {}
        request_id = response.headers.get("x-request-id")
    return BY_CODE.get(code, S9SError)(
        message,
        status=response.status_code,
        code=code,
        details=details,
        request_id=request_id,
        retry_after_s=read_retry_after(response.headers.get("retry-after")),
    )


def read_retry_after(text: str | None) -> float | None:
    """Return the seconds that a Retry-After header names, if it does."""
    try:
        return max(0.0, float(text)) if text is not None else None
    except ValueError:
        return None

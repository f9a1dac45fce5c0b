"""A client of the S9S cluster API.

    from s9s_client import S9SClient

    client = S9SClient(base_url="https://api.example.com", token="your_token_here")
    jobs = client.jobs.list(state="RUNNING", user="alice")

AsyncS9SClient has the same methods to be awaited.
"""

from s9s_client.asynchronous.client import AsyncS9SClient
from s9s_client.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    InvalidRequest,
    PermissionDenied,
    RateLimitExceeded,
    ResourceConflict,
    ResourceNotFound,
    S9SError,
    SlurmError,
    UnexpectedAnswer,
    ValidationError,
    WaitTimeout,
)
from s9s_client.pages import Page
from s9s_client.retries import Retries
from s9s_client.synchronous.client import S9SClient
from s9s_client.updates import Update

__all__ = [
    "AsyncS9SClient",
    "AuthenticationFailed",
    "ConnectionFailed",
    "InvalidRequest",
    "Page",
    "PermissionDenied",
    "RateLimitExceeded",
    "ResourceConflict",
    "ResourceNotFound",
    "Retries",
    "S9SClient",
    "S9SError",
    "SlurmError",
    "UnexpectedAnswer",
    "Update",
    "ValidationError",
    "WaitTimeout",
]

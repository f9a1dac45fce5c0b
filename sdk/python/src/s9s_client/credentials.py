"""An OAuth client: it exchanges its secret for a token, and again when that ends."""

from __future__ import annotations

import time

import httpx

from s9s_client.errors import AuthenticationFailed, S9SError, UnexpectedAnswer, explain_refusal

# A token is exchanged so long before its end: the clocks of two machines differ, and requests take their time.
EARLY_S = 60.0


class ClientCredentials:
    """The token of an OAuth client (RFC 6749, client credentials)."""

    def __init__(self, address: str, client_id: str, client_secret: str, scope: str | None = None) -> None:
        self.address = address
        self.form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        if scope is not None:
            self.form["scope"] = scope
        self.token, self.ends_at = "", 0.0

    @property
    def is_due(self) -> bool:
        """Whether a token is to be asked for."""
        return time.monotonic() > self.ends_at - EARLY_S

    def make_request(self, like: httpx.Request) -> httpx.Request:
        """Make the request for a token; it takes as long as the one that needs it."""
        return httpx.Request("POST", self.address, data=self.form, extensions=like.extensions)

    def take(self, response: httpx.Response) -> None:
        """Keep the token of the answer, which has been read; raises what it refuses."""
        if response.status_code >= 400:
            raise explain_token_refusal(response)
        try:
            said = response.json()
            self.token, self.ends_at = str(said["access_token"]), time.monotonic() + float(said["expires_in"])
        except (ValueError, KeyError, TypeError) as problem:
            raise UnexpectedAnswer(f"{self.address} answered with no token") from problem

    def sign(self, request: httpx.Request) -> None:
        """Add the token to a request."""
        request.headers["Authorization"] = f"Bearer {self.token}"


def explain_token_refusal(response: httpx.Response) -> S9SError:
    """Return the exception for a refused token: RFC 6749 has a shape of its own."""
    try:
        said = response.json()
    except ValueError:
        said = None
    if isinstance(said, dict) and isinstance(code := said.get("error"), str):
        return AuthenticationFailed(said.get("error_description", code), status=response.status_code, code=code)
    return explain_refusal(response)

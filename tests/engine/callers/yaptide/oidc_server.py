"""A realm of Keycloak for tests: an HTTP server on this machine with keys of its own, which signs by RS256.

How it answers is set by `mood`: right, slow (it waits until `release`), down (it closes the connection), or a status,
or the bytes of an answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

REALM, CLIENT = "lab", "yaptide-ui"


def make_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """A new pair of keys."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def describe_key(key_id: str, key: rsa.RSAPrivateKey, **more: Any) -> dict[str, Any]:
    """The public key as a realm shows it."""
    said: dict[str, Any] = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {"kid": key_id, "kty": "RSA", "n": said["n"], "e": said["e"], "use": "sig", "alg": "RS256", **more}


class Realm:
    """Keys and tokens of a realm, without a server."""

    def __init__(self, base_url: str = "https://sso.example.org", now: Callable[[], float] = time.time) -> None:
        self.base_url, self.now = base_url, now
        self.keys = {"first": make_key()}
        self.current = "first"

    @property
    def issuer(self) -> str:
        """What its tokens name."""
        return f"{self.base_url}/realms/{REALM}"

    def rotate(self, key_id: str) -> None:
        """Sign with another key from now on; the one before is withdrawn."""
        self.keys, self.current = {key_id: make_key()}, key_id

    def show_keys(self) -> bytes:
        """What it answers to those who ask for its keys."""
        return orjson.dumps({"keys": [describe_key(key_id, key) for key_id, key in self.keys.items()]})

    def make_claims(self, username: str = "ann", **more: Any) -> dict[str, Any]:
        """What a right access token says; None in `more` leaves a claim out."""
        now_s = int(self.now())
        claims = {
            "iss": self.issuer, "aud": "account", "azp": CLIENT, "typ": "Bearer", "iat": now_s, "exp": now_s + 300,
            "sub": "f:1:ann", "preferred_username": username, "plgridAccessServices": ["PLG_YAPTIDE_ACCESS"], **more,
        }  # fmt: skip
        return {name: value for name, value in claims.items() if value is not None}

    def sign(self, username: str = "ann", **more: Any) -> str:
        """A token with these claims."""
        claims, key = self.make_claims(username, **more), self.keys[self.current]
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": self.current})


class OidcServer(Realm):
    """A realm that listens until it is closed; `asked` counts the requests."""

    def __init__(self) -> None:
        self.mood: str | int | bytes = "right"
        self.asked, self.release = 0, threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                outer.answer(self)

            def log_message(self, *_given: Any) -> None:
                """Nobody reads it."""

        self.listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.daemon_threads = True
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()
        super().__init__(f"http://127.0.0.1:{self.listener.server_address[1]}/auth")

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer as it is in the mood to."""
        mood = self.mood
        if mood == "slow":
            self.release.wait(60)
        if mood == "down":
            handler.close_connection = True
            return
        known = handler.path == f"/auth/realms/{REALM}/protocol/openid-connect/certs"
        body = mood if isinstance(mood, bytes) else self.show_keys()
        try:
            handler.send_response(mood if isinstance(mood, int) else 200 if known else 404)
            handler.send_header("location", f"{self.base_url}/elsewhere")
            handler.send_header("content-length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        except OSError:
            handler.close_connection = True  # whoever asked has gone

    def close(self) -> None:
        """Stop listening, and let slow answers go."""
        self.release.set()
        self.listener.shutdown()
        self.listener.server_close()

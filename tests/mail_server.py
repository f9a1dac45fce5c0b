"""An SMTP server for tests that keeps what it gets, or refuses it."""

from __future__ import annotations

import asyncio
import ssl
import threading
import warnings
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class MailServer:
    """`got` are the messages, `answers` what is said instead of taking one, in turn."""

    def __init__(self, *, context: ssl.SSLContext | None = None, user: str | None = None, password: str = "") -> None:
        self.got: list[EmailMessage] = []
        self.envelopes: list[Any] = []
        self.answers: list[str] = []
        self.user, self.password = user, password
        self.more: dict[str, Any] = {"hostname": "here", "enable_SMTPUTF8": True}
        if user is not None:
            self.more |= {
                "authenticator": self._check_login,
                "auth_required": True,
                "auth_require_tls": context is not None,
            }
        if context is not None:
            self.more |= {"tls_context": context, "require_starttls": True}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="mail", daemon=True)

    def _check_login(self, _server: Any, _session: Any, _envelope: Any, _way: str, given: Any) -> AuthResult:
        right = isinstance(given, LoginPassword) and given.login.decode() == self.user
        return AuthResult(success=right and given.password.decode() == self.password, handled=False)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Take the message, or say the next answer."""
        if self.answers:
            return self.answers.pop(0)
        self.envelopes.append(envelope)
        self.got.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return "250 OK"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.sockets[0].getsockname()[1])

    def _make_session(self) -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a login without TLS
            return SMTP(self, loop=self.loop, **self.more)

    def __enter__(self) -> MailServer:
        self.thread.start()
        made = self.loop.create_server(self._make_session, "127.0.0.1", 0)
        self.server = asyncio.run_coroutine_threadsafe(made, self.loop).result(60)
        return self

    def __exit__(self, *_: Any) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(60)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(60)
        self.loop.close()

    async def _close(self) -> None:
        self.server.close()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

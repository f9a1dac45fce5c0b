"""Reports by e-mail over a real SMTP server: TLS, logins, refusals, attachments that are too large."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from engine.notify import mail
from engine.notify.webhooks import NoAnswer, NotSent
from store.documents import Config, SmtpConfig, from_yaml
from store.errors import Invalid
from store.rules import deliveries
from store.rules.exports.files import ClusterReport
from store.store import Store
from tests.mail_server import MailServer
from tests.pretended import asynchronous

REPORT = ClusterReport(
    id="rep_1", owner="ann", cluster="here", type="job_summary", format="csv", filename="jobs.csv", status="completed",
    created_at="2026-01-01T00:00:00Z", expires_at="2026-01-02T00:00:00Z", email="admin@example.com",
)  # fmt: skip


@asynccontextmanager
async def sending(root: Path, smtp: str, data: bytes = b"a,b\r\n", **more: Any) -> AsyncIterator[Any]:
    """A function that sends the report through a store with this section `smtp`; `handed` counts."""
    store = Store(root / "store")
    store.root.mkdir(parents=True)
    (store.root / "workflows").mkdir()
    (store.root / "config.yaml").write_text(f"smtp: {{host: localhost, from: sluice@example.com, {smtp}}}\n")
    store.open()
    report, handed = REPORT.model_copy(update=more), list[int]()

    async def note_handed() -> None:
        handed.append(1)

    async def send() -> int:
        await mail.send_report(store, deliveries.build_mail(report, 0), note_handed)
        return len(handed)

    try:
        await store.reports.create(report.id, report)
        (store.reports.path / report.id).mkdir()
        (store.reports.path / report.id / "data").write_bytes(data)
        yield send
    finally:
        await store.close()


@asynchronous
async def test_a_report_arrives_with_its_file(tmp_path: Path) -> None:
    with MailServer() as server:
        async with sending(tmp_path, f"port: {server.port}, tls: none", "a,ü\r\n".encode()) as send:
            assert await send() == 1
    (message,) = server.got
    (attached,) = message.iter_attachments()
    assert attached.get_content() == "a,ü\r\n" and attached.get_filename() == "jobs.csv"
    assert attached.get_content_type() == "text/csv"
    assert message["Message-ID"] == "<rep_1@example.com>" and message["Subject"] == "Sluice: job summary of here"
    assert server.envelopes[0].rcpt_tos == ["admin@example.com"]


@asynchronous
async def test_what_is_too_large_is_named_and_not_attached(tmp_path: Path) -> None:
    with MailServer() as server:
        async with sending(tmp_path, f"port: {server.port}, tls: none, attachment_mb: 1", bytes(1_500_000)) as send:
            await send()
    (message,) = server.got
    assert not list(message.iter_attachments())
    assert "/api/v1/reports/rep_1/download" in message.get_content() and len(server.envelopes[0].content) < 5000


@asynchronous
async def test_the_connection_is_encrypted_and_the_certificate_checked(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    (tmp_path / "password").write_text("secret\n")
    login = f"user: me, password_file: {tmp_path}/password"
    with MailServer(context=context, user="me", password="secret") as server:
        async with sending(tmp_path / "one", f"port: {server.port}, {login}") as send:
            with pytest.raises(NotSent):
                await send()
            with pytest.MonkeyPatch.context() as patch, authority.cert_pem.tempfile() as path:
                patch.setenv("SSL_CERT_FILE", path)
                assert await send() == 1
        async with sending(tmp_path / "two", f"port: {server.port}, {login}, verify: false") as send:
            assert await send() == 1
    assert len(server.got) == 2


PASSWORDS = [
    ("right", "password_env: MAIL_PASSWORD", {"MAIL_PASSWORD": "secret"}, None),
    ("wrong: somebody may mend it", "password_env: MAIL_PASSWORD", {"MAIL_PASSWORD": "other"}, "answered 535"),
    ("no variable", "password_env: MAIL_PASSWORD", {}, "no variable MAIL_PASSWORD"),
    ("no file", "password_file: /nonexistent/password", {}, "cannot be read"),
]


@pytest.mark.parametrize(("why", "smtp", "variables", "error"), PASSWORDS, ids=[row[0] for row in PASSWORDS])
def test_logins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, smtp: str, variables: dict[str, str], error: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    @asynchronous
    async def send_one() -> None:
        with MailServer(user="me", password="secret") as server:
            async with sending(tmp_path, f"port: {server.port}, tls: none, user: me, {smtp}") as send:
                if error is None:
                    assert await send() == 1
                else:
                    with pytest.raises(NotSent, match=error):
                        await send()

    send_one()


@asynchronous
async def test_refusals_are_final_or_tried_again(tmp_path: Path) -> None:
    with MailServer() as server:
        async with sending(tmp_path, f"port: {server.port}, tls: none") as send:
            for answer, error in (
                ("550 no such mailbox", mail.Refused),
                ("452 mailbox full", NotSent),
                ("421 closing", (NotSent, NoAnswer)),
            ):
                server.answers = [answer]
                with pytest.raises(error):
                    await send()
        async with sending(tmp_path / "gone", "port: 1, tls: none") as send:
            with pytest.raises(NotSent, match="cannot be reached"):
                await send()


@asynchronous
async def test_a_header_takes_no_end_of_line(tmp_path: Path) -> None:
    """The patterns of callers refuse it; a file that somebody has edited must do no harm either."""
    with MailServer() as server:
        smtp, evil = f"port: {server.port}, tls: none", "a@example.com\r\nBcc: all@example.com"
        async with sending(tmp_path, smtp, email=evil) as send:
            with pytest.raises(mail.Refused):
                await send()
    assert server.got == []


WRONG = [
    ("an address with more behind it", "{host: h, from: 'a@b.c, d@e.f'}"),
    ("an end of line", '{host: h, from: "a@b.c\\nBcc: x@y.z"}'),
    ("no sender", "{host: h}"),
    ("two passwords", "{host: h, from: a@b.c, user: u, password_env: A, password_file: b}"),
    ("a password of nobody", "{host: h, from: a@b.c, password_env: A}"),
    ("recipients that are none", "{host: h, from: a@b.c, recipients: ['a@']}"),
    ("all recipients in one", "{host: h, from: a@b.c, recipients: ['a.b, c.d']}"),
    ("the password itself", "{host: h, from: a@b.c, user: u, password: secret}"),
]


@pytest.mark.parametrize(("why", "smtp"), WRONG, ids=[row[0] for row in WRONG])
def test_what_the_configuration_refuses(why: str, smtp: str) -> None:
    with pytest.raises(Invalid):
        from_yaml(Config, f"smtp: {smtp}".encode())


def test_the_usual_ports() -> None:
    ports = {tls: SmtpConfig(host="h", tls=tls, sender="a@b.c").used_port for tls in ("none", "starttls", "tls")}  # type: ignore[call-arg, arg-type]
    assert ports == {"none": 25, "starttls": 587, "tls": 465}

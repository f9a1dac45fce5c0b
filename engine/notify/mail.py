"""One e-mail with a report, through the SMTP server of config.yaml.

The library is loaded with this module, which is loaded for the first e-mail.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from pathlib import Path

import aiosmtplib

from engine.notify.webhooks import NoAnswer, NotSent
from store.disk.reading import read_file
from store.documents import SmtpConfig
from store.errors import StoreError
from store.rules.deliveries import Delivery
from store.rules.exports import files, tables
from store.rules.exports.files import ClusterReport
from store.store import Store
from store.times import to_epoch

TIMEOUT_S = 30.0
PASSWORD_BYTES = 4096


class Refused(Exception):
    """It will never be sent; the text says why."""


async def send_report(store: Store, delivery: Delivery, handed: Callable[[], Awaitable[None]]) -> None:
    """Send the report of a delivery; raise Refused, NotSent, NoAnswer.

    `handed` is awaited before the message may leave.
    """
    config, name = store.config.smtp, delivery.report_id or ""
    if config is None:
        raise NotSent("no SMTP server is configured any more")
    if name not in store.reports:
        raise Refused("the report was deleted")
    report: ClusterReport = store.reports.get(name)
    if report.email is None:
        raise Refused("the report names nobody to send it to")
    try:
        message = await asyncio.to_thread(build_message, store.reports.path / name / files.DATA, report, config)
    except ValueError as problem:
        raise Refused(f"no header can hold this: {problem}") from None
    await _send_message(message, config, await asyncio.to_thread(read_password, config), handed)


def build_message(path: Path, report: ClusterReport, config: SmtpConfig) -> EmailMessage:
    """Build the message with its file; raise NotSent without it.

    Blocks. A file that is too large is named. No header can hold an end of line: the library refuses it, and so do the
    patterns of what goes in.
    """
    domain = config.sender.rpartition("@")[2]
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"] = config.sender, report.email
    message["Subject"] = f"Sluice: {report.type.replace('_', ' ')} of {report.cluster}"
    message["Date"] = formatdate(to_epoch(report.created_at))
    message["Message-ID"] = f"<{report.id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    most_bytes = config.attachment_mb * 1_000_000
    try:
        size_bytes = path.stat().st_size
        data = read_file(path, most_bytes)[0] if size_bytes <= most_bytes else None
    except (OSError, StoreError):
        raise NotSent("the file of the report is not there") from None
    where = f"/api/v1/reports/{report.id}/download"
    if data is None:
        size_mb = size_bytes / 1_000_000
        message.set_content(
            f"The report has {size_mb:.1f} MB, which is too much for an e-mail.\n"
            f"Download it from the server until {report.expires_at}: {where}\n"
        )
        return message
    message.set_content(f"The report is attached. Until {report.expires_at} the server has it too: {where}\n")
    kind, _, subtype = tables.MEDIA_TYPES[report.format].partition("/")
    charset = {"charset": "utf-8"} if kind == "text" else {}
    message.add_attachment(data, maintype=kind, subtype=subtype, filename=report.filename, params=charset)
    return message


def read_password(config: SmtpConfig) -> str | None:
    """Read the password that config.yaml leads to; raise NotSent. Blocks."""
    if config.password_env is not None:
        if config.password_env not in os.environ:
            raise NotSent(f"the environment has no variable {config.password_env} with the SMTP password")
        return os.environ[config.password_env]
    if config.password_file is None:
        return None
    try:
        return read_file(Path(config.password_file), PASSWORD_BYTES)[0].decode().strip()
    except (StoreError, OSError, UnicodeDecodeError):
        raise NotSent("the file with the SMTP password cannot be read") from None


async def _send_message(
    message: EmailMessage, config: SmtpConfig, password: str | None, handed: Callable[[], Awaitable[None]]
) -> None:
    client = aiosmtplib.SMTP(
        hostname=config.host,
        port=config.used_port,
        timeout=TIMEOUT_S,
        use_tls=config.tls == "tls",
        start_tls=config.tls == "starttls",
        tls_context=await asyncio.to_thread(make_context, config) if config.tls != "none" else None,
    )
    is_handed = False
    try:
        await client.connect()
        if config.user is not None:
            await client.login(config.user, password or "")
        await handed()
        is_handed = True
        await client.send_message(message)
    except aiosmtplib.SMTPRecipientsRefused as problem:
        codes = [refusal.code for refusal in problem.recipients]
        raise _make_error(max(codes, default=550), "the receiver was refused") from None
    except aiosmtplib.SMTPResponseException as problem:
        raise _make_error(problem.code, f"the SMTP server answered {problem.code}") from None
    except (aiosmtplib.SMTPException, OSError) as problem:
        text = f"the SMTP server cannot be reached ({type(problem).__name__})"
        raise (NoAnswer if is_handed else NotSent)(text) from None
    finally:
        client.close()


def make_context(config: SmtpConfig) -> ssl.SSLContext:
    """Make the context of TLS; certificates are checked unless config says no."""
    context = ssl.create_default_context()
    if not config.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _make_error(code: int, text: str) -> Exception:
    """Return the error for a refusal.

    One that may be taken back is tried again."""
    return Refused(text) if 500 <= code < 600 and code not in (530, 534, 535, 538) else NotSent(text)

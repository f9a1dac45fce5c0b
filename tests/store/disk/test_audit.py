"""The audit log: one whole line per deed, no secrets, and never in the way of the deed."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.disk import audit
from store.disk.audit import LINE_BYTES, Audit, format_line, redact_secrets
from store.disk.files import Files

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def read_entries(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


async def test_deeds_are_lines_of_their_day(tmp_path: Path) -> None:
    moments = iter([datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)])
    audit = Audit(tmp_path, Files(tmp_path), clock=lambda: next(moments))
    assert await audit.append({"who": "root", "what": "srunx_submit_job", "result": 201})
    assert await audit.append({"who": "root", "what": "cancel", "argv": ["scancel", "--", "7"], "result": 204})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026-01-01.jsonl", "2026-01-02.jsonl"]
    assert read_entries(tmp_path / "2026-01-02.jsonl") == [
        {
            "at": "2026-01-02T00:00:00.000Z",
            "who": "root",
            "what": "cancel",
            "argv": ["scancel", "--", "7"],
            "result": 204,
        }
    ]
    assert stat.S_IMODE((tmp_path / "2026-01-02.jsonl").stat().st_mode) == 0o600


async def test_many_at_once_do_not_mix(tmp_path: Path) -> None:
    audit = Audit(tmp_path, Files(tmp_path))
    await asyncio.gather(*(audit.append({"n": i, "fill": "x" * (i * 37 % 3000)}) for i in range(200)))
    found = [entry for path in tmp_path.iterdir() for entry in read_entries(path)]
    assert sorted(entry["n"] for entry in found) == list(range(200))


async def test_a_failure_is_counted_and_costs_the_deed_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fail = ""

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def write(self, fd: int, data: bytes) -> int:
            if fail == "short":
                return os.write(fd, data[:5])
            raise OSError(errno.ENOSPC, "full")

    audit = Audit(tmp_path, Files(tmp_path, Full()))
    for fail in ("short", "full"):  # noqa: B007  (read by write above)
        assert await audit.append({"who": "me"}) is False
    assert audit.lost == 2 and "was lost" in caplog.text and "'who': 'me'" in caplog.text
    assert all(path.read_bytes() == b"" for path in tmp_path.iterdir()), "no half line stays"
    await audit.record_loss()
    assert audit.lost == 2
    audit.files.ops = os
    assert await audit.append({"who": "me"})
    await audit.record_loss()
    await audit.record_loss()
    (path,) = tmp_path.iterdir()
    assert audit.lost == 0 and [entry.get("lost") for entry in read_entries(path)] == [None, 2]


SECRETS = [
    ("a token in an option", "--token=abc123", "--token=***"),
    ("a password in a text", "connect password: hunter2 now", "connect password: *** now"),
    ("a variable", "API_KEY=abc", "API_KEY=***"),
    ("a header", "Authorization: abc", "Authorization: ***"),
    ("the values of exported variables", "--export=NONE,A=secret,B=2", "--export=NONE,A=***,B=***"),
    ("who logs in, in an address", "https://me:pw@host/x", "https://***host/x"),
    ("a webhook", "https://hooks.slack.com/services/T/B/x", "https://hooks.slack.com/services/***"),
    ("harmless", ["sbatch", "--job-name=train", 5, None, 1.5], ["sbatch", "--job-name=train", 5, None, 1.5]),
    ("in depth", {"a": [{"b": "token=x"}]}, {"a": [{"b": "token=***"}]}),
    ("half a surrogate pair", "a\ud800", "a?"),
]


@pytest.mark.parametrize(("why", "value", "safe_value"), SECRETS, ids=[row[0] for row in SECRETS])
def test_secrets_are_hidden(why: str, value: Any, safe_value: Any) -> None:
    assert redact_secrets(value) == safe_value
    assert orjson.loads(format_line({"value": value})) == orjson.loads(orjson.dumps({"value": safe_value}))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.integers(0, 9000).map("x".__mul__)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=9), inner, max_size=9),
    max_leaves=40,
)


@given(st.dictionaries(st.sampled_from(["who", "what", "argv", "result", "body"]), values))
def test_any_deed_is_one_short_line(deed: dict[str, Any]) -> None:
    data = format_line(deed)
    assert len(data) <= LINE_BYTES and data.count(b"\n") == 1 and data.endswith(b"\n")
    assert isinstance(orjson.loads(data), dict)


@given(values)
def test_what_has_nothing_to_hide_is_written_as_it_is_or_else_is(value: Any) -> None:
    """The short way of a line gives what the long one gives."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(audit, "_format_plain", lambda entry: None)
        long = format_line({"value": value})
    assert format_line({"value": value}) == long

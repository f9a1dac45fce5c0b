"""The key that tokens are signed with: made once, kept private."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.callers.signing import FILE, SigningKey
from store.access import issued
from store.disk.files import Files
from store.errors import StoreUnavailable


def test_it_is_made_once_and_survives(tmp_path: Path) -> None:
    key = SigningKey(Files(tmp_path))
    key.load()
    assert key.value is None and not (tmp_path / FILE).exists(), "only when it is needed"

    async def ensure() -> list[bytes]:
        return await asyncio.gather(*(key.ensure() for _ in range(5)))

    made = asyncio.run(ensure())
    assert len(set(made)) == 1 and issued.is_key(made[0])
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    again = SigningKey(Files(tmp_path))
    again.load()
    assert again.value == made[0]


BAD = [
    ("others may read it", issued.make_key(), 0o644),
    ("others may write it", issued.make_key(), 0o606),
    ("it is empty: anybody could sign with that", b"", 0o600),
    ("it was cut short", issued.make_key()[:30], 0o600),
]


@pytest.mark.parametrize(("why", "data", "mode"), BAD, ids=[row[0] for row in BAD])
def test_a_key_that_does_not_count_is_not_used_and_not_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, why: str, data: bytes, mode: int
) -> None:
    path = tmp_path / FILE
    path.write_bytes(data)
    path.chmod(mode)
    key = SigningKey(Files(tmp_path))
    key.load()
    assert key.value is None and FILE in caplog.text
    with pytest.raises(StoreUnavailable, match=r"oauth\.key does not count"):
        asyncio.run(key.ensure())
    assert path.read_bytes() == data

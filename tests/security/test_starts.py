"""What a server refuses to start with, and how it is once it asks everybody."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from app import describe_server
from store.access import make_token
from store.access.credentials import OWN_UID
from tests.app.transport.test_guard import run_app
from tests.app_client import Client, serving
from tests.waiting import eventually

TOKEN, HASH = make_token()
GOOD = f"tokens:\n  - {{name: a, sha256: {HASH}, scopes: [read]}}\n"
EXPIRED = GOOD.replace("]}", "], expires: 2020-01-01}")
STARTS = [  # why, host, SLUICE_ALWAYS_ASK, access.yaml, what is said
    ("others could reach it, and nobody has a token", "0.0.0.0", "no", None, "Listening on 0.0.0.0 needs a token"),
    (
        "the only token has expired",
        "0.0.0.0",
        "no",
        EXPIRED,
        "all have expired: `sluice token create NAME --scope SCOPE`",
    ),
    ("everybody is asked, and nobody has a token", "127.0.0.1", "yes", None, "To ask everybody for a token"),
    ("everybody is asked, and the only token has expired", "127.0.0.1", "yes", EXPIRED, "all have expired"),
    ("the file says that everybody is asked", "127.0.0.1", "no", "always_ask: true\n", "there is none"),
    (
        "the file does not say clearly who may call",
        "127.0.0.1",
        "no",
        "always_aks: true\n",
        "did you mean 'always_ask'",
    ),
    ("a word that is none", "127.0.0.1", "sometimes", GOOD, "SLUICE_ALWAYS_ASK must be one of no, yes"),
]


@pytest.mark.long
@pytest.mark.parametrize(("why", "host", "always", "text", "said"), STARTS, ids=[row[0] for row in STARTS])
def test_it_does_not_start(tmp_path: Path, why: str, host: str, always: str, text: str | None, said: str) -> None:
    store = tmp_path / "store"
    if text is not None:
        store.mkdir()
        (store / "access.yaml").write_text(text)
    done = run_app(store, "--host", host, "--port", "0", SLUICE_ALWAYS_ASK=always)
    assert done.returncode not in (0, 3) and said in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert text is not None or not store.exists(), "nothing was begun"


UNREADABLE: list[tuple[str, Callable[[Path], object], str]] = [
    ("without permissions", lambda path: path.chmod(0), "access.yaml cannot be opened for reading"),
    ("in a folder without permissions", lambda path: path.parent.chmod(0), "access.yaml cannot be opened for reading"),
    (
        "a link",
        lambda path: path.rename(path.with_name("a")) and path.symlink_to("a"),
        "access.yaml is a symbolic link",
    ),
    ("a pipe", lambda path: path.unlink() or os.mkfifo(path), "access.yaml is not a regular file"),
    ("of everybody", lambda path: path.chmod(0o666), "the file may be written by everybody"),
]


@pytest.mark.long
@pytest.mark.parametrize(("why", "spoil", "said"), UNREADABLE, ids=[row[0] for row in UNREADABLE])
def test_it_does_not_start_with_tokens_that_do_not_count(
    tmp_path: Path, why: str, spoil: Callable[[Path], object], said: str
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "access.yaml").write_text(GOOD)
    spoil(store / "access.yaml")
    done = run_app(store, "--host", "0.0.0.0", "--port", "0", as_root=False)
    store.chmod(0o700)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert len(list(store.iterdir())) <= 2, "nothing was begun"


@pytest.mark.parametrize(("why", "given"), [("the environment says so", "yes"), ("access.yaml says so", "no")])
def test_everybody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, given: str) -> None:
    monkeypatch.setattr("store.access.peers.Peers.find_uid", lambda *_given: OWN_UID)
    with serving(tmp_path / "store", "embedded", SLUICE_ALWAYS_ASK=given) as client:
        path = client.store / "access.yaml"
        if given == "no":
            assert ask(client) == 200
            path.write_text(path.read_text() + "always_ask: true\n")
        eventually(lambda: ask(client) == 401)
        assert client.get("/api/workflows", token="read").status_code == 200
        assert client.get("/nowhere", token=None, judged=False).status_code == 401
        assert client.get("/health", token=None).status_code == 200
        assert "every call needs a token" in describe_server(client.server)[0]


@pytest.mark.parametrize(
    ("why", "given", "begins"),
    [
        ("no token is needed", {}, None),
        ("everybody is asked", {"SLUICE_ALWAYS_ASK": "yes"}, "http://127.0.0.1:8000/#/?code="),
        ("others reach it", {"SLUICE_HOST": "0.0.0.0"}, f"http://{socket.gethostname()}:8000/#/?code="),
        ("behind a prefix", {"SLUICE_HOST": "::1", "SLUICE_ROOT_PATH": "/slurm", "SLUICE_ALWAYS_ASK": "yes"},
         "http://[::1]:8000/slurm/#/?code="),
        ("the log is gathered", {"SLUICE_ALWAYS_ASK": "yes", "SLUICE_LOG_FORMAT": "json"}, None),
    ],
)  # fmt: skip
def test_the_link_is_printed_where_a_token_is_needed(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    why: str,
    given: dict[str, str],
    begins: str | None,
) -> None:
    with caplog.at_level("DEBUG"), serving(tmp_path / "store", "embedded", **given):
        printed = [line for line in capfd.readouterr().err.splitlines() if "?code=" in line]
    assert len(printed) == (begins is not None), why
    assert all(line.startswith(f"sign in, once and within an hour: {begins}") and " " not in line[-40:]
               for line in printed)  # fmt: skip
    assert "code=" not in caplog.text, "it is a secret"


def ask(client: Client) -> int:
    """The status for the server's own user without a token."""
    answer = client.get("/api/workflows", token=None)
    assert answer.status_code != 401 or "asks everybody for a token" in answer.json()["detail"]
    return int(answer.status_code)

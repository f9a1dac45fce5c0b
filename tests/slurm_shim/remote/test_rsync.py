"""The words of rsync, what it writes, and why it ended; pure, but for programs that stand in for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slurm_shim.errors import SyncFailed
from slurm_shim.remote import reasons, rsync, ssh
from slurm_shim.remote.rsync import (
    Folders,
    Progress,
    Transfer,
    build_argv,
    explain_failure,
    parse_change,
    unescape_name,
)

LOGIN = ssh.Login("login.example.org", "me", key_filename="/home/me/it's a key")


# --- what is asked ---------------------------------------------------------------------------------------------------


def test_the_words_of_a_sync() -> None:
    words = build_argv(Folders("/here/", "/over there", ["*.ckpt", "-x"]), ssh.build_options(LOGIN), LOGIN.host)
    assert words[-3:] == ["--", "/here/", "login.example.org:/over there/"]
    assert "-s" in words and "--safe-links" in words and "--delete" not in words and "--dry-run" not in words
    assert {"--exclude=.*", "--exclude=node_modules/", "--exclude=*.ckpt", "--exclude=-x"} <= set(words)
    shell = words[words.index("-e") + 1]
    assert (
        shell.startswith("ssh ")
        and "'IdentityFile=\"/home/me/it''s a key\"'" in shell
        and "StrictHostKeyChecking=yes" in shell
    )
    assert build_argv(Folders("/a", "/b"), ["ssh"], "::1")[-1] == "[::1]:/b/"
    assert build_argv(Folders("/", "/"), ["ssh"], "h")[-2:] == ["/", "h:/"]


def test_deleting_and_only_looking_are_asked_for() -> None:
    words = build_argv(Folders("/a", "/b"), ["ssh"], "h", delete=True, dry_run=True)
    assert {"--delete", "--dry-run"} <= set(words) and words.index("--delete") < words.index("--")


@pytest.mark.parametrize(
    ("why", "given"),
    [
        ("a host in the local path", ("host:/a", "/b", [])),
        ("an option", ("-a", "/b", [])),
        ("the other side's home", ("/a", "~/b", [])),
        ("a second line", ("/a", "/b\n", [])),
        ("a NUL", ("/a\0", "/b", [])),
        ("a pattern of two lines", ("/a", "/b", ["x\ny"])),
        ("a pattern of nothing", ("/a", "/b", [""])),
    ],
)
def test_folders_that_are_no_words(why: str, given: tuple[str, str, list[str]]) -> None:
    with pytest.raises(ValueError, match=r"path|pattern"):
        Folders(*given)


def split_as_rsync(command: str) -> list[str]:
    """The words that rsync makes of its --rsh: blanks part them but in quotes, a doubled quote in quotes is one."""
    words, word, quote, at = [], "", "", 0
    while at < len(command):
        char = command[at]
        if quote:
            if char == quote and command[at + 1 : at + 2] == quote:
                word, at = word + quote, at + 1
            elif char == quote:
                quote = ""
            else:
                word += char
        elif char in "'\"":
            quote = char
        elif char == " ":
            words.append(word)
            word = ""
        else:
            word += char
        at += 1
    return [*words, word]


@given(st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1), min_size=1))
def test_a_word_of_ssh_stays_one_word(words: list[str]) -> None:
    assert split_as_rsync(" ".join(map(rsync._quote_word, words))) == words


# --- what it writes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "line", "found"),
    [
        ("a new file", "<f+++++++++ 12 a/b", ("a/b", "file", "create", 12)),
        ("a changed file", "<f.st...... 3,000 big", ("big", "file", "update", 3000)),
        ("only its mode", ".f...p..... 1 run.sh", ("run.sh", "file", "update", 1)),
        ("to this machine", ">f+++++++++ 1 x", ("x", "file", "create", 1)),
        ("a new folder", "cd+++++++++ 4096 d/", ("d", "directory", "create", None)),
        ("the root itself", "cd+++++++++ 4096 ./", (".", "directory", "create", None)),
        ("a new link", "cL+++++++++ 4 latest", ("latest", "symlink", "create", None)),
        ("a link to elsewhere", "cLc.t...... 4 latest", ("latest", "symlink", "update", None)),
        ("a file to be deleted", "*deleting   0 old.py", ("old.py", "file", "delete", None)),
        ("a folder to be deleted", "*deleting   0 old/", ("old", "directory", "delete", None)),
        ("a newline in the name", "<f+++++++++ 1 a\\#012b", ("a\nb", "file", "create", 1)),
        ("blanks around the name", "<f+++++++++ 1  a ", (" a ", "file", "create", 1)),
        ("a name like an arrow", "<f+++++++++ 1 a -> b", ("a -> b", "file", "create", 1)),
        ("no UTF-8 in it", "<f+++++++++ 1 a\\#377", ("a\ufffd", "file", "create", 1)),
    ],
)
def test_a_change(why: str, line: str, found: tuple[Any, ...]) -> None:
    assert parse_change(line) == dict(zip(("path", "type", "change", "size"), found, strict=True))


@pytest.mark.parametrize("line", [".d..t...... 4096 ./", "", 'skipping non-regular file "pipe"', "sent 1 bytes", "<f"])
def test_what_is_no_change(line: str) -> None:
    assert parse_change(line) is None


@given(st.binary(min_size=1))
def test_a_name_of_any_bytes_comes_back(name: bytes) -> None:
    """As rsync writes it in the C locale: what is not printable as an escape, and a backslash where it could be one."""
    written = "".join(
        f"\\#{byte:03o}" if byte < 32 or byte > 126 or (byte == 92 and name[at + 1 : at + 2] == b"#") else chr(byte)
        for at, byte in enumerate(name)
    )
    assert unescape_name(written) == name.decode("utf-8", "replace")


LINES = (
    "\r             32   0%    0.00kB/s    0:00:00  \r      3000003  99%  357.63MB/s    0:00:01 (xfr#5, to-chk=2/10)\n"
)


@given(st.lists(st.integers(0, len(LINES)), max_size=8))
def test_progress_however_it_is_cut(cuts: list[int]) -> None:
    progress, at = Progress(), 0
    for cut in [*sorted(cuts), len(LINES)]:
        progress.feed(LINES[at:cut])
        at = cut
    assert (progress.percent, progress.size_bytes, progress.rate_bytes_s) == (99, 3_000_003, int(357.63 * 2**20))
    assert (progress.files_done, progress.files_total, progress.changes) == (8, 10, [])


@given(st.text())
def test_progress_of_anything(text: str) -> None:
    progress = Progress()
    progress.feed(text)
    progress.feed("\n~change~ <f+++++++++ 7 x\n")
    assert {"path": "x", "type": "file", "change": "create", "size": 7} in progress.changes
    assert 0 <= progress.percent <= 100


def test_changes_beyond_the_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rsync, "CHANGES", 3)
    progress = Progress()
    for at in range(5):
        progress.feed(f"~change~ *deleting   0 {at}\n")
    assert progress.counts == {"create": 0, "update": 0, "delete": 5} and len(progress.changes) == 3


# --- why it ended ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "stderr", "code", "said"),
    [
        ("nothing said", "", 12, "rsync ended with exit code 12"),
        ("only the summary", "rsync error: error in file IO (code 11)\n", 11, "rsync ended with exit code 11"),
        ("over there", 'rsync: [Receiver] mkdir "/x" failed: No space (28)\n', 11, 'mkdir "/x" failed: No space (28)'),
        ("older ones say no role", 'rsync: mkdir "/x" failed: No (2)\n', 11, 'mkdir "/x" failed: No (2)'),
        ("here", 'rsync: [sender] opendir "/home/me/ml/a" failed: No (13)\n', 23, 'opendir "a" failed: No (13)'),
        ("the folder here", "rsync: change_dir /home/me/ml failed: No (2)\n", 23,
         "change_dir the mount's folder failed: No (2)"),
        ("ssh", "ssh: connect to host h port 22: Connection refused\nrsync: connection unexpectedly closed (0)\n", 255,
         "connect to host h port 22: Connection refused (nothing listens there: check the host and the port)"),
        ("start files that print", "protocol version mismatch -- is your shell clean?\nrsync error: x (code 2)\n", 2,
         "the start files of the account (.bashrc, .cshrc) print something: let them do so only where somebody types"),
        ("ssh, but rsync saw the end first",
         "@@@\n@ WARNING @\nHost key for h has changed and you have requested strict checking.\n"
         "rsync: connection unexpectedly closed (0 bytes received so far) [sender]\n", 12,
         reasons.explain_host_key("Host key for h has changed and you have requested strict checking.")),
        ("no rsync there", "bash: line 1: rsync: command not found\nrsync: connection unexpectedly closed (0)\n", 12,
         "bash: line 1: rsync: command not found"),
        ("the same twice", "rsync: a\nrsync: a\n", 23, "a"),
        ("many", "".join(f"rsync: {at}\n" for at in range(9)), 23, "0; 1; 2; and 6 more"),
    ],
)  # fmt: skip
def test_why_it_ended(why: str, stderr: str, code: int, said: str) -> None:
    assert explain_failure(stderr, code, "/home/me/ml/") == said


@given(st.text(), st.integers(-20, 255))
@example("\r", 255)
def test_a_reason_never_tells_where_the_mount_is(text: str, code: int) -> None:
    explanation = explain_failure(f"rsync: open {text}/secret/place/{text}\n" * 3, code, "/secret/place")
    assert "/secret/place" not in explanation and explanation and len(explanation) < 2000


# --- how it is run ---------------------------------------------------------------------------------------------------


def stand_in(folder: Path, script: str) -> str:
    """A PATH on which rsync is this script."""
    folder.mkdir()
    (folder / "rsync").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "rsync").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_not_installed(tmp_path: Path) -> None:
    with pytest.raises(SyncFailed, match="not installed"):
        Transfer(["rsync"], "/x", path=str(tmp_path)).run()


def test_not_to_be_started(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin", "")
    (tmp_path / "bin" / "rsync").write_bytes(b"\x7fELF nothing")
    with pytest.raises(SyncFailed, match=r"could not be started|exit code"):
        Transfer(["rsync"], "/x", path=str(tmp_path / "bin")).run()


@pytest.mark.parametrize(("code", "fine"), [(0, True), (24, True), (23, False), (1, False), (255, False)])
def test_exit_codes(tmp_path: Path, code: int, fine: bool) -> None:
    """24 says that files vanished here while they were read: everything that is there was brought over."""
    transfer = Transfer(["rsync"], "/x", path=stand_in(tmp_path / "bin", f"echo 'rsync: said' >&2; exit {code}"))
    if fine:
        assert transfer.run().percent == 100
    else:
        with pytest.raises(SyncFailed, match="said"):
            transfer.run()
        assert transfer.progress.percent == 0


def test_the_environment_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSYNC_RSH", "something else")
    monkeypatch.setenv("SLUICE_SECRET", "s")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    script = f"env > {tmp_path}/env; cat > {tmp_path}/stdin"
    Transfer(["rsync"], "/x", path=stand_in(tmp_path / "bin", script)).run()
    environment = (tmp_path / "env").read_text()
    assert (
        "RSYNC_RSH" not in environment
        and "SLUICE" not in environment
        and "LC_ALL=C\n" in environment
        and "SSH_AUTH_SOCK=/agent" in environment
    )
    assert (tmp_path / "stdin").read_text() == ""


def test_nothing_of_much_is_lost(tmp_path: Path) -> None:
    script = "seq 30000 | sed 's/^/~change~ <f+++++++++ 1 /'"
    progress = Transfer(["rsync"], "/x", path=stand_in(tmp_path / "bin", script)).run()
    assert progress.counts["create"] == 30_000 and progress.changes[-1]["path"] == "10000"


def test_one_that_is_told_to_stop_takes_its_children_along(tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/self; trap '' TERM; wait; wait; sleep 300"
    transfer = Transfer(["rsync"], "/x", path=stand_in(tmp_path / "bin", script))
    problems: list[str] = []

    def run() -> None:
        try:
            transfer.run()
        except SyncFailed as problem:
            problems.append(str(problem))

    runner = threading.Thread(target=run)
    runner.start()
    while not (tmp_path / "self").exists() or not (tmp_path / "self").read_text().strip():
        time.sleep(0.01)
    transfer.stop("the server has ended")
    transfer.stop("a second reason counts nothing")
    runner.join(300)
    assert problems == ["rsync failed: the server has ended"]
    for name in ("child", "self"):
        pid = (tmp_path / name).read_text().strip()
        assert not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text()


def test_one_that_was_stopped_before_it_began(tmp_path: Path) -> None:
    transfer = Transfer(["rsync"], "/x", path=stand_in(tmp_path / "bin", f"touch {tmp_path}/ran"))
    transfer.stop("too late")
    with pytest.raises(SyncFailed, match="too late"):
        transfer.run()
    assert not (tmp_path / "ran").exists()


def test_one_that_takes_too_long(tmp_path: Path) -> None:
    with pytest.raises(SyncFailed, match=r"not done within 0\.2 s"):
        Transfer(["rsync"], "/x", path=stand_in(tmp_path / "bin", "exec sleep 300")).run(longest_s=0.2)


def test_progress_is_seen_while_it_goes_on(tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"printf '\\r  5  42%%  1.00MB/s  0:00:09  '; while [ ! -e {go} ]; do sleep 0.02; done"
    transfer = Transfer(["rsync"], "/x", path=stand_in(tmp_path / "bin", script))
    runner = threading.Thread(target=transfer.run)
    runner.start()
    try:
        until = time.monotonic() + 120
        while transfer.progress.percent != 42 and time.monotonic() < until:
            time.sleep(0.01)
        assert (transfer.progress.percent, transfer.progress.rate_bytes_s) == (42, 2**20)
    finally:
        go.touch()
        runner.join()
    assert transfer.progress.percent == 100

"""The forms of the log."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from store.config.log_format import MOST_KINDS, JsonFormatter, Throttle, set_up_log


def test_an_entry_is_one_line_of_json_whatever_is_in_it() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        record = logging.LogRecord("sluice", logging.ERROR, "", 0, "run %s: %s", ("a\nb", "\udc80"), sys.exc_info())
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert (found["level"], found["logger"], found["message"]) == ("error", "sluice", "run a\nb: \udc80")
    assert found["exception"].startswith("Traceback") and found["exception"].endswith("ValueError: first\nsecond")
    assert found["time"].endswith("Z")


def test_lines_of_a_kind_come_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("store.config.log_format.time.monotonic", lambda: now[0])
    throttle = Throttle()
    assert [throttle.admit(kind) for kind in ("a", "a", "b", "a")] == [True, False, True, False]
    now[0] += 60
    assert throttle.admit("a")
    assert all(throttle.admit(number) for number in range(3 * MOST_KINDS))
    assert len(throttle._kinds) <= MOST_KINDS


def test_others_say_the_same_once(capsys: pytest.CaptureFixture[str]) -> None:
    set_up = logging.root.handlers[:], logging.root.level
    set_up_log("info", "plain")
    try:
        for number in range(100):
            logging.getLogger("a.server").warning("Invalid HTTP request received.")
            logging.getLogger("a.server").warning("closed by %s", number)
            logging.getLogger("sluice").warning("ours")
    finally:
        logging.root.handlers, logging.root.level = set_up
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "a.server" in line] == [
        "WARNING a.server: Invalid HTTP request received.",
        "WARNING a.server: closed by 0",
    ]
    assert said.count("WARNING sluice: ours") == 100, "these have throttles of their own where anybody can cause them"

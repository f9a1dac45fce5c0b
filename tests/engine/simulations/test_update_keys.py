"""Where tasks reach the server, and how long their keys count."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine.simulations import update_keys
from store.config.settings import Settings
from store.documents import BatchOptions, Config, Simulation
from store.documents.configuration import YaptideConfig

HOURS = [
    ("the real YAPTIDE's default", {"time": "00:59:59"}, 3599),
    ("minutes, as SLURM has it", {"time": "90"}, 5400),
    ("days", {"time": "1-12"}, 129_600),
    ("none", {}, None),
    ("no end", {"time": "unlimited"}, None),
]


@pytest.mark.parametrize(("why", "options", "longest_s"), HOURS, ids=[row[0] for row in HOURS])
def test_how_long_a_task_may_take(why: str, options: dict[str, Any], longest_s: float | None) -> None:
    times = {"run_id": "r", "created_at": "2026-11-21T16:39:17Z"}
    simulation = Simulation(
        id="s", owner="o", platform="BATCH", sim_type="dummy", input_type="FILES", **times,
        options=BatchOptions(array=options),
    )  # fmt: skip
    assert update_keys.find_longest_s(simulation) == longest_s


URLS: list[tuple[str, str, dict[str, Any], str | None, str | None]] = [
    ("on this machine", "embedded", {}, None, "http://127.0.0.1:8123"),
    ("below a prefix", "embedded", {"root_path": "/slurm"}, None, "http://127.0.0.1:8123/slurm"),
    ("on every address", "embedded", {"host": "0.0.0.0"}, None, "http://127.0.0.1:8123"),
    ("on every address of IPv6", "embedded", {"host": "::"}, None, "http://127.0.0.1:8123"),
    ("on IPv6's loopback", "embedded", {"host": "::1"}, None, "http://[::1]:8123"),
    ("on one address", "embedded", {"host": "192.0.2.7"}, None, "http://192.0.2.7:8123"),
    ("by a certificate that tasks do not trust", "embedded", {"tls_cert": "cert.pem"}, None, None),
    ("under another program", "embedded", {"port": 8000}, None, None),
    ("nodes are other machines", "local", {}, None, None),
    ("over SSH", "ssh:far:c", {}, None, None),
    ("as configured, over SSH", "ssh:far:c", {}, "https://sluice.example/slurm/", "https://sluice.example/slurm"),
    ("as configured, here", "embedded", {}, "http://login1:8000", "http://login1:8000"),
]


@pytest.mark.parametrize(("why", "cluster", "settings", "configured", "url"), URLS, ids=[row[0] for row in URLS])
def test_the_url_for_reports(
    why: str, cluster: str, settings: dict[str, Any], configured: str | None, url: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SLUICE_PORT", "8123")
    server: Any = SimpleNamespace(
        settings=Settings(**{"port": 8123, **settings}),
        store=SimpleNamespace(config=Config(yaptide=YaptideConfig(report_url=configured))),
        clusters=SimpleNamespace(find_label=lambda name: name),
    )
    assert update_keys.find_report_url(server, cluster) == url


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x y", "http://x/\n", "http://user:word@x", "x"])
def test_a_report_url_that_is_none(url: str) -> None:
    with pytest.raises(ValueError):
        YaptideConfig(report_url=url)

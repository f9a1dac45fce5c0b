"""`kill -9` of the server around a notification: what was written is sent, and what was sent is not lost or doubled."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app_server import Server
from tests.receiver import Receiver
from tests.waiting import eventually

pytestmark = pytest.mark.long

KILLS = 12 if os.environ.get("CI") == "true" else 4
JOBS = 4
LONGEST_LIFE_S = 2.0
CONFIG = """\
cluster: {{nodes: 2, cpus: 8, memory_mb: 16000, gpus: 0}}
poll: {{min_s: 1, max_s: 1}}
webhooks: {{deliver: {deliver}, allow_hosts: [localhost]}}
"""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver on this machine."""
    made = Receiver(tmp_path)
    yield made
    made.close()


@pytest.fixture
def server(tmp_path: Path, receiver: Receiver) -> Iterator[Server]:
    """A server that trusts the receiver."""
    made = Server(tmp_path / "store", "embedded", SSL_CERT_FILE=str(receiver.authority))
    configure(made, deliver=True)
    try:
        yield made
    finally:
        if made.process is None:
            made.start()
        made.close()


def configure(server: Server, deliver: bool) -> None:
    (server.store / "config.yaml").write_text(CONFIG.format(deliver=str(deliver).lower()))


def endpoint(server: Server, url: str) -> int:
    body = {"kind": "webhook", "name": "own", "config": {"webhook_url": url}}
    return int(server.http.post("/api/endpoints", json=body).json()["id"])


def submit(server: Server, number: int, key: str) -> httpx.Response:
    body = {"name": key, "script_content": "#!/bin/bash\ntrue\n", "notify": True, "endpoint_id": number}
    return server.http.post("/api/jobs", json=body, headers={"Idempotency-Key": key})


def list_deliveries(server: Server, *statuses: str) -> list[dict[str, Any]]:
    """List the deliveries, if there are some and all are in these states."""
    found: list[dict[str, Any]] = server.http.get("/api/deliveries").json()
    return found if found and all(delivery["status"] in statuses for delivery in found) else []


def test_killed_between_writing_and_sending(server: Server, receiver: Receiver) -> None:
    configure(server, deliver=False)
    server.start()
    number = endpoint(server, f"{receiver.url}/ok")
    assert submit(server, number, "one").status_code == 201
    eventually(lambda: list_deliveries(server, "pending"), 40)
    server.end(signal.SIGKILL)
    assert receiver.connections == 0
    configure(server, deliver=True)
    server.start()
    eventually(lambda: list_deliveries(server, "delivered"), 40, server.log())
    server.end(signal.SIGKILL)
    server.start()
    assert len(list_deliveries(server, "delivered")) == 1 == len(receiver.got)


def test_killed_between_sending_and_recording(server: Server, receiver: Receiver) -> None:
    """Nobody can know whether it was taken: it goes out again under the same key, by which a receiver drops it."""
    server.start()
    number = endpoint(server, f"{receiver.url}/held")
    assert submit(server, number, "one").status_code == 201
    eventually(lambda: receiver.got, 40, server.log())
    assert [delivery["worker_id"] is not None for delivery in list_deliveries(server, "sending")] == [True]
    server.end(signal.SIGKILL)
    receiver.release.set()
    server.start()
    delivery = eventually(lambda: list_deliveries(server, "pending"), 40, server.log())[0]
    assert delivery["attempt_count"] == 1 and "server ended" in delivery["last_error"]
    # The pause is a line in a file like everything else.
    file = server.store / "deliveries" / f"{delivery['id']}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "next_attempt_at": "2020-01-01T00:00:00Z"}))
    done = eventually(lambda: list_deliveries(server, "delivered"), 40, server.log())
    assert [(delivery["attempt_count"], delivery["last_error"]) for delivery in done] == [(2, None)]
    assert list(receiver.count_events().items()) == [(delivery["idempotency_key"], 2)]


def test_an_orderly_end_waits_for_what_is_on_its_way(server: Server, receiver: Receiver) -> None:
    server.start()
    number = endpoint(server, f"{receiver.url}/held")
    assert submit(server, number, "one").status_code == 201
    eventually(lambda: receiver.got, 40, server.log())
    threading.Timer(0.5, receiver.release.set).start()
    server.end()
    server.start()
    assert [delivery["attempt_count"] for delivery in list_deliveries(server, "delivered")] == [1]
    assert len(receiver.got) == 1


def test_kill_at_random_points(server: Server, receiver: Receiver) -> None:
    seed = int(os.environ.get("SLUICE_CRASH_SEED", random.randrange(2**32)))
    chance = random.Random(seed)
    server.start()
    number = endpoint(server, f"{receiver.url}/ok")
    server.end(signal.SIGKILL)
    keys = [f"job-{at}" for at in range(JOBS)]
    for _ in range(KILLS):
        server.start(ready=False)
        assert server.process is not None
        killer = threading.Timer(chance.uniform(0.3, LONGEST_LIFE_S), server.process.send_signal, [signal.SIGKILL])
        killer.start()
        while server.process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                submit(server, number, chance.choice(keys))
        killer.join()
    server.start()
    assert [submit(server, number, key).status_code for key in keys] == [201] * JOBS, seed
    done = eventually(
        lambda: (found := list_deliveries(server, "delivered")) and len(found) >= JOBS and found, 60, server.log()
    )
    refs = {f"job:local:{row['job_id']}" for row in server.http.get("/api/history").json()}
    assert len(refs) == JOBS
    assert sorted(delivery["event"]["target_ref"] for delivery in done) == sorted(refs), seed
    assert set(receiver.count_events()) == {delivery["idempotency_key"] for delivery in done}, seed
    eventually(lambda: server.http.get("/api/watches").json() == [], 40, "all watches are closed")

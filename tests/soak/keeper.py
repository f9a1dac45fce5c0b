"""The server of a soak: killed at random and started again, its callers let through or held."""

from __future__ import annotations

import random
import signal
import threading
import time

from tests.app_server import Server
from tests.soak.findings import Findings
from tests.waiting import eventually

# How long a server lives, how long it is away, and how soon one is killed that is to die while it starts.
LIFE_S = (3.0, 25.0)
AWAY_S = (0.0, 2.0)
BIRTH_S = (0.1, 1.5)


class Keeper:
    """A server that comes and goes; `life` counts its processes, `up` is set while it must answer.

    Callers work while `flow` is set, and end when `over` is.
    """

    def __init__(self, server: Server, findings: Findings, chance: random.Random) -> None:
        self.server, self.findings, self.chance = server, findings, chance
        self.life = 0
        self.up, self.flow, self.over = threading.Event(), threading.Event(), threading.Event()

    def start(self) -> None:
        """Start the server, and wait until it answers and has heard of its cluster."""
        self.server.start()
        eventually(lambda: self.server.http.get("/health").json()["slurm"]["answers"], 60, "the cluster answers")
        self.up.set()

    def end(self, how: int) -> None:
        """End the server by this signal; what is asked meanwhile may stay without an answer."""
        assert self.server.process is not None
        if self.server.process.poll() is not None:
            self.findings.add("wrong", "the server ended by itself, see its log")
        self.up.clear()
        self.life += 1
        self.findings.count(signal.Signals(how).name)
        self.server.end(how)

    def torment(self, seconds: float) -> None:
        """End and start the server at random for so long; it serves afterwards."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, self.chance.uniform(*LIFE_S)))
            self.end(self.chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
            time.sleep(self.chance.uniform(*AWAY_S))
            if self.chance.random() < 0.3:
                self.server.start(ready=False)
                time.sleep(self.chance.uniform(*BIRTH_S))
                self.end(signal.SIGKILL)
            self.start()

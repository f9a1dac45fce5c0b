"""What tasks of open simulations have said of themselves, in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from store.disk.entries import FileEntry
from store.rules.simulations.states import TaskReport

# How often reports are read while somebody looks, and else; and for how long somebody who asked is looking.
LOOKED_AT_S, UNSEEN_S, LOOKING_S = 2.0, 15.0, 12.0


@dataclass
class KnownReports:
    """What is known of the tasks of one simulation.

    `file_states` by name, `final` are tasks whose report was read after SLURM had said how they ended.
    """

    reports: dict[int, TaskReport] = field(default_factory=dict)
    file_states: dict[str, str] = field(default_factory=dict)
    final: set[int] = field(default_factory=set)
    read_at: float = float("-inf")
    asked_at: float = float("-inf")


class TaskReports:
    """The reports of all open simulations. `clock` is for tests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.known: dict[str, KnownReports] = {}

    def follow(self, simulation_id: str, _old: FileEntry | None, new: FileEntry | None) -> None:
        """Forget what is known of a simulation that is open no more."""
        if new is None or not new.facts.open:
            self.known.pop(simulation_id, None)

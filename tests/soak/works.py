"""What a soak has asked for, and what its jobs wrote down of themselves: the truth that Sluice is held to."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Each job writes when it begins and how it ends, under its id, into a ledger of its own.
SCRIPT = """\
#!/bin/bash
echo "of {key}"
echo "begin $SLURM_JOB_ID" >> {ledger}
sleep {sleep_s}
echo "end $SLURM_JOB_ID {code}" >> {ledger}
exit {code}
"""
# The second job fails once, and is tried again.
WORKFLOW = """\
name: two
args: {key: none, ledger: /nowhere, sleep_s: 0, code: 0}
jobs:
  - name: a
    command: |
      at={{ ledger }}/{{ key }}.a
      echo "begin $SLURM_JOB_ID" >> $at
      sleep {{ sleep_s }}
      echo "end $SLURM_JOB_ID 0" >> $at
  - name: b
    depends_on: [a]
    retry: 1
    retry_delay: 0
    command: |
      at={{ ledger }}/{{ key }}.b
      echo "begin $SLURM_JOB_ID" >> $at
      code={{ code }}
      if [ $(wc -l < $at) = 1 ]; then code=5; fi
      echo "end $SLURM_JOB_ID $code" >> $at
      exit $code
"""
# People edit its number.
EDITED = "name: edited\nargs: {{number: {number}}}\njobs:\n  - {{name: a, command: 'echo {{{{ number }}}}'}}\n"
# Its number is counted up.
COUNTED = {"name": "counted", "content": "echo 0\n", "description": "A number", "use_case": "Several edit it"}
OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "completed", "failed", "cancelled"}
CELLS = ("x", "y", "z")


@dataclass
class Work:
    """One request, repeated under its key until it is answered; `id` is what the answer named."""

    kind: str  # job, run, sweep, or inbox: a run that a file asked for
    key: str
    path: str
    body: dict[str, Any]
    code: int = 0  # how its last job exits
    id: Any = None
    cancel: bool = False  # it sleeps until somebody cancels it
    cancelled: bool = False  # the cancelling was answered
    over: bool = False
    status: str = ""  # how it ended, as Sluice says


@dataclass
class Book:
    """All works, the folder of the ledgers, and how far a number was counted up that several edit."""

    ledgers: Path
    works: list[Work] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    counted: int = 0
    counted_perhaps: int = 0  # of these nobody knows, since the answer did not come

    def add(self, work: Work) -> Work:
        """Note a work before it is asked for."""
        with self.lock:
            self.works.append(work)
        return work

    def list_open(self) -> list[Work]:
        """List the works whose end was not seen yet."""
        return [work for work in self.works if not work.over]

    def read(self, name: str) -> list[list[str]]:
        """Read what the job of this name wrote: words, line by line."""
        path = self.ledgers / name
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

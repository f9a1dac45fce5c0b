"""The functions of os, with faults that a test decides on."""

from __future__ import annotations

import os
import threading
from typing import Any

CALLS = (
    "open",
    "write",
    "fsync",
    "fstat",
    "close",
    "rename",
    "link",
    "unlink",
    "mkdir",
    "ftruncate",
    "pwrite",
    "rmdir",
)


class Faulty:
    """The functions of os; what `decide(number, call)` gives (an errno, or nothing) happens in place of the call."""

    def __init__(self, decide: Any = lambda number, call: None) -> None:
        self.decide = decide
        self.calls: list[str] = []
        self.lock = threading.Lock()  # several threads wait for the disk

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.lock:
                self.calls.append(name)
                fault = self.decide(len(self.calls), name)
            if fault:
                if name == "close":
                    real(*args, **kwargs)
                raise OSError(fault, os.strerror(fault))
            return real(*args, **kwargs)

        return call

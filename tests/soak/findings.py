"""What a soak counts: answers by status, and what must not be, by kind."""

from __future__ import annotations

import threading
from collections import Counter

KINDS = ("lost", "doubled", "wrong", "5xx", "cut off", "leaked")
NOTES_PER_KIND = 10


class Findings:
    """Counters that any thread adds to, with the first words of each kind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.notes: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self.lock = threading.Lock()

    def add(self, kind: str, note: str) -> None:
        """Count what must not be."""
        with self.lock:
            self.counts[kind] += 1
            if len(self.notes[kind]) < NOTES_PER_KIND:
                self.notes[kind].append(note)

    def count(self, answer: str) -> None:
        """Count an answer, or why there was none."""
        with self.lock:
            self.answers[answer] += 1

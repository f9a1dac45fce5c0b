"""What a measurement says: figures beside what is bare, each with its target."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

HEAD = f"{'':<48} {'ours':>14} {'bare':>14} {'ratio':>7} {'target':>8}"


@dataclass(frozen=True)
class Figure:
    """One row of `just bench`.

    `ours` and `bare` are in `unit`, measured in turn in one run; without `bare` the target is for `ours` itself.
    `target` is the least that is wanted, or with `is_most` the most; None where there is only something to see.
    """

    title: str
    unit: str
    ours: float
    bare: float | None = None
    target: float | None = None
    is_most: bool = False
    note: str = ""

    @property
    def value(self) -> float:
        """What the target is held against: the ratio where there is something to compare with."""
        return self.ours if self.bare is None else self.ours / self.bare

    @property
    def is_met(self) -> bool:
        """Whether the target is met, as everything is that has none."""
        if self.target is None:
            return True
        return self.value <= self.target if self.is_most else self.value >= self.target

    def format_row(self) -> str:
        """Format it as a row: title, ours, bare, ratio, target."""
        bare = "" if self.bare is None else f"{_format(self.bare)} {self.unit}"
        ratio = "" if self.bare is None else f"{self.value:.2f}"
        target = "" if self.target is None else f"{'≤' if self.is_most else '≥'} {self.target:g}"
        mark = "" if self.is_met else "  missed"
        return (
            f"{self.title:<48} {_format(self.ours) + ' ' + self.unit:>14} {bare:>14} {ratio:>7} {target:>8}{mark}"
            f"{'  ' + self.note if self.note else ''}"
        ).rstrip()


@dataclass(frozen=True)
class Bench:
    """What `just bench NAME` measures: figures that come one by one, in an empty folder of its own."""

    name: str
    what: str
    measure: Callable[[Path], Iterable[Figure]]


def _format(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"

"""Simulations as lists need them: whose they are, how far, and when.

The index follows the documents; it is never stored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from store.documents import Simulation
from store.times import to_epoch

DAY_S = 86_400


class SimulationFacts(NamedTuple):
    """What lists and retention need of a simulation.

    `open` says whether the server still has something to do with it. Times are epoch seconds.
    """

    open: bool
    owner: str
    state: str
    title: str
    platform: str
    sim_type: str
    input_type: str
    cluster: str
    run_id: str
    created: float
    ended: float | None


def build_facts(simulation: Simulation) -> SimulationFacts:
    """Return the facts of a simulation."""
    return SimulationFacts(
        simulation.settled_at is None,
        simulation.owner,
        simulation.state,
        simulation.title,
        simulation.platform,
        simulation.sim_type,
        simulation.input_type,
        simulation.cluster,
        simulation.run_id,
        _parse_time(simulation.created_at) or 0.0,
        _parse_time(simulation.ended_at),
    )


def restore_facts(row: list[Any]) -> SimulationFacts:
    """Return the facts that were turned to JSON in the meantime."""
    return SimulationFacts._make(row)


def _parse_time(text: str | None) -> float | None:
    """Return epoch seconds; None also for text that is not a time."""
    try:
        return to_epoch(text)
    except (ValueError, OverflowError):
        return None  # somebody has edited the file


class SimulationIndex:
    """All simulations by owner and by run."""

    def __init__(self) -> None:
        self._by_owner: dict[str, dict[str, SimulationFacts]] = {}
        self._by_run: dict[str, str] = {}

    def follow(self, simulation_id: str, old: SimulationFacts | None, new: SimulationFacts | None) -> None:
        """Follow a simulation that was made, changed or deleted."""
        if old is not None:
            own = self._by_owner[old.owner]
            own.pop(simulation_id, None)
            if not own:
                del self._by_owner[old.owner]
            self._by_run.pop(old.run_id, None)
        if new is not None:
            self._by_owner.setdefault(new.owner, {})[simulation_id] = new
            self._by_run[new.run_id] = simulation_id

    def find_by_run(self, run_id: str) -> str | None:
        """Find the simulation that has this run."""
        return self._by_run.get(run_id)

    def count_open(self, owner: str) -> int:
        """Count the owner's simulations that are still at work."""
        return sum(facts.open for facts in self._by_owner.get(owner, {}).values())

    def has_owner(self, owner: str) -> bool:
        """Return whether there are simulations of this owner."""
        return owner in self._by_owner

    def list_ordered(
        self,
        owner: str | None,
        order_by: str = "start_time",
        is_descending: bool = True,
        states: Collection[str] = (),
    ) -> list[tuple[str, SimulationFacts]]:
        """List an owner's simulations, or with None those of all.

        `order_by` is start_time or end_time; what has not ended comes after all that has. No `states` are all states.
        """
        found = [
            (simulation_id, facts)
            for simulation_id, facts in self._iterate(owner)
            if not states or facts.state in states
        ]

        def find_place(row: tuple[str, SimulationFacts]) -> tuple[float, float, str]:
            simulation_id, facts = row
            ended = float("inf") if facts.ended is None else facts.ended
            return (ended if order_by == "end_time" else facts.created), facts.created, simulation_id

        return sorted(found, key=find_place, reverse=is_descending)

    def list_expired(self, age_days: float | None, count: int | None, now: float) -> list[str]:
        """List the ids of those that need not be kept, oldest first.

        They ended longer ago than that, or there are so many newer ones; None keeps them. What is open stays.
        """
        ended = sorted((facts.ended or 0.0, name) for name, facts in self._iterate(None) if not facts.open)
        surplus = 0 if count is None else max(0, len(ended) - count)
        return [
            name
            for place, (at, name) in enumerate(ended)
            if place < surplus or (age_days is not None and now - at > age_days * DAY_S)
        ]

    def _iterate(self, owner: str | None) -> Iterator[tuple[str, SimulationFacts]]:
        if owner is not None:
            yield from self._by_owner.get(owner, {}).items()
            return
        for own in self._by_owner.values():
            yield from own.items()

"""A sweep in any order of events, killed between any two writes, beside a plain list of its cells."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from store.documents import Sweep
from store.errors import Conflict
from store.rules import sweeps
from tests.store.rules.sweep_samples import NOW, make_sweep


class AnyOrder(RuleBasedStateMachine):
    """A sweep that is driven as the loop drives it, killed between any two writes, beside a plain list of cells.

    `world` is what the runs on the disk say, `model` what everybody should see.
    """

    kept = sweeps.AT_ONCE

    @initialize(
        count=st.integers(1, 6), max_parallel=st.integers(1, 4), fail_fast=st.booleans(), at_once=st.integers(1, 7)
    )
    def begin(self, count: int, max_parallel: int, fail_fast: bool, at_once: int) -> None:
        sweeps.AT_ONCE = at_once
        self.sweep = make_sweep({"a": list(range(count))}, max_parallel=max_parallel, fail_fast=fail_fast)
        self.world: dict[int, str] = {}
        self.jobless: set[int] = set()
        self.told_to_end: set[int] = set()
        self.model = ["pending"] * count
        self.forgiven: set[int] = set()
        self.cancelled = False
        self.now = NOW

    # The loop.

    @rule(survives=st.integers(0, 8), broken=st.booleans())
    def drive_once(self, survives: int, broken: bool) -> None:
        """Drive the sweep once, killed after so many writes; a cell may turn out to be impossible to plan."""
        self.now += 1
        writes = iter(range(survives))
        some = sweeps.list_unqueued_cells(self.sweep)
        for index in some:
            if next(writes, None) is None:
                return
            self.tell(index)
        self.sweep = sweeps.mark_queued(self.sweep, some)
        before = self.sweep
        advanced, steps = sweeps.advance_sweep(self.sweep, self.world, self.now)
        if next(writes, None) is None:
            return
        self.sweep = advanced
        self.judge_status(before)
        for step in steps:
            for index in step.indices:
                if next(writes, None) is None:
                    return
                if isinstance(step, sweeps.CancelCells):
                    self.stop(index)
                elif not sweeps.is_stopping(self.sweep, self.world):
                    self.start(index, broken)

    def tell(self, index: int) -> None:
        if index in self.jobless:
            self.jobless.discard(index)
            self.world.pop(index, None)
        elif self.world.get(index) in sweeps.ENDED:
            self.world[index] = "pending"

    def start(self, index: int, broken: bool) -> None:
        assert self.model[index] == "pending", "only what waits is started"
        assert index not in sweeps.parse_ranges(self.sweep.again), "and knows it"
        assert self.model.count("running") < self.sweep.max_parallel, "never more at once than may"
        self.world[index] = self.model[index] = "failed" if broken else "running"
        self.told_to_end.discard(index)
        if broken:
            self.jobless.add(index)
            self.failure()

    def stop(self, index: int) -> None:
        assert self.stopping(), "cells are told to end only by a sweep that drains"
        if self.world[index] == "pending":
            self.world[index] = "cancelled"
        else:
            assert self.cancelled, "a sweep that fails fast lets those finish that run"
            self.told_to_end.add(index)

    # What happens to cells and to the sweep.

    @rule(pick=st.integers(0, 5), end=st.sampled_from(["completed", "failed", "cancelled"]))
    def cell_ends(self, pick: int, end: str) -> None:
        running = [index for index, state in self.world.items() if state == "running"]
        if running:
            index = running[pick % len(running)]
            self.world[index] = self.model[index] = "cancelled" if index in self.told_to_end else end
            if self.model[index] == "failed":
                self.failure()

    def failure(self) -> None:
        if self.stopping():
            self.model = ["cancelled" if state == "pending" else state for state in self.model]

    def stopping(self) -> bool:
        failed = {index for index, state in enumerate(self.model) if state == "failed"} - self.forgiven
        return self.cancelled or bool(self.sweep.fail_fast and failed)

    @precondition(lambda self: self.sweep.status not in sweeps.ENDED)
    @rule()
    def cancel(self) -> None:
        stamp = self.sweep.cancel_requested_at
        self.sweep, _ = sweeps.advance_sweep(sweeps.cancel_sweep(self.sweep, self.now), self.world, self.now)
        assert stamp in (None, self.sweep.cancel_requested_at)
        self.cancelled = True
        self.failure()

    @precondition(lambda self: self.sweep.status in sweeps.ENDED)
    @rule()
    def cancel_too_late(self) -> None:
        assert sweeps.advance_sweep(sweeps.cancel_sweep(self.sweep, self.now), self.world, self.now) == (self.sweep, [])

    @rule(pick=st.integers(0, 5))
    def cancel_cell(self, pick: int) -> None:
        index = pick % len(self.model)
        if self.model[index] == "pending":
            if index in sweeps.parse_ranges(self.sweep.again):
                self.tell(index)
                self.sweep = sweeps.mark_queued(self.sweep, [index])
            self.jobless.discard(index)
            if index not in self.world:
                self.jobless.add(index)
            self.world[index] = self.model[index] = "cancelled"
        elif self.model[index] == "running":
            self.told_to_end.add(index)

    @rule(bound=st.integers(1, 5))
    def patch(self, bound: int) -> None:
        if self.sweep.status in sweeps.ENDED:
            with pytest.raises(Conflict):
                sweeps.set_max_parallel(self.sweep, bound)
        else:
            self.sweep = sweeps.set_max_parallel(self.sweep, bound)

    @rule(
        which=st.sampled_from(["failed", "cancelled", "unfinished"])
        | st.lists(st.integers(0, 5), min_size=1, max_size=3)
    )
    def rerun(self, which: str | list[int]) -> None:
        states = {"failed": ["failed"], "cancelled": ["cancelled"], "unfinished": ["failed", "cancelled"]}
        everywhere = range(len(self.model))
        if isinstance(which, str):
            asked: str | list[str] = which
            wanted = [index for index in everywhere if self.model[index] in states[which]]
        else:
            wanted = list(dict.fromkeys(index % len(self.model) for index in which))
            asked = [sweeps.make_cell_id(self.sweep.uid, index) for index in wanted]
            if any(self.model[index] not in sweeps.ENDED for index in wanted):
                with pytest.raises(Conflict):
                    sweeps.choose_cells(self.sweep, self.world, asked)
                return
        chosen = sweeps.choose_cells(self.sweep, self.world, asked)
        assert chosen == wanted
        if not chosen:
            return
        if self.stopping() and self.sweep.status not in sweeps.ENDED:
            with pytest.raises(Conflict, match="still draining"):
                sweeps.rerun_cells(self.sweep, self.world, chosen)
            return
        self.forgiven = {index for index, state in enumerate(self.model) if state == "failed"} - set(chosen)
        self.sweep = sweeps.rerun_cells(self.sweep, self.world, chosen)
        self.cancelled = False
        for index in chosen:
            self.model[index] = "pending"
            self.told_to_end.discard(index)

    @rule()
    def restart(self) -> None:
        self.sweep = Sweep.model_validate_json(self.sweep.model_dump_json())

    # What holds always.

    def judge_status(self, before: Sweep) -> None:
        alive = {"pending", "running"} & set(self.model)
        draining = self.stopping() and (bool(before.again) or "pending" in self.world.values())
        if before.status in sweeps.ENDED:
            assert self.sweep == before
        elif alive or draining:
            fresh = "running" if self.world else "pending"
            assert self.sweep.status == ("draining" if self.stopping() else fresh)
        elif self.cancelled:
            assert self.sweep.status == "cancelled"
        else:
            ends = [end for end in ("failed", "cancelled") if end in self.model]
            assert self.sweep.status == (ends or ["completed"])[0]

    @invariant()
    def counters_are_a_recount(self) -> None:
        if not hasattr(self, "model"):
            return
        counted = sweeps.count_cells(self.sweep, self.world)
        assert {state: count for state, count in counted.items() if count} == dict(Counter(self.model))
        assert sum(counted.values()) == self.sweep.cell_count and list(counted) == list(sweeps.STATES)
        states_by_index = {
            **sweeps.list_states_with_run(self.sweep, self.world),
            **sweeps.list_states_without_run(self.sweep, self.world),
        }
        assert [states_by_index[index] for index in range(self.sweep.cell_count)] == self.model

    @invariant()
    def nobody_waits_in_a_sweep_that_has_ended(self) -> None:
        if hasattr(self, "model") and self.sweep.status in sweeps.ENDED:
            assert not {"pending", "running"} & set(self.model)

    def teardown(self) -> None:
        """Left alone, every sweep comes to its end."""
        if not hasattr(self, "model"):
            return
        try:
            self.come_to_an_end()
        finally:
            sweeps.AT_ONCE = self.kept

    def come_to_an_end(self) -> None:
        for _ in range(8 * len(self.model) + 8):
            self.drive_once(99, False)
            for index, state in list(self.world.items()):
                if state == "running":
                    self.world[index] = self.model[index] = "completed"
        assert self.sweep.status in sweeps.ENDED


AnyOrder.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase

"""Simulations and their runs made by hand, for tests of the rules."""

from __future__ import annotations

from typing import Any

from store.documents import Attempt, Part, Run, RunJob, Simulation
from store.rules import states as slurm_states
from store.rules.simulations import advance
from store.rules.simulations.splitting import build_tasks
from store.rules.simulations.states import TaskReport
from store.times import to_rfc3339

NOW = 1_800_000_000.0
AT = to_rfc3339(NOW)
ID = "20261121-163917-0b5a9c1e-3b6f-4d0e-8f57-1a2b3c4d5e6fDIRECT"
RUN_ID = advance.make_run_id(ID)


def make_simulation(count: int = 2, **more: Any) -> Simulation:
    """A simulation of 10 primaries in so many tasks."""
    fields: dict[str, Any] = {
        "id": ID, "owner": "ann", "platform": "DIRECT", "sim_type": "dummy", "input_type": "FILES",
        "run_id": RUN_ID, "created_at": to_rfc3339(NOW - 100), "requested_primaries": 10,
        "tasks": build_tasks(10, count, 1),
    }  # fmt: skip
    return Simulation(**fields | more)


def make_attempt(job_id: str | None, state: str | None, parts: dict[int, str] | None = None, **more: Any) -> Attempt:
    """An attempt with the ended parts of an array, by task."""
    made = {
        f"{job_id}_{task}": Part(
            raw_id=100 + task, state=ended, exit_code=1 if ended == "FAILED" else None,
            started_at=to_rfc3339(NOW - 40), ended_at=to_rfc3339(NOW - 10),
        )
        for task, ended in (parts or {}).items()
    }  # fmt: skip
    ended_at = to_rfc3339(NOW - 5) if state in slurm_states.TERMINAL else None
    return Attempt(number=1, tag="sluice:1", job_id=job_id, state=state, parts=made, **{"ended_at": ended_at} | more)


def make_run(tasks: Attempt | None = None, collect: Attempt | None = None, **more: Any) -> Run:
    """The run of a simulation: the array 7 and the merge 8."""
    jobs = [
        RunJob(name="tasks", attempts=[tasks] if tasks else []),
        RunJob(name="collect", depends_on=["afterany:tasks"], attempts=[collect] if collect else []),
    ]
    return Run(id=RUN_ID, workflow_name="simulation", **{"status": "running", "jobs": jobs} | more)


def array(state: str, **parts: str) -> Attempt:
    """The array in this state: `t1="TIMEOUT"` is how its first task ended."""
    return make_attempt("7", state, {int(name[1:]): ended for name, ended in parts.items()})


def merge(state: str) -> Attempt:
    """The merge in this state."""
    return make_attempt("8", state)


def step_on(
    simulation: Simulation, run: Run | None, reports: dict[int, TaskReport] | None = None, now: float = NOW
) -> tuple[Simulation, list[advance.Step]]:
    """One pass of the rules, which change nothing that they are given and have nothing to add at once."""
    before = simulation.model_dump_json()
    after, steps = advance.advance_simulation(simulation, run, reports or {}, now)
    assert simulation.model_dump_json() == before, "the rules changed what they were given"
    again, more = advance.advance_simulation(after, run, reports or {}, now + 1)
    assert again is after, "the same facts change nothing more"
    assert more == (steps if after.settled_at is None else [])
    return after, steps

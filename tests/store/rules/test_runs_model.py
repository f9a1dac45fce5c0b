"""A model cluster drives random workflows to their end; it answers when it likes, and the server dies at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from store.documents import Attempt, JobRecord, Run, RunJob
from store.rules import runs, states
from store.rules.jobs.views import JobView
from store.rules.runs import CancelJobs, SubmitJob
from tests.store.rules.run_samples import NOW, UNKNOWN, job_of, row

KINDS = ("", "afterok:", "after:", "afterany:", "afternotok:")
ENDS = ("COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "CANCELLED")


@dataclass
class Plan:
    """A random workflow and how each attempt of each job will end."""

    jobs: list[tuple[str, list[str], int, int]]
    ends: dict[str, list[str]]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Workflows of up to six jobs, each depending on earlier ones in any way, with up to two retries."""
    jobs, ends = [], {}
    for i in range(draw(st.integers(1, 6))):
        before = draw(st.lists(st.integers(0, i - 1), unique=True, max_size=3)) if i else []
        retry = draw(st.integers(0, 2))
        jobs.append((f"j{i}", [draw(st.sampled_from(KINDS)) + f"j{b}" for b in before], retry, draw(st.integers(0, 9))))
        ends[f"j{i}"] = draw(st.lists(st.sampled_from(ENDS), min_size=retry + 1, max_size=retry + 1))
    return Plan(jobs, ends)


def expected_ends(plan: Plan) -> dict[str, str]:
    """How each job should end, said without any cluster."""
    found: dict[str, str] = {}
    for name, depends_on, _retry, _delay in plan.jobs:
        turns = []
        for entry in depends_on:
            kind, _, other = entry.rpartition(":")
            kind, end = kind or "afterok", found[other]
            turns.append({"afterok": end == "ok", "afternotok": end != "ok"}.get(kind, True))
        if not all(turns):
            found[name] = "skipped"
            continue
        last = next((end for end in plan.ends[name] if end in ("COMPLETED", "CANCELLED")), "FAILED")
        found[name] = {"COMPLETED": "ok", "CANCELLED": "cancelled"}.get(last, "failed")
    return found


class Died(Exception):
    """The server was killed here."""


@dataclass
class World:
    """A model of SLURM that forgets nothing, answers when it likes, and checks what it is asked to do."""

    plan: Plan
    dice: random.Random
    now: float = NOW
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    calm: bool = False

    def chance(self, share: float) -> bool:
        return not self.calm and self.dice.random() < share

    def sbatch(self, name: str, tag: str, dependency: str | None) -> str:
        """The id of the new job, after everything that must hold for it was checked."""
        earlier = [job for job in self.jobs.values() if job["name"] == name]
        retry = next(job[2] for job in self.plan.jobs if job[0] == name)
        assert len(earlier) <= retry, f"{name} was submitted more often than its retries allow"
        assert all(job["state"] in states.FAILED for job in earlier), f"{name} was submitted while an attempt lives"
        assert all(job["comment"] != tag for job in earlier), "the same attempt was submitted twice"
        named = (dependency or "").split(",")
        for entry in next(job[1] for job in self.plan.jobs if job[0] == name):
            kind, _, other = entry.rpartition(":")
            tries = [job["job_id"] for job in self.jobs.values() if job["name"] == other]
            last_is_waited_for = bool(tries) and f"{kind or 'afterok'}:{tries[-1]}" in named
            # The start of any attempt is a start; of ends only the last counts.
            met = any(self.met(kind, attempt) for attempt in (tries if kind == "after" else tries[-1:]))
            met = met or (not tries and expected_ends(self.plan)[other] == "skipped")
            assert last_is_waited_for or met, f"{name} was submitted before {entry} was met"
        job_id = str(len(self.jobs) + 1)
        end = self.plan.ends[name][len(earlier)]
        self.jobs[job_id] = row(
            job_id,
            "PENDING",
            name=name,
            comment=tag,
            end=end,
            after=[dependency for dependency in named if dependency],
            start_time=None,
        )
        return job_id

    def met(self, kind: str, job_id: str) -> bool | None:
        """Whether SLURM holds this dependency for met; None for not yet."""
        job = self.jobs[job_id]
        over = job["state"] in states.TERMINAL
        if kind == "after":
            return True if over or job["start_time"] else None
        if not over:
            return None
        return {"afterany": True, "afternotok": job["state"] != "COMPLETED"}.get(kind, job["state"] == "COMPLETED")

    def pass_time(self) -> None:
        """Let some time pass; every job may go on by one state."""
        self.now += self.dice.choice((1, 5, 40))
        for job in self.jobs.values():
            if job["state"] == "PENDING":
                verdicts = [self.met(*dependency.split(":")) for dependency in job["after"]]
                if False in verdicts:
                    job |= {"state": "CANCELLED", "reason": None, "end_time": int(self.now)}
                elif None not in verdicts and not self.chance(0.3):
                    job |= {"state": "RUNNING", "start_time": int(self.now)}
            elif job["state"] == "RUNNING" and not self.chance(0.5):
                job |= {"state": job["end"], "end_time": int(self.now)}

    def find_by_id(self, tried: Attempt | JobRecord, _wanted: Any) -> JobView:
        job_id = tried.job_id or ""
        return UNKNOWN if self.chance(0.3) else JobView("seen", dict(self.jobs[job_id]))

    def find_by_tag(self, entry: Attempt | JobRecord, _wanted: Any) -> JobView:
        if self.chance(0.3):
            return UNKNOWN
        job = next((job for job in self.jobs.values() if job["comment"] == entry.tag), None)
        return JobView("seen", dict(job)) if job else JobView("absent")


def drive(world: World, saved: str, save: Callable[[str], None]) -> None:
    """Do with one run what the loop does, dying wherever the dice say."""

    def put(run: Run) -> None:
        save(run.model_dump_json())
        if world.chance(0.1):
            raise Died

    while True:
        run = Run.model_validate_json(saved)
        run, steps = runs.advance_run(run, world.find_by_id, world.find_by_tag, world.now)
        put(run)
        for step in steps:
            if isinstance(step, SubmitJob):
                run, is_answered = submit_step(world, run, step)
                if not is_answered:
                    put(run)
                    return
            elif isinstance(step, CancelJobs):
                raise AssertionError("nobody asked for an end")
            else:
                run = runs.record_result(run, step.job, None, None)
        put(run)
        saved = run.model_dump_json()
        if not steps:
            return


def submit_step(world: World, run: Run, step: SubmitJob) -> tuple[Run, bool]:
    """Call sbatch, which may not arrive, or whose answer may not come back.

    Returns the run and whether there was an answer.
    """
    attempt = job_of(run, step.job).attempts[-1]
    if world.chance(0.1):
        return runs.mark_unanswered(run, step.job, "cut off before", world.now), False
    job_id = world.sbatch(step.job, attempt.tag, runs.build_dependency(run, step.job))
    if world.chance(0.1):
        raise Died
    if world.chance(0.1):
        return runs.mark_unanswered(run, step.job, "cut off after", world.now), False
    return runs.mark_submitted(run, step.job, job_id, {}, world.now), True


@settings(max_examples=150, deadline=None)
@given(plan=plans(), seed=st.integers(0, 2**32))
def test_random_workflows_end_right_however_often_the_server_dies(plan: Plan, seed: int) -> None:
    world = World(plan, random.Random(seed))
    jobs = [
        RunJob(name=name, depends_on=deps, retry=retry, retry_delay_s=delay) for name, deps, retry, delay in plan.jobs
    ]
    saved = [Run(id="r", workflow_name="w", status="submitting", jobs=jobs).model_dump_json()]
    for passes in range(400):
        world.calm = passes > 60
        try:
            drive(world, saved[-1], saved.append)
        except Died:
            continue
        run = Run.model_validate_json(saved[-1])
        if not runs.is_open(run):
            break
        world.pass_time()
    run = Run.model_validate_json(saved[-1])
    ends = expected_ends(plan)
    assert {job.name: runs.find_outcome(run, job) for job in run.jobs} == ends
    words = set(ends.values())
    assert run.status == ("failed" if "failed" in words else "cancelled" if "cancelled" in words else "completed")
    assert not runs.is_open(run)
    started = [job["name"] for job in world.jobs.values() if job["start_time"]]
    for name, end in ends.items():
        used = (
            0
            if end == "skipped"
            else 1
            + next(
                (i for i, end in enumerate(plan.ends[name]) if end in ("COMPLETED", "CANCELLED")),
                len(plan.ends[name]) - 1,
            )
        )
        assert started.count(name) == used, f"{name} ran {started.count(name)} times instead of {used}"


@settings(max_examples=100, deadline=None)
@given(plan=plans(), seed=st.integers(0, 2**32), turns=st.integers(0, 15))
def test_asking_again_without_a_change_in_the_world_gives_nothing_new(plan: Plan, seed: int, turns: int) -> None:
    world = World(plan, random.Random(seed), calm=True)
    jobs = [RunJob(name=name, depends_on=deps, retry=retry, retry_delay_s=0) for name, deps, retry, _ in plan.jobs]
    saved = [Run(id="r", workflow_name="w", status="submitting", jobs=jobs).model_dump_json()]
    for _ in range(turns):
        drive(world, saved[-1], saved.append)
        world.pass_time()
    run = Run.model_validate_json(saved[-1])
    once, first = runs.advance_run(run, world.find_by_id, world.find_by_tag, world.now)
    twice, second = runs.advance_run(once, world.find_by_id, world.find_by_tag, world.now)
    assert twice == once
    assert second == first, "steps that were not taken are asked for again, and no others"

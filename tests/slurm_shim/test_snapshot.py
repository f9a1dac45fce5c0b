"""The shared picture of the cluster: how often it asks, what it shows meanwhile, and what it may conclude.

Time is the test's: the poller sleeps on a clock that only `Clock.advance` moves.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_shim import snapshot
from slurm_shim.commands import Slurm
from slurm_shim.errors import SlurmUnreachable
from slurm_shim.parse import Job
from slurm_shim.submissions import Submission
from tests import ROOT
from tests.pretended import World, asynchronous, job, world

DATA = ROOT / "tests" / "data" / "slurm" / "22.05"


# --------------------------------------------------------------------------------------------------- how often it asks


@asynchronous
async def test_a_hundred_viewers_cost_one_squeue_per_interval(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    program = tmp_path / "squeue"
    program.write_text(
        f'#!/bin/sh\necho x >> {calls}\nn=${{SQUEUE_FORMAT2#*:}}; n=${{n%%,*}}\nsed "s/~4f1c9a~/$n/g" {DATA}/squeue\n'
    )
    program.chmod(0o755)
    (tmp_path / "scontrol").write_text("#!/bin/sh\n")
    (tmp_path / "scontrol").chmod(0o755)
    slurm = Slurm(f"{tmp_path}:/usr/bin:/bin", None, 60.0)
    async with world(slurm, min_s=2.0) as made:
        stop = asyncio.Event()
        seen = [0] * 100

        async def view(viewer: int) -> None:
            while not stop.is_set():
                made.snapshot.keep_fresh()
                if viewer % 10 == 0:
                    made.snapshot.wake()
                seen[viewer] = len(made.snapshot.jobs)
                await asyncio.sleep(0)

        viewers = [asyncio.ensure_future(view(number)) for number in range(100)]
        for interval in range(1, 6):
            for _ in range(4):
                await made.clock.advance(0.5)
            assert len(calls.read_text().split()) == interval + 1
        stop.set()
        await asyncio.gather(*viewers)
        assert seen == [32] * 100


@asynchronous
async def test_nobody_there_means_slow_and_a_viewer_wakes_it() -> None:
    async with world(min_s=2.0, max_s=10.0) as made:
        assert made.cluster.polls == 1
        await made.clock.advance(9.0)
        assert made.cluster.polls == 1
        made.snapshot.keep_fresh()  # the picture is nine seconds old: at once
        await made.clock.rest()
        assert made.cluster.polls == 2
        for polls in (3, 4, 5):
            await made.clock.advance(2.0)
            assert made.cluster.polls == polls
        await made.clock.advance(2.0)
        await made.clock.advance(2.1)  # the viewer has been gone for max_s
        polls = made.cluster.polls
        await made.clock.advance(5.0)
        assert made.cluster.polls == polls
        await made.clock.advance(5.0)
        assert made.cluster.polls == polls + 1


@asynchronous
async def test_open_jobs_of_ours_keep_it_fast() -> None:
    async with world(min_s=2.0, max_s=10.0) as made:
        made.snapshot.is_busy = lambda: True
        made.snapshot.wake()
        for polls in (2, 3, 4):
            await made.clock.advance(2.0)
            assert made.cluster.polls == polls


@asynchronous
async def test_waking_many_times_polls_once_and_never_too_soon() -> None:
    async with world(min_s=2.0, max_s=10.0) as made:
        for _ in range(50):
            made.snapshot.wake()
        await made.clock.advance(1.0)
        assert made.cluster.polls == 1
        await made.clock.advance(1.0)
        assert made.cluster.polls == 2
        await made.clock.advance(9.0)
        assert made.cluster.polls == 2


@asynchronous
async def test_jobs_that_have_ended_are_asked_about_now_as_often_as_the_queue_can_bear() -> None:
    async with world(min_s=3600.0, max_s=3600.0) as made:
        made.cluster.on_poll = lambda: setattr(made.clock, "time_s", made.clock.time_s + 0.5)
        for polls in (2, 3):
            await made.clock.advance(10.0)
            made.snapshot.hurry()
            await made.clock.rest()
            assert made.cluster.polls == polls
        made.snapshot.hurry()
        made.snapshot.hurry()
        await made.clock.advance(1.0)
        assert made.cluster.polls == 3, "a poll takes 0.5 s, so they are 2 s apart"
        await made.clock.advance(0.5)
        assert made.cluster.polls == 4
        await made.clock.advance(100.0)
        assert made.cluster.polls == 4


@asynchronous
async def test_a_job_that_ends_while_the_queue_is_asked_makes_it_asked_again() -> None:
    async with world(min_s=3600.0, max_s=3600.0) as made:
        made.cluster.on_poll = lambda: made.snapshot.hurry() if made.cluster.polls == 2 else None
        made.snapshot.hurry()
        await made.clock.rest()
        assert made.cluster.polls == 3


@asynchronous
async def test_an_unchanged_answer_costs_nothing_for_each_job_that_was_asked_about() -> None:
    async with world(polling=False) as made:
        rows = [job(str(number)) for number in range(1, 101)]
        made.cluster.rows = rows
        for row in rows:
            made.snapshot.by_id(row["job_id"])
        await made.snapshot.refresh()
        looked_for: list[str] = []
        find_rows = made.snapshot._find_rows
        made.snapshot._find_rows = lambda job_id: looked_for.append(job_id) or find_rows(job_id)  # type: ignore
        version = made.snapshot.version
        await made.snapshot.refresh()
        made.cluster.rows = [*rows, job("101")]
        await made.snapshot.refresh()
        assert looked_for == [] and made.snapshot.version == version + 1
        made.cluster.rows = rows[1:]
        made.clock.time_s += 1.0
        await made.snapshot.refresh()
        assert made.snapshot.list_missing({"1", "2"}) == ["1"]


@asynchronous
async def test_a_slow_squeue_is_asked_less_often() -> None:
    async with world(min_s=2.0, max_s=10.0, polling=False) as made:
        took_s = 0.5

        def slow() -> None:
            made.clock.time_s += took_s

        made.cluster.on_poll = slow
        await made.snapshot.refresh()
        assert made.snapshot.interval_s == 2.0, "one alone may be an accident"
        await made.snapshot.refresh()
        assert made.snapshot.interval_s == 10.0
        took_s = 0.25
        await made.snapshot.refresh()
        assert made.snapshot.interval_s == 5.0
        took_s = 3.0  # once: an accident
        await made.snapshot.refresh()
        assert made.snapshot.interval_s == 5.0
        await made.snapshot.refresh()
        assert made.snapshot.interval_s == 60.0
        made.cluster.failure = SlurmUnreachable("squeue", "Unable to contact slurm controller")
        await made.snapshot.refresh()
        made.cluster.failure = None
        await made.snapshot.refresh()
        assert made.snapshot.interval_s == 2.0, "a controller that has just come back is slow once"


@asynchronous
async def test_what_reading_an_answer_takes_counts_less_than_squeue_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(min_s=2.0, max_s=10.0, polling=False) as made:
        took_s = [0.0]

        def take_time() -> None:
            made.clock.time_s += took_s[0]

        made.cluster.on_poll = take_time
        for squeue_s, took_s[0], own_s, interval_s in (
            (0.25, 9.0, 0.5, 5.0), (0.25, 9.0, 2.0, 10.0), (0.01, 9.0, 0.25, 2.0),
            (None, 0.75, 0.5, 5.0), (None, 2.25, 2.0, 10.0), (None, 0.0, 0.0, 2.0),
        ):  # fmt: skip
            made.cluster.squeue_s = squeue_s
            monkeypatch.setattr(time, "thread_time", itertools.count(0.0, own_s + snapshot._OWN_FREE_S).__next__)
            for _ in range(2):
                await made.snapshot.refresh()
            monkeypatch.undo()
            assert made.snapshot.interval_s == pytest.approx(interval_s)


@asynchronous
async def test_refresh_returns_after_a_query_that_began_later() -> None:
    async with world(min_s=2.0) as made:
        refreshed = asyncio.gather(*(made.snapshot.refresh() for _ in range(20)))
        await made.clock.advance(1.0)
        assert not refreshed.done()
        await made.clock.advance(1.0)
        await refreshed
        assert made.cluster.polls == 2


@asynchronous
async def test_refresh_does_not_take_the_answer_of_a_query_in_flight() -> None:
    async with world(polling=False) as made:
        made.cluster.gate = threading.Event()
        first = asyncio.ensure_future(made.snapshot.refresh())
        await asyncio.to_thread(made.cluster.at_the_gate.wait, 30)
        made.cluster.rows = [job("1")]
        second = asyncio.ensure_future(made.snapshot.refresh())
        third = asyncio.ensure_future(made.snapshot.refresh())
        await asyncio.sleep(0)
        made.cluster.gate.set()
        await first
        await asyncio.gather(second, third)
        assert "1" in made.snapshot.jobs
        assert made.cluster.polls == 2


@asynchronous
async def test_nodes_are_asked_less_often_and_their_failure_is_theirs() -> None:
    async with world(min_s=2.0) as made:
        made.snapshot.is_busy = lambda: True
        made.cluster.rows = [job("1")]
        made.cluster.node_failure = SlurmUnreachable("scontrol", "gone")
        for _ in range(6):
            made.snapshot.wake()
            await made.clock.advance(2.0)
        assert (made.cluster.polls, made.cluster.node_polls) == (7, 3)
        assert made.snapshot.nodes_error is not None
        assert made.snapshot.error is None
        assert "1" in made.snapshot.jobs


# ------------------------------------------------------------------------------------------------------- failures


@asynchronous
async def test_a_failed_query_changes_nothing_but_the_age() -> None:
    async with world() as made:
        snapshot = made.snapshot
        made.cluster.rows = [job("1")]
        await _poll(made)
        version, jobs = snapshot.version, dict(snapshot.jobs)
        assert (snapshot.age_s, snapshot.error) == (0.0, None)
        made.cluster.rows = []
        made.cluster.failure = SlurmUnreachable("squeue", "Unable to contact slurm controller")
        await _poll(made)
        assert (snapshot.version, snapshot.jobs, snapshot.age_s) == (version, jobs, 10.0)
        assert "Unable to contact" in (snapshot.error or "")
        assert snapshot.by_id("1") == ("seen", jobs["1"])
        made.cluster.failure = None
        await _poll(made)
        assert (snapshot.error, snapshot.jobs, snapshot.age_s) == (None, {}, 0.0)


@asynchronous
async def test_a_defect_shows_and_does_not_end_the_polling() -> None:
    async with world() as made:
        made.cluster.failure = KeyError("defect")
        await _poll(made)
        assert "KeyError" in (made.snapshot.error or "")
        made.cluster.failure = None
        await _poll(made)
        assert made.snapshot.error is None


async def _poll(made: World) -> None:
    await made.clock.advance(10.0)


# ----------------------------------------------------------------------------------------------------- own actions


@asynchronous
async def test_own_submissions_show_at_once_until_a_later_query_answers() -> None:
    async with world(polling=False) as made:
        snapshot = made.snapshot
        made.cluster.gate = threading.Event()
        in_flight = asyncio.ensure_future(snapshot.refresh())
        await asyncio.to_thread(made.cluster.at_the_gate.wait, 30)
        made.clock.time_s += 0.1
        version = snapshot.version
        snapshot.add_submitted("7", {"name": "mine", "comment": "sluice:ab"})
        assert (snapshot.jobs["7"]["state"], snapshot.jobs["7"]["name"], snapshot.version) == (
            "PENDING",
            "mine",
            version + 1,
        )
        made.cluster.gate.set()
        await in_flight  # began before the submission: says nothing about it
        assert snapshot.by_id("7")[0] == "seen"
        assert snapshot.by_tag(Submission("sluice:ab"), 0.0)[0] == "seen"
        made.clock.time_s += 0.1
        made.cluster.rows = [job("7", name="theirs")]
        await snapshot.refresh()
        assert snapshot.jobs["7"]["name"] == "theirs"


@asynchronous
async def test_a_submission_that_the_queue_never_shows_is_unknown_not_gone() -> None:
    async with world(polling=False) as made:
        made.snapshot.add_submitted("7", {})
        made.clock.time_s += 0.1
        await made.snapshot.refresh()
        assert made.snapshot.jobs == {}
        assert made.snapshot.by_id("7") == ("unknown", None)


@asynchronous
async def test_own_cancellations_show_at_once_and_the_truth_stays_the_truth() -> None:
    async with world(polling=False) as made:
        snapshot = made.snapshot
        made.cluster.rows = [job("1"), job("2", "COMPLETED"), job("8_1", array_job_id=8, array_task_id="1"), job("3")]
        await snapshot.refresh()
        snapshot.mark_cancelled(["1", "2", "8"])
        states = {job_id: row["state"] for job_id, row in snapshot.jobs.items()}
        assert states == {"1": "CANCELLED", "2": "COMPLETED", "8_1": "CANCELLED", "3": "RUNNING"}
        assert snapshot.by_id("1") == ("seen", job("1"))
        made.clock.time_s += 1.0
        made.cluster.rows = [job("1", "COMPLETING"), job("8_1", array_job_id=8, array_task_id="1")]
        await snapshot.refresh()
        # Its processes are still ending: cancelled it stays. The array goes on running: the cancellation failed.
        assert {job_id: row["state"] for job_id, row in snapshot.jobs.items()} == {"1": "CANCELLED", "8_1": "RUNNING"}
        made.cluster.rows = [job("1", "CANCELLED", exit_code=0)]
        made.clock.time_s += 1.0
        await snapshot.refresh()
        assert snapshot.jobs["1"]["exit_code"] == 0


@asynchronous
async def test_cancelling_what_was_just_submitted() -> None:
    async with world(polling=False) as made:
        made.snapshot.add_submitted("7", {})
        made.snapshot.mark_cancelled(["7"])
        found = made.snapshot.find("7")
        assert found is not None and found["state"] == made.snapshot.jobs["7"]["state"] == "CANCELLED"


@asynchronous
async def test_what_was_asked_after_a_change_is_not_undone_by_an_older_answer() -> None:
    async with world(polling=False) as made:
        snapshot, cluster = made.snapshot, made.cluster
        cluster.rows = [job("1", "PENDING")]
        await snapshot.refresh()
        snapshot.add_submitted("2", {})
        cluster.gate = threading.Event()
        asked = asyncio.ensure_future(snapshot.refresh())
        await asyncio.to_thread(cluster.at_the_gate.wait, 180)
        made.clock.time_s += 1.0
        snapshot.show_rows([job("1", "PENDING", priority=5), job("2", "PENDING", priority=6)])
        cluster.gate.set()
        await asked
        assert [snapshot.jobs[name]["priority"] for name in ("1", "2")] == [5, 6]
        found = snapshot.find("2")
        assert found is not None and found["priority"] == 6
        cluster.gate, cluster.rows = None, [job("1", "RUNNING"), job("2", "PENDING", priority=7)]
        made.clock.time_s += 1.0
        await snapshot.refresh()
        assert (snapshot.jobs["1"]["state"], snapshot.jobs["2"]["priority"]) == ("RUNNING", 7)


# ----------------------------------------------------------------------------------------------- seen, absent, unknown


@asynchronous
async def test_absent_needs_the_queue_and_accounting() -> None:
    async with world(polling=False) as made:
        snapshot, cluster = made.snapshot, made.cluster
        cluster.rows = [job("1")]
        await snapshot.refresh()
        assert snapshot.by_id("1")[0] == "seen"
        made.clock.time_s += 1.0
        cluster.rows = []
        await snapshot.refresh()
        assert snapshot.by_id("1") == ("unknown", None)  # accounting was not asked yet
        cluster.failure = SlurmUnreachable("sacct", "Connection refused")
        await snapshot.resolve_missing(["1"])
        assert snapshot.by_id("1") == ("unknown", None)
        cluster.failure = None
        cluster.accounted = [job("1", "FAILED", exit_code=3)]
        made.clock.time_s += 5.0
        await snapshot.resolve_missing(["1"])
        assert snapshot.by_id("1") == ("absent", job("1", "FAILED", exit_code=3))


@asynchronous
async def test_not_known_to_accounting_counts_only_after_its_lag() -> None:
    async with world(polling=False) as made:
        snapshot = made.snapshot
        assert snapshot.by_id("9") == ("unknown", None)
        made.clock.time_s += 1.0
        await snapshot.refresh()
        await snapshot.resolve_missing(["9"])
        assert snapshot.by_id("9") == ("unknown", None)
        made.clock.time_s += 1.0
        await snapshot.resolve_missing(["9"])  # too soon to ask again
        assert made.cluster.asked == [["9"]]
        for _ in range(19):
            made.clock.time_s += 3.0
            await snapshot.resolve_missing(["9"])
        assert snapshot.by_id("9") == ("unknown", None), "58 s"
        assert len(made.cluster.asked) < 10, "each pause is longer than the one before"
        made.clock.time_s += 3.0
        await snapshot.resolve_missing(["9"])
        assert snapshot.by_id("9") == ("absent", None)


@asynchronous
async def test_without_accounting_the_queue_decides() -> None:
    async with world(polling=False) as made:
        made.cluster.accounting = False
        made.snapshot.by_id("9")
        made.clock.time_s += 1.0
        await made.snapshot.refresh()
        await made.snapshot.resolve_missing(["9"])
        assert made.snapshot.by_id("9") == ("unknown", None), "one answer may be an accident"
        made.clock.time_s += 60.0
        await made.snapshot.resolve_missing(["9"])
        assert made.snapshot.by_id("9") == ("absent", None)
        assert made.cluster.asked == []


@asynchronous
async def test_a_query_that_began_before_we_asked_proves_nothing() -> None:
    async with world(polling=False) as made:
        await made.snapshot.refresh()
        made.clock.time_s += 20.0
        made.cluster.accounted = [job("9", "COMPLETED")]
        await made.snapshot.resolve_missing(["9"])
        assert made.cluster.asked == []
        assert made.snapshot.by_id("9") == ("unknown", None)


@asynchronous
async def test_accounting_that_calls_a_lost_job_running_is_believed_for_a_while() -> None:
    async with world(polling=False) as made:
        snapshot = made.snapshot
        made.cluster.accounted = [job("9", "RUNNING")]
        snapshot.by_id("9")
        made.clock.time_s += 1.0
        await snapshot.refresh()
        for _ in range(3):
            made.clock.time_s += 100.0
            await snapshot.resolve_missing(["9"])
            assert snapshot.by_id("9") == ("unknown", None)
        made.clock.time_s += 300.0
        await snapshot.resolve_missing(["9"])
        assert snapshot.by_id("9") == ("absent", None)


@asynchronous
async def test_a_requeued_job_is_seen_again() -> None:
    async with world(polling=False) as made:
        snapshot = made.snapshot
        snapshot.by_id("9")
        made.clock.time_s += 1.0
        await snapshot.refresh()
        made.cluster.accounted = [job("9", "COMPLETED")]
        await snapshot.resolve_missing(["9"])
        assert snapshot.by_id("9")[0] == "absent"
        made.cluster.rows = [job("9", "PENDING")]
        await snapshot.refresh()
        assert snapshot.by_id("9") == ("seen", job("9", "PENDING"))
        made.cluster.rows = []
        made.clock.time_s += 1.0
        await snapshot.refresh()
        assert snapshot.by_id("9") == ("unknown", None)  # the old answer is not about this life


@asynchronous
async def test_questions_go_to_accounting_together_and_only_about_what_left() -> None:
    async with world(polling=False) as made:
        snapshot, cluster = made.snapshot, made.cluster
        ids = [str(number) for number in range(1, 51)]
        cluster.rows = [job("1")]
        cluster.accounted = [job(job_id, "COMPLETED") for job_id in ids]
        for job_id in ids:
            snapshot.by_id(job_id)
        made.clock.time_s += 1.0
        await snapshot.refresh()
        await asyncio.gather(*(snapshot.resolve_missing([job_id]) for job_id in ids))
        assert sorted(asked for call in cluster.asked for asked in call) == sorted(ids[1:])
        assert len(cluster.asked) == 2  # the first question at once, all that came meanwhile together
        assert snapshot.by_id("1")[0] == "seen"
        assert all(snapshot.by_id(job_id)[0] == "absent" for job_id in ids[1:])


@asynchronous
async def test_a_tag_is_found_only_by_a_query_that_began_later() -> None:
    async with world(polling=False) as made:
        snapshot, clock = made.snapshot, made.clock
        await snapshot.refresh()
        clock.time_s += 1.0
        since = clock.now()
        assert snapshot.by_tag(Submission("sluice:ab"), since) == ("unknown", None)
        clock.time_s += 1.0
        await snapshot.refresh()
        assert snapshot.by_tag(Submission("sluice:ab"), since) == ("absent", None)
        made.cluster.rows = [
            job("5", comment="a user's sluice:ab"),
            job("8_1", array_job_id=8, array_task_id="1", comment="t"),
        ]
        await snapshot.refresh()
        assert snapshot.by_tag(Submission("sluice:ab"), since) == ("seen", job("5", comment="a user's sluice:ab"))
        found = snapshot.by_tag(Submission("t"), since)[1]
        assert found is not None
        assert found["job_id"] == "8"


# ------------------------------------------------------------------------------------------------------ many as one


@asynchronous
async def test_arrays_and_their_tasks() -> None:
    async with world(polling=False) as made:
        snapshot = made.snapshot
        remainder = job("8_[3-6%2]", "PENDING", array_job_id=8, array_task_id="3-6%2")
        ended = job("8_1", "FAILED", array_job_id=8, array_task_id="1", exit_code=9)
        made.cluster.rows = [remainder, job("8_2", array_job_id=8, array_task_id="2"), ended]
        await snapshot.refresh()
        whole = snapshot.by_id("8")[1]
        assert whole is not None
        assert (whole["state"], whole["tasks"]) == ("RUNNING", {"PENDING": 4, "RUNNING": 1, "FAILED": 1})
        waiting = snapshot.by_id("8_5")[1]
        assert waiting is not None
        assert (waiting["job_id"], waiting["state"], waiting["array_task_id"]) == ("8_5", "PENDING", "5")
        assert snapshot.by_id("8_7")[0] == "unknown"
        # The failed task is forgotten by the controller while the last one still runs, and must not be forgotten by us.
        made.cluster.rows = [job("8_6", array_job_id=8, array_task_id="6")]
        await snapshot.refresh()
        made.cluster.rows = [job("8_6", "COMPLETED", array_job_id=8, array_task_id="6", exit_code=0)]
        await snapshot.refresh()
        whole = snapshot.by_id("8")[1]
        assert whole is not None
        assert (whole["state"], whole["exit_code"]) == ("FAILED", 9)


@asynchronous
async def test_a_heterogeneous_job_is_one() -> None:
    async with world(polling=False) as made:
        made.cluster.rows = [
            job("9+0", "COMPLETED", het_job_id=9, het_job_offset=0),
            job("9+1", "RUNNING", het_job_id=9, het_job_offset=1),
        ]
        await made.snapshot.refresh()
        whole = made.snapshot.by_id("9")[1]
        assert whole is not None
        assert whole["state"] == "RUNNING"
        assert made.snapshot.by_id("9+1")[1] == made.cluster.rows[1]


@asynchronous
async def test_parts_are_known_by_the_number_that_they_see_themselves() -> None:
    async with world(polling=False) as made:
        task = job("8_1", raw_id=10, array_job_id=8, array_task_id="1")
        made.cluster.rows = [task, job("12+1", raw_id=13, het_job_id=12, het_job_offset=1), job("14")]
        await made.snapshot.refresh()
        for find in (made.snapshot.find, lambda job_id: made.snapshot.by_id(job_id)[1]):
            assert find("10") == task
            assert (find("13") or {})["job_id"] == "12+1"
            assert find("11") is None


@asynchronous
async def test_an_array_that_left_is_settled_as_a_whole() -> None:
    async with world(polling=False) as made:
        made.snapshot.by_id("8")
        made.clock.time_s += 1.0
        await made.snapshot.refresh()
        made.cluster.accounted = [
            job("8_1", "COMPLETED", array_job_id=8, array_task_id="1"),
            job("8_2", "TIMEOUT", array_job_id=8, array_task_id="2"),
        ]
        await made.snapshot.resolve_missing(["8"])
        status, whole = made.snapshot.by_id("8")
        assert whole is not None
        assert (status, whole["state"]) == ("absent", "TIMEOUT")


# --------------------------------------------------------------------------------------------------------- changes


@asynchronous
async def test_versions_and_listeners() -> None:
    async with world(polling=False) as made:
        snapshot, cluster = made.snapshot, made.cluster
        heard: list[set[str]] = []
        snapshot.on_jobs_changed.append(heard.append)
        cluster.rows = [job("1", elapsed_s=1), job("2")]
        await snapshot.refresh()
        version = snapshot.version
        await snapshot.refresh()
        assert snapshot.version == version  # nothing new, nothing said
        cluster.rows = [job("1", elapsed_s=3), job("2")]
        await snapshot.refresh()
        cluster.rows = [job("1", "COMPLETED", elapsed_s=4), job("2")]
        await snapshot.refresh()
        cluster.rows = [job("1", "COMPLETED", elapsed_s=4)]
        await snapshot.refresh()
        assert snapshot.version == version + 3
        assert heard[-4:] == [{"1", "2"}, set(), {"1"}, {"2"}]
        cluster.node_rows = [{"name": "node01"}]
        made.clock.time_s += 60.0
        await snapshot.refresh()
        assert (heard[-1], snapshot.nodes, snapshot.version) == (set(), cluster.node_rows, version + 4)


@asynchronous
async def test_readers_keep_a_picture_that_does_not_change_under_them() -> None:
    async with world(polling=False) as made:
        made.cluster.rows = [job("1")]
        await made.snapshot.refresh()
        picture = made.snapshot.jobs
        made.cluster.rows = [job("2")]
        await made.snapshot.refresh()
        assert list(picture) == ["1"]
        assert list(made.snapshot.jobs) == ["2"]


STEPS = st.lists(
    st.tuples(st.sampled_from(["row", "gone", "submitted", "cancelled", "poll", "late poll"]), st.integers(1, 4))
    | st.tuples(st.sampled_from(["PENDING", "RUNNING", "COMPLETING", "CANCELLED"]), st.integers(1, 4)),
    max_size=25,
)


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_every_change_of_what_is_shown_has_a_version_and_no_version_without_one(steps: list[tuple[str, int]]) -> None:
    @asynchronous
    async def play() -> None:
        async with world(polling=False) as made:
            snapshot, rows = made.snapshot, dict[str, Job]()
            for step, number in steps:
                before, version, job_id = dict(snapshot.jobs), snapshot.version, str(number)
                if step.endswith("poll"):
                    made.clock.time_s += step == "late poll"
                    made.cluster.rows = list(rows.values())
                    await snapshot.refresh()
                elif step == "gone":
                    rows.pop(job_id, None)
                elif step == "submitted":
                    snapshot.add_submitted(job_id, {"submit_time": 0})
                elif step == "cancelled":
                    snapshot.mark_cancelled([job_id])
                elif step == "row":
                    rows[job_id] = job(
                        job_id, elapsed_s=rows.get(job_id, {"elapsed_s": 0})["elapsed_s"] + 1, submit_time=0
                    )
                else:
                    rows[job_id] = job(job_id, step, submit_time=0)
                changed = list(before.items()) != list(snapshot.jobs.items())
                assert (snapshot.version > version) == changed, step
            made.clock.time_s += 1.0
            made.cluster.rows = [row for row in rows.values() if row["state"] != "COMPLETING"]
            await snapshot.refresh()
            assert list(snapshot.jobs.values()) == made.cluster.rows

    play()

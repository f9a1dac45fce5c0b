"""Single jobs: one sbatch for one request, and what is said of a job that the queue, we, or nobody knows."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import threading
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import pytest

from engine import jobs
from engine.queue import output
from slurm_shim.errors import SlurmRefused, SlurmUnreachable
from store import access
from store.documents import JobRecord
from store.errors import Denied, Invalid, NotFound, StoreFull
from store.indexes.bodies import Answer
from store.kinds import Key
from tests.engine.servers.pretended import CALLER, HERE, Slurm, open_server
from tests.faulty_disk import Faulty
from tests.pretended import asynchronous, job

BODY = {"name": "my job", "script_content": "#!/bin/bash\ntrue\n", "mount_name": None, "notify": False}


def record(job_id: str | None, state: str | None, **more: Any) -> JobRecord:
    return JobRecord(
        **{"id": "j", "cluster": HERE, "name": "ours", "job_id": job_id, "state": state, "tag": "sluice:j", **more}
    )


@asynchronous
async def test_a_request_that_comes_twice_is_one_job(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        together = (jobs.submit_script(world.server, BODY, "key", CALLER) for _ in range(3))
        answers = [*await asyncio.gather(*together), await jobs.submit_script(world.server, BODY, "key", CALLER)]
        assert all(answer == answers[0] for answer in answers) and len(world.slurm.submitted) == 1
        assert world.slurm.submitted[0][1]["job_name"] == "my_job"
        with pytest.raises(Invalid, match="another body"):
            await jobs.submit_script(world.server, BODY | {"name": "other"}, "key", CALLER)
        await jobs.submit_script(world.server, BODY, None, CALLER)
        assert len(world.slurm.submitted) == 2, "without a key each request is another one"


@pytest.mark.parametrize(
    ("why", "refusal", "is_kept"),
    [
        ("SLURM said no", SlurmRefused("sbatch", 1, "sbatch: error: no"), False),
        ("SLURM was not reached", SlurmUnreachable("sbatch", "away"), False),
        ("SLURM may have taken it", SlurmUnreachable("sbatch", "cut off", uncertain=True), True),
    ],
)
@asynchronous
async def test_the_record_of_a_job_that_was_not_taken(
    tmp_path: Path, why: str, refusal: Exception, is_kept: bool
) -> None:
    async with open_server(tmp_path) as world:
        world.slurm.refusal = refusal
        with pytest.raises(type(refusal)):
            await jobs.submit_job(world.server, BODY, "j", CALLER)
        assert ("j" in world.store.jobs) is is_kept, why


@asynchronous
async def test_a_job_whose_answer_was_lost_is_adopted(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.slurm.refusal = SlurmUnreachable("sbatch", "cut off", uncertain=True)
        with pytest.raises(SlurmUnreachable):
            await jobs.submit_job(world.server, BODY, "j", CALLER)
        world.slurm.refusal = None
        with pytest.raises(SlurmUnreachable, match="not known yet"):
            await jobs.submit_job(world.server, BODY, "j", CALLER)
        await world.show_queue(job("55", comment=world.store.jobs.get("j").tag))
        assert (await jobs.submit_job(world.server, BODY, "j", CALLER)).job_id == "55"
        assert world.slurm.submitted == [], "it is not submitted again"


@asynchronous
async def test_a_job_is_written_down_before_sbatch_is_called(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        seen: list[str] = []
        submit = world.slurm.sbatch

        def look_and_submit(*given: Any) -> str:
            (log,) = (world.store.root / "intents").iterdir()
            seen.append(log.read_text())
            return submit(*given)

        with patch.object(world.slurm, "sbatch", look_and_submit):
            found = await jobs.submit_job(world.server, BODY, "j", CALLER)
        assert found.tag is not None and found.tag in seen[0] and not world.store.intents.pending
        assert world.store.jobs.get("j").job_id == found.job_id


@asynchronous
async def test_a_taken_job_that_cannot_be_written_down_is_not_submitted_twice(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        ops = Faulty(lambda _number, call: errno.ENOSPC if call == "rename" else None)
        with patch.object(world.store.files, "ops", ops):
            with pytest.raises(StoreFull):
                await jobs.submit_job(world.server, BODY, "j", CALLER)
            await jobs.write_pending_records(world.server)
            assert "j" not in world.store.jobs and "j" in world.store.intents.pending
        (tag,) = (options["comment"] for _script, options in world.slurm.submitted)
        await world.show_queue(job("101", comment=tag))
        found = await jobs.submit_job(world.server, BODY, "j", CALLER)
        assert found.job_id == "101" and len(world.slurm.submitted) == 1
        assert world.store.jobs.get("j").job_id == "101" and not world.store.intents.pending


@asynchronous
async def test_what_is_pending_is_written_once_the_disk_takes_it(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        with (
            patch.object(
                world.store.files, "ops", Faulty(lambda _number, call: errno.ENOSPC if call == "rename" else None)
            ),
            pytest.raises(StoreFull),
        ):
            await jobs.submit_job(world.server, BODY, "j", CALLER)
        async with world.server.locks.hold(Key("job", "j")):
            await jobs.write_pending_records(world.server)
            assert "j" not in world.store.jobs, "somebody works on it"
        await jobs.write_pending_records(world.server)
        assert world.store.jobs.get("j").job_id is None and not world.store.intents.pending
        await world.show_queue(job("101", comment=world.store.jobs.get("j").tag))
        await jobs.follow_record(world.server, "j")
        assert world.store.jobs.get("j").job_id == "101"


@asynchronous
async def test_whoever_leaves_in_the_middle_leaves_a_record(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        begun, go = asyncio.Event(), threading.Event()
        loop, submit = asyncio.get_running_loop(), world.slurm.sbatch

        def wait_and_submit(*given: Any) -> str:
            loop.call_soon_threadsafe(begun.set)
            go.wait(60)
            return submit(*given)

        with patch.object(world.slurm, "sbatch", wait_and_submit):
            request = asyncio.create_task(jobs.submit_job(world.server, BODY, "j", CALLER))
            await begun.wait()
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
            go.set()
        assert world.store.jobs.get("j").job_id is None and not world.store.intents.pending


@asynchronous
async def test_nothing_is_written_while_the_cluster_is_away(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.lose_cluster()
        with pytest.raises(SlurmUnreachable):
            await jobs.submit_job(world.server, BODY, "j", CALLER)
        assert len(world.store.jobs) == 0 and world.slurm.submitted == []


@pytest.mark.parametrize(
    ("why", "queue", "accounted", "records", "state"),
    [
        ("the queue has it", [job("5", "RUNNING")], [], [], "RUNNING"),
        ("the queue is newer than what we wrote", [job("5", "RUNNING")], [], [record("5", "PENDING")], "RUNNING"),
        ("SLURM has forgotten it, we have not", [], [], [record("5", "FAILED")], "FAILED"),
        ("only accounting has it", [], [job("5", "TIMEOUT", raw_id=5)], [], "TIMEOUT"),
        ("it was somebody else's with this id", [], [], [record("5", "FAILED", cluster="elsewhere")], None),
        ("nobody knows it", [job("6", "RUNNING")], [], [], None),
    ],
)
@asynchronous
async def test_where_a_job_is_found(
    tmp_path: Path, why: str, queue: list[Any], accounted: list[Any], records: list[JobRecord], state: str | None
) -> None:
    async with open_server(tmp_path) as world:
        world.slurm.accounted = accounted
        await world.show_queue(*queue)
        for known in records:
            await world.store.jobs.put(known.id, known)
        if state is None:
            with pytest.raises(NotFound):
                await jobs.find_job(world.server, "5", world.server.cluster)
        else:
            assert (await jobs.find_job(world.server, "5", world.server.cluster))["slurm_state"] == state, why


@asynchronous
async def test_the_bytes_of_a_plain_job_are_kept_until_something_changes(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        server, states = world.server, list[str]()
        changes: list[Any] = [
            lambda: world.show_queue(job("5", "PENDING")),
            lambda: world.show_queue(job("5", "RUNNING")),
            lambda: world.store.jobs.put("j", record("5", "RUNNING")),
        ]
        for change in changes:
            await change()
            made = jobs.get_job(server, "5", None)
            assert inspect.iscoroutine(made), "it is made anew"
            answer, kept = await made, jobs.get_job(server, "5", None)
            assert isinstance(kept, Answer) and kept.value is answer.value
            assert kept.value.data == orjson.dumps(await jobs.find_job(server, "5", server.cluster))
            states.append(orjson.loads(kept.value.data)["slurm_state"])
        assert states == ["PENDING", "RUNNING", "RUNNING"]


@asynchronous
async def test_what_has_parts_or_is_not_in_the_queue_is_found_each_time(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(
            job("8_[1-2]", "PENDING", raw_id=8, array_job_id=8, array_task_id="1-2"), job("5", "PENDING")
        )
        await world.store.jobs.put("j", record("6", "COMPLETED"))
        for job_id in ("8", "8_[1-2]", "8_1", "6"):
            for _ in range(2):
                found = jobs.get_job(world.server, job_id, None)
                assert inspect.iscoroutine(found), job_id
                await found


@pytest.mark.parametrize(
    ("why", "records", "is_found"),
    [("ours is told as it was last seen", [record("5", "RUNNING")], True), ("of others nobody knows", [], False)],
)
@asynchronous
async def test_a_job_of_a_cluster_that_is_away(
    tmp_path: Path, why: str, records: list[JobRecord], is_found: bool
) -> None:
    async with open_server(tmp_path) as world:
        for known in records:
            await world.store.jobs.put(known.id, known)
        await world.lose_cluster()
        if is_found:
            assert (await jobs.find_job(world.server, "5", world.server.cluster))["slurm_state"] == "RUNNING", why
        else:
            with pytest.raises(SlurmUnreachable):
                await jobs.find_job(world.server, "5", world.server.cluster)


@pytest.mark.parametrize(("state", "cancelled"), [("PENDING", ["5"]), ("RUNNING", ["5"]), ("COMPLETED", [])])
@asynchronous
async def test_only_a_job_that_has_not_ended_is_cancelled(tmp_path: Path, state: str, cancelled: list[str]) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("5", state))
        await jobs.cancel_job(world.server, "5", CALLER)
        assert world.slurm.cancelled == cancelled


@pytest.mark.parametrize(
    ("why", "user", "scope", "is_cancelled"),
    [
        ("the server's own user's", "ann", "write", True),
        ("nobody says whose: one that was submitted just now", None, "write", True),
        ("another user's", "bob", "write", False),
        ("another user's, for an administrator", "bob", "admin", True),
    ],
)
@asynchronous
async def test_jobs_of_other_users_are_for_administrators(
    tmp_path: Path, why: str, user: str | None, scope: str, is_cancelled: bool
) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("5", user=user))
        refusal = pytest.raises(Denied, match="needs the scope admin: the job belongs to user bob")
        with contextlib.nullcontext() if is_cancelled else refusal:
            await jobs.cancel_job(world.server, "5", access.Caller("ci", access.INCLUDED[scope]))
        assert world.slurm.cancelled == (["5"] if is_cancelled else []), why


@pytest.mark.parametrize(
    ("why", "user", "caller", "may"),
    [
        ("the server's own user's", "ann", access.Caller("ci", access.INCLUDED["read"]), True),
        ("another user's", "bob", access.Caller("ci", access.INCLUDED["write"]), False),
        ("another user's, for an administrator", "bob", access.Caller("ci", access.INCLUDED["admin"]), True),
        ("another user's, for himself", "bob", access.Caller("bob", access.INCLUDED["read"], "munge"), True),
        ("a token that has the user's name", "bob", access.Caller("bob", access.INCLUDED["read"]), False),
    ],
)
@asynchronous
async def test_output_of_other_users_is_for_administrators(
    tmp_path: Path, why: str, user: str, caller: access.Caller, may: bool
) -> None:
    async with open_server(tmp_path) as world:
        server = world.server
        await world.show_queue(job("5", user=user))
        await world.store.jobs.put("j", record("6", "COMPLETED", user="ci", owner=user))
        refusal = pytest.raises(Denied, match="needs the scope admin: the job belongs to user bob")
        for read in (
            lambda job_id: jobs.read_logs(server, job_id, None, None, caller),
            lambda job_id: output.read_output(server, job_id, 10, None, False, None, "", caller),
            lambda job_id: output.read_error_output(server, job_id, 10, None, True, None, "text/event-stream", caller),
            lambda job_id: output.send_output(server, job_id, 0, None, caller),
            lambda job_id: output.send_error_output(server, job_id, 0, None, caller),
        )[: 3 if may else 5]:
            for job_id in ("5", "6"):  # 6 is one that SLURM has forgotten
                with contextlib.nullcontext() if may else refusal:
                    await read(job_id)  # type: ignore[no-untyped-call]


@asynchronous
async def test_a_record_follows_its_job(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        folder = world.store.jobs
        await folder.put("j", record("5", "PENDING"))
        await world.show_queue(job("5", "RUNNING"))
        await jobs.follow_record(world.server, "j")
        assert (folder.get("j").state, [change.state for change in folder.get("j").history]) == ("RUNNING", ["RUNNING"])
        etag = folder.get_entry("j").etag
        await jobs.follow_record(world.server, "j")
        assert folder.get_entry("j").etag == etag, "what is known already is not written again"


@pytest.mark.parametrize(
    ("why", "state", "is_looked_at"),
    [
        ("it says what SLURM says", "RUNNING", False),
        ("the job has ended while the record was written", "COMPLETED", True),
    ],
)
@asynchronous
async def test_a_record_just_written_is_looked_at_where_it_is_old(
    tmp_path: Path, why: str, state: str, is_looked_at: bool
) -> None:
    async with open_server(tmp_path) as world:
        opened = world.server.open_documents
        await world.store.jobs.put("j", record("5", "PENDING"))
        await world.show_queue(job("5", "RUNNING"))
        write = world.store.jobs.put

        async def write_slowly(*given: Any, **more: Any) -> Any:
            await write(*given, **more)
            await world.show_queue(job("5", state))

        world.store.jobs.put = write_slowly  # type: ignore[assignment, method-assign]
        await jobs.follow_record(world.server, "j")
        assert world.store.jobs.get("j").state == "RUNNING"
        assert bool(opened.take(opened.list_clusters(), 0.0)) is is_looked_at, why


@asynchronous
async def test_the_files_of_a_job(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.jobs.put("j", record("5", "RUNNING", stdout="/ours/out", stderr="/ours/err"))
        row = job("5", "RUNNING", stdout="/slurm/out", stderr=None, uid=1234)
        await world.show_queue(row)
        assert set((await jobs.find_log_paths(world.server, "5", world.cluster)).values()) == {None}, "not begun"
        await world.show_queue(row | {"start_time": 1})
        assert await jobs.find_log_paths(world.server, "5", world.cluster) == {
            "stdout": "/slurm/out",
            "stderr": "/ours/err",
            "owner": 1234,
        }
        with pytest.raises(NotFound):
            await jobs.find_log_paths(world.server, "6", world.cluster)


@asynchronous
async def test_whose_job_it_was_is_known_when_slurm_has_forgotten_it(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.store.jobs.put("j", record("5", "PENDING", user="ci", script="#!/bin/sh\n#SBATCH --uid=bob\n"))
        of_bob = {"user": "bob", "uid": 1234, "comment": "sluice:j"}
        await world.show_queue(job("5", "COMPLETED", start_time=1, end_time=2, stdout="/out", **of_bob))
        await jobs.follow_record(world.server, "j")
        await world.show_queue()
        assert (await jobs.find_log_paths(world.server, "5", world.cluster))["owner"] == 1234
        assert (await jobs.find_job(world.server, "5", world.server.cluster))["user"] == "bob", "not who called us"


@asynchronous
async def test_before_its_first_answer_a_cluster_has_no_list_of_jobs(tmp_path: Path) -> None:
    slurm = Slurm()
    slurm.failure = SlurmUnreachable("squeue", "nobody there")
    async with open_server(tmp_path, slurm=slurm) as world:
        with pytest.raises(SlurmUnreachable, match="nobody there"):
            jobs.list_jobs(world.server, None)
        await world.show_queue(job("5"))
        assert b'"job_id":5' in jobs.list_jobs(world.server, None).value.data
        await world.lose_cluster()
        assert b'"job_id":5' in jobs.list_jobs(world.server, None).value.data, "the last answer stands"


@asynchronous
async def test_a_script_is_read_from_the_mount_and_runs_there(tmp_path: Path) -> None:
    mount = f"{{name: ml, local: {tmp_path / 'ml'}, remote: /unused}}"
    files = {
        "store/profiles.yaml": f"current: own\nprofiles: {{own: {{mounts: [{mount}]}}}}\n",
        "ml/train.sh": "#!/bin/bash\necho train\n",
    }
    async with open_server(tmp_path, files) as world:
        body = BODY | {"script_content": None, "script_path": "train.sh", "mount_name": "ml"}
        record = await jobs.submit_job(world.server, body, "j", CALLER)
        ((script, _options),) = world.slurm.submitted
        assert "echo train" in script and record.work_dir == str(tmp_path / "ml")
        with pytest.raises((Denied, Invalid, NotFound)):
            await jobs.submit_job(world.server, body | {"script_path": "../store/profiles.yaml"}, "k", CALLER)
        assert "k" not in world.store.jobs


@pytest.mark.parametrize(("limit", "job_ids"), [(2, ["3", "2"]), (0, []), (-1, ["3", "2", "1"])])
@asynchronous
async def test_the_history_lists_the_newest(tmp_path: Path, limit: int, job_ids: list[str]) -> None:
    async with open_server(tmp_path) as world:
        for number in "132":
            known = record(number, "PENDING", id=f"j{number}", submitted_at=f"2026-01-0{number}T00:00:00Z")
            await world.store.jobs.put(known.id, known)
        assert [str(row["job_id"]) for row in await jobs.list_history(world.server, limit)] == job_ids

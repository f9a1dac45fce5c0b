"""Jobs: list, submit, look at, change, wait for, follow."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx
from httpx_sse import SSEError, aconnect_sse

from s9s_client.asynchronous.paging import iterate_pages
from s9s_client.errors import ConnectionFailed, UnexpectedAnswer, WaitTimeout
from s9s_client.low.api.jobs import (
    cancel_job,
    change_jobs,
    get_job,
    get_job_error,
    get_job_output,
    hold_job,
    list_jobs,
    read_script,
    release_job,
    requeue_job,
    resume_job,
    set_priority,
    submit_job,
    suspend_job,
)
from s9s_client.low.client import AuthenticatedClient
from s9s_client.low.models.change_jobs_body import ChangeJobsBody
from s9s_client.low.models.change_jobs_response_200 import ChangeJobsResponse200
from s9s_client.low.models.hold_job_body import HoldJobBody
from s9s_client.low.models.job import Job
from s9s_client.low.models.job_detail import JobDetail
from s9s_client.low.models.job_priority import JobPriority
from s9s_client.low.models.job_state import JobState
from s9s_client.low.models.list_jobs_response_200 import ListJobsResponse200
from s9s_client.low.models.output import Output
from s9s_client.low.models.read_script_response_200 import ReadScriptResponse200
from s9s_client.low.models.set_priority_body import SetPriorityBody
from s9s_client.low.models.submission import Submission
from s9s_client.pages import Page
from s9s_client.retries import LOST, Retries, count_lost, pause_async
from s9s_client.values import ENDED, drop_none, expect, make_body, name_job

# A job, by its id or by any row that has one.
AnyJob = str | Job | JobDetail | JobState
PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)


class Jobs:
    """What can be done with jobs."""

    def __init__(self, low: AuthenticatedClient, retries: Retries) -> None:
        self.low, self.retries = low, retries

    async def list(
        self,
        *,
        state: str | None = None,
        user: str | None = None,
        partition: str | None = None,
        filter: str | None = None,
        sort: str | None = None,
        order: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
        expand_arrays: bool | None = None,
        start_time: str | None = None,
        end_time: str | None = None,
        cluster: str | None = None,
    ) -> Page[Job]:
        """Return one page of the jobs that fit."""
        asked = drop_none(
            state=state, user=user, partition=partition, filter_=filter, sort=sort, order=order, limit=limit,
            offset=offset, expand_arrays=expand_arrays, start_time=start_time, end_time=end_time, cluster=cluster,
        )  # fmt: skip
        found = expect(ListJobsResponse200, await list_jobs.asyncio(client=self.low, **asked))
        return Page(found.jobs, found.total, found.offset, found.has_more)

    async def iterate(self, *, limit: int = 500, **filters: Any) -> AsyncIterator[Job]:
        """Yield all jobs that fit, page by page; `filters` are those of `list`.

        Jobs that come or end meanwhile move the others: each is yielded once.
        """
        async for job in iterate_pages(self.list, "job_id", limit, **filters):
            yield job

    async def get(self, job: AnyJob) -> JobDetail:
        """Return one job with all that is known of it."""
        return expect(JobDetail, await get_job.asyncio(name_job(job), client=self.low))

    async def submit(
        self,
        *,
        script: str,
        name: str | None = None,
        partition: str | None = None,
        nodes: int | None = None,
        cpus_per_node: int | None = None,
        memory: str | None = None,
        gpus: int | None = None,
        time_limit: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        working_directory: str | None = None,
        standard_output: str | None = None,
        standard_error: str | None = None,
        environment: Mapping[str, str] | None = None,
        dependencies: Sequence[Mapping[str, Any]] | None = None,
        idempotency_key: str | None = None,
    ) -> JobState:
        """Submit a script, the path of one, or a command.

        Under one `idempotency_key` it is submitted once, however often it is asked for. Without one each call has its
        own, so that repeating it after a lost connection is harmless too.
        """
        body = make_body(
            Submission, job_name=name, script=script, partition=partition, nodes=nodes, cpus_per_node=cpus_per_node,
            memory=memory, gpus=gpus, time_limit=time_limit, account=account, qos=qos,
            working_directory=working_directory, standard_output=standard_output, standard_error=standard_error,
            environment=environment, dependencies=dependencies,
        )  # fmt: skip
        key = drop_none(idempotency_key=idempotency_key)
        made = await submit_job.asyncio(client=self.low, body=body, **key)
        return expect(JobState, made)

    async def cancel(self, job: AnyJob, *, signal: str | None = None, force: bool | None = None) -> JobState:
        """Cancel a job, or send it a signal."""
        asked = drop_none(signal=signal, force=force)
        return expect(JobState, await cancel_job.asyncio(name_job(job), client=self.low, **asked))

    async def hold(self, job: AnyJob, *, reason: str | None = None) -> JobState:
        """Hold a waiting job."""
        body = make_body(HoldJobBody, reason=reason)
        return expect(JobState, await hold_job.asyncio(name_job(job), client=self.low, body=body))

    async def release(self, job: AnyJob) -> JobState:
        """Release a held job."""
        return expect(JobState, await release_job.asyncio(name_job(job), client=self.low))

    async def requeue(self, job: AnyJob) -> JobState:
        """Put a job back into the queue."""
        return expect(JobState, await requeue_job.asyncio(name_job(job), client=self.low))

    async def suspend(self, job: AnyJob) -> JobState:
        """Stop the processes of a running job."""
        return expect(JobState, await suspend_job.asyncio(name_job(job), client=self.low))

    async def resume(self, job: AnyJob) -> JobState:
        """Let a suspended job go on."""
        return expect(JobState, await resume_job.asyncio(name_job(job), client=self.low))

    async def set_priority(self, job: AnyJob, priority: int) -> JobPriority:
        """Set the priority of a waiting job."""
        body = make_body(SetPriorityBody, priority=priority)
        return expect(JobPriority, await set_priority.asyncio(name_job(job), client=self.low, body=body))

    async def bulk(
        self,
        action: str,
        jobs: Iterable[AnyJob] | None = None,
        *,
        states: Sequence[str] | None = None,
        force: bool | None = None,
        reason: str | None = None,
        priority: int | None = None,
        signal: str | None = None,
        admin: bool | None = None,
        dry_run: bool | None = None,
    ) -> ChangeJobsResponse200:
        """Change many jobs alike; the answer says what became of each.

        They are named, or are the caller's own in these states.
        """
        ids = [name_job(job) for job in jobs] if jobs is not None else None
        select = {"states": list(states)} if states is not None else None
        options = drop_none(
            select=select, force=force, reason=reason, priority=priority, signal=signal, admin=admin, dry_run=dry_run
        )
        body = make_body(ChangeJobsBody, action=action, job_ids=ids, options=options or None)
        return expect(ChangeJobsResponse200, await change_jobs.asyncio(client=self.low, body=body))

    async def output(self, job: AnyJob, *, lines: int | None = None, offset: int | None = None) -> Output:
        """Return what the job has written to its standard output."""
        asked = drop_none(lines=lines, offset=offset)
        return expect(Output, await get_job_output.asyncio(name_job(job), client=self.low, **asked))

    async def error(self, job: AnyJob, *, lines: int | None = None, offset: int | None = None) -> Output:
        """Return what the job has written to its standard error."""
        asked = drop_none(lines=lines, offset=offset)
        return expect(Output, await get_job_error.asyncio(name_job(job), client=self.low, **asked))

    async def script(self, job: AnyJob) -> ReadScriptResponse200:
        """Return the script of a job."""
        return expect(ReadScriptResponse200, await read_script.asyncio(name_job(job), client=self.low))

    async def wait(self, job: AnyJob, *, timeout: float | None = None) -> JobDetail:
        """Wait until the job has ended; WaitTimeout after so many seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        asked = 0
        while True:
            now = await self.get(job)
            if now.state in ENDED:
                return now
            pause_s = PAUSES_S[min(asked, len(PAUSES_S) - 1)]
            if until is not None:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    raise WaitTimeout(f"Job {now.job_id} is {now.state} after {timeout} s")
                pause_s = min(pause_s, left_s)
            await pause_async(pause_s)
            asked += 1

    async def follow(self, job: AnyJob, *, stream: str = "output", offset: int = 0) -> AsyncIterator[str]:
        """Yield what the job writes, as it comes, until it has ended.

        `stream` is output or error. A lost connection is made again where it was; a file that is written anew is
        yielded from its beginning.
        """
        http = self.low.get_async_httpx_client()
        lost = 0
        while True:
            asked = {"follow": "true", "offset": str(offset)}
            opened_at, reason = math.inf, "the server ended the stream again and again"
            try:
                path = f"/jobs/{quote(name_job(job), safe='')}/{stream}"
                async with aconnect_sse(http, "GET", path, params=asked, timeout=httpx.Timeout(60.0)) as events:
                    opened_at = time.monotonic()
                    async for event in events.aiter_sse():
                        lost = 0
                        if event.event == "end":
                            return
                        if event.event == "truncated":
                            offset = 0
                        if event.event == "output":
                            offset = int(event.id) if event.id else offset
                            yield json.loads(event.data)["data"]
            except (*LOST, httpx.ReadTimeout, ConnectionFailed) as problem:
                reason = str(problem)
            except SSEError as problem:
                raise UnexpectedAnswer(str(problem)) from problem
            lost = count_lost(lost, opened_at)
            pause_s = self.retries.find_pause(lost, None)
            if pause_s is None:
                raise ConnectionFailed(f"The connection was lost: {reason}")
            await pause_async(pause_s)

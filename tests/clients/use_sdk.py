"""What a user does with the Python client; each line says what was seen."""

from __future__ import annotations

import asyncio
import os

from s9s_client import (
    AsyncS9SClient,
    AuthenticationFailed,
    ConnectionFailed,
    RateLimitExceeded,
    ResourceConflict,
    ResourceNotFound,
    Retries,
    S9SClient,
    S9SError,
    ValidationError,
    WaitTimeout,
)

URL, TOKEN, BUSY = os.environ["URL"], os.environ["TOKEN"], os.environ["BUSY"]
CLIENT, SECRET = os.environ["CLIENT"], os.environ["SECRET"]


def refusal(problem: S9SError) -> str:
    """What a program can read off a refusal."""
    return f"{type(problem).__name__} {problem.status} {problem.code} {bool(problem.request_id)}"


def use(client: S9SClient) -> None:
    """Submit, wait, follow, list, change, cancel."""
    job = client.jobs.submit(name="sdk-words", script="#!/bin/sh\necho one\nsleep 1\necho two\n")
    print("followed", repr("".join(client.jobs.follow(job))))
    print("ended", client.jobs.wait(job, timeout=600).state)
    print("output", client.jobs.output(job).lines)
    made = [client.jobs.submit(name="sdk-many", script="/bin/sleep 600", nodes=1) for _ in range(3)]
    ids = {row.job_id for row in client.jobs.iterate(limit=2)}
    print("all pages", all(row.job_id in ids for row in made))
    page = client.jobs.list(limit=1)
    print("one page", len(page), page.total >= 4, page.has_more)
    try:
        client.jobs.wait(made[0], timeout=0.1)
    except WaitTimeout as problem:
        print(type(problem).__name__)
    print("cancelled", client.jobs.cancel(made[0]).state)
    done = client.jobs.bulk("cancel", made[1:], force=True)
    print("bulk", done.summary.successful, done.summary.failed)
    again = [client.jobs.submit(name="sdk-once", script="/bin/true", idempotency_key=f"key-{job.job_id}") for _ in "ab"]
    print("once", again[0].job_id == again[1].job_id)
    for wrong in (lambda: client.jobs.get("99999999"), lambda: client.jobs.submit(script="x", nodes=0)):
        try:
            wrong()
        except (ResourceNotFound, ValidationError) as problem:
            print(refusal(problem), sorted(problem.details))
    use_files(client)
    for update in client.updates("jobs", filter={"state": "RUNNING,PENDING"}, snapshot=True):
        if update.action == "snapshot":
            waits = client.jobs.submit(name="sdk-told", script="/bin/sleep 600")
        elif update.resource_id == waits.job_id:
            print("told", update.action, update.data["job_id"] == waits.job_id)
            break
    with S9SClient(URL, client_id=CLIENT, client_secret=SECRET) as pipeline:
        caller = pipeline.status().user
        print("client", caller.name, sorted(scope for scope in caller.scopes if scope != "report"))
    client.jobs.wait(job)
    try:
        client.jobs.cancel(job)
    except ResourceConflict as problem:
        print(refusal(problem))
    try:
        S9SClient(URL, token="wrong").jobs.list()
    except AuthenticationFailed as problem:
        print(refusal(problem))


def use_files(client: S9SClient) -> None:
    """Export, and read the file; a mistyped filter does not export everything."""
    mistyped = []
    for wrong in (lambda: client.exports.create("jobs", "csv", filter={"usr": "me"}), lambda: client.jobs.get("")):
        try:
            wrong()
        except S9SError as problem:
            mistyped.append(type(problem).__name__)
    print("mistyped", *mistyped)
    made = client.exports.wait(client.exports.create("jobs", "csv", fields=["job_id", "job_name"]))
    path = client.exports.download(made, "jobs.csv")
    print("exported", made.status, path.read_text().splitlines()[0])
    client.exports.delete(made)
    names = [node.node_name for node in client.nodes.list()]
    print("nodes", names, client.nodes.get("node01").node_name, client.partitions.get("main").name)
    print("found", client.search("node01", type="nodes").results[0].id)
    print("metrics", client.metrics.cluster().job_counts is not None, client.status().api_version)
    users = {user.username for user in client.users.list()}
    print("reports", [report.report_id for report in client.reports.iterate()], "users", bool(users))


def use_busy() -> None:
    """Be patient with a server that is busy, and with one that is not there."""
    quick = Retries(count=4, first_s=0.01)
    with S9SClient(BUSY, retries=quick) as client:
        print("at last", client.jobs.submit(script="/bin/true").job_id)
        try:
            client.jobs.get("1")
        except RateLimitExceeded as problem:
            print(refusal(problem), problem.retry_after_s)
    try:
        S9SClient("http://127.0.0.1:1", retries=quick).jobs.get("1")
    except ConnectionFailed as problem:
        print(type(problem).__name__)
    try:
        S9SClient(URL, client_id=CLIENT, client_secret="wrong").status()
    except AuthenticationFailed as problem:
        print(type(problem).__name__, problem.code)
    with S9SClient(f"{BUSY}/v1", client_id=CLIENT, client_secret=SECRET, scope="read") as client:
        print("anew", client.jobs.script("2").script)


async def use_async() -> None:
    """The same, awaited."""
    async with AsyncS9SClient(URL, token=TOKEN) as client:
        job = await client.jobs.submit(name="sdk-async", script="#!/bin/sh\necho three\n")
        print("followed", repr("".join([text async for text in client.jobs.follow(job)])))
        print("ended", (await client.jobs.wait(job, timeout=600)).state)
        print("all pages", job.job_id in {row.job_id async for row in client.jobs.iterate(limit=2)})
        async for update in client.updates("jobs", filter={"state": "RUNNING,PENDING"}, snapshot=True):
            if update.action == "snapshot":
                waits = await client.jobs.submit(name="sdk-told", script="/bin/sleep 600")
            elif update.resource_id == waits.job_id:
                print("told", update.action, update.data["job_id"] == waits.job_id)
                break
        waiting = asyncio.ensure_future(client.jobs.wait(waits))
        await client.status()
        waiting.cancel()
        try:
            await waiting
        except asyncio.CancelledError:
            print("left")


with S9SClient(URL, token=TOKEN) as client:
    use(client)
use_busy()
asyncio.run(use_async())

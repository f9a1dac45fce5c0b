"""GET /api/events: what changes reaches a reader, from the number on that a list tells."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from store.rules.changes import KINDS, parse_position
from tests.app_client import Client, serving
from tests.app_server import Server
from tests.bench.processes import memory_bytes
from tests.bench.readers import READERS, open_stream
from tests.contract_judge import CONTRACT
from tests.waiting import eventually

WORKFLOW = "name: {name}\njobs:\n  - {{name: only, command: ['true']}}\n"


def parse(text: str) -> list[dict[str, Any]]:
    """Read the events of a stream: their data, each with its id as `at`."""
    found = []
    for frame in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if ": " in line)
        if "data" in fields:
            data = orjson.loads(fields["data"])
            assert fields["event"] == data["kind"] and fields["id"].endswith(f"-{data['number']}")
            found.append({**data, "at": fields["id"]})
    return found


def read(client: Client, **asked: Any) -> list[dict[str, Any]]:
    """Read the stream until it ends, which `limit` or `timeout_s` say."""
    headers = asked.pop("headers", None)
    return parse(client.get("/api/events", params=asked, headers=headers).text)


def position(client: Client) -> str:
    """Give the number of the last change, as a list tells it."""
    return str(client.get("/api/store/problems").headers["x-change"])


def follow(client: Client, kind: str, after: str, id: str | None = None, **row: Any) -> dict[str, Any]:
    """Wait for a change of this kind (and id) whose row has these values."""

    def found() -> dict[str, Any] | None:
        asked = {"kinds": kind, "after": after, "timeout_s": 0, **({"ids": id} if id else {})}
        fit = [change for change in read(client, **asked) if row.items() <= (change["row"] or {}).items()]
        return fit[-1] if fit else None

    return eventually(found, 30, f"{kind} {id} {row}")  # type: ignore[return-value]


def test_the_contract_names_all_kinds() -> None:
    kinds = CONTRACT["paths"]["/api/events"]["get"]["parameters"][0]["schema"]["pattern"]
    assert re.findall("[a-z_]{2,}", kinds) == list(KINDS)


def test_the_head_of_a_stream(client: Client) -> None:
    answer = client.get("/api/events?timeout_s=0")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert re.match(r":\nretry: 2000\nid: [0-9a-z]+-[0-9]+\n\n", answer.text)
    head = client.request("HEAD", "/api/events")
    assert head.headers["content-type"] == "text/event-stream"


REFUSED = [
    ("no credentials", "/api/events?timeout_s=0", {"token": None}, 401),
    ("a kind that there is not", "/api/events?kinds=job,jobs", {}, 422),
    ("a number that is not one", "/api/events?after=12", {}, 422),
    ("an id that is not one", "/api/events", {"headers": {"last-event-id": "x y"}}, 422),
    ("no event at all", "/api/events?limit=0", {}, 422),
]


@pytest.mark.parametrize(("why", "path", "more", "status"), REFUSED, ids=[case[0] for case in REFUSED])
def test_refusals(client: Client, why: str, path: str, more: dict[str, Any], status: int) -> None:
    assert client.get(path, **more).status_code == status


def test_a_reader_needs_the_scope_read_only(client: Client) -> None:
    assert client.get("/api/events?timeout_s=0", token="read").status_code == 200


def test_every_list_promises_the_number_of_its_last_change() -> None:
    lists = {
        operation["operationId"]: operation["responses"]["200"].get("headers", {})
        for path in CONTRACT["paths"].values()
        for method, operation in path.items()
        if method == "get" and "_list_" in operation["operationId"]
    }
    del lists["sluice_list_events"]  # the stream itself, which numbers each change
    # Of what the feed does not follow.
    for name in ("users", "reservations", "qos"):
        del lists[f"s9s_list_{name}"]
    del lists["sluice_list_tokens"]
    for name in ("estimators", "clusters"):
        del lists[f"yaptide_list_{name}"]
    del lists["srunx_list_run_jobs"]  # what the jobs of a run run, which no event changes
    assert len(lists) >= 25 and all("X-Change" in headers for headers in lists.values()), lists


def test_every_list_tells_the_number_of_its_last_change(client: Client) -> None:
    for path in ("/api/jobs", "/api/workflows", "/api/workflows/runs", "/api/sweep_runs", "/srtslurm/api/jobs",
                 "/api/history", "/api/config/projects", "/srtslurm/api/events", "/api/v1/jobs", "/api/v1/jobs/ids",
                 "/api/v1/jobs/filter-fields", "/api/v1/nodes", "/api/v1/partitions", "/api/v1/alerts",
                 "/api/v1/exports", "/api/v1/reports", "/user/simulations"):  # fmt: skip
        answer = client.get(path)
        assert re.fullmatch("[0-9a-z]+-[0-9]+", answer.headers["x-change"]), path
    tag = client.get("/api/workflows").headers["etag"]
    same = client.get("/api/workflows", headers={"if-none-match": tag})
    assert same.status_code == 304 and same.headers["x-change"]


# --- each kind ------------------------------------------------------------------------------------------------------


def test_a_job_from_its_submission_to_its_end(client: Client) -> None:
    after = client.get("/api/jobs").headers["x-change"]
    job_id = client.submit("#!/bin/bash\ntrue\n", name="followed")
    created = follow(client, "job", after, str(job_id), name="followed")
    assert created["parent"] == client.get("/health").json()["cluster"]
    client.job(job_id)
    ended = follow(client, "job", after, str(job_id), status="COMPLETED")
    job_row = next(job for job in client.get("/api/jobs").json() if job["job_id"] == job_id)
    assert ended["row"] == job_row


def test_rows_of_jobs_are_those_of_the_list_that_is_asked_for(client: Client) -> None:
    answer = client.get("/api/v1/jobs")
    job_id = client.submit("#!/bin/bash\n#SBATCH --hold\ntrue\n", name="viewed")

    def list_rows() -> list[Any]:
        return [row for row in client.get("/api/v1/jobs").json()["jobs"] if row["job_id"] == str(job_id)]

    (row,) = eventually(list_rows)
    asked = {"kinds": "job", "ids": job_id, "after": answer.headers["x-change"], "timeout_s": 0}
    assert eventually(lambda: read(client, **asked, view="s9s")[-1]["row"] == list_rows()[0])
    assert row.keys() != read(client, **asked)[-1]["row"].keys(), "as srunx shows it"
    assert read(client, **{**asked, "kinds": "problem"}, view="s9s") == []
    client.delete(f"/api/jobs/{job_id}")
    eventually(lambda: read(client, **asked, view="s9s")[-1]["row"]["state"] == "CANCELLED")
    assert client.get("/api/events?view=slurm&timeout_s=0").status_code == 422


def test_exports_and_reports_tell_others_no_more_than_that_there_are_some(client: Client) -> None:
    for kind, path, body, name in (
        ("export", "/api/v1/export", {"type": "jobs", "format": "csv"}, "export_id"),
        ("cluster_report", "/api/v1/reports", {"type": "job_summary", "format": "html"}, "report_id"),
    ):
        after = position(client)
        made = client.post(path, body)
        assert made.status_code in (201, 202), made.text
        follow(client, kind, after, made.json()[name])
        changes = read(client, kinds=kind, after=after, timeout_s=0)
        assert {change["row"] for change in changes} == {None}


def test_a_cancelled_job_shows_at_once(client: Client) -> None:
    job_id = client.submit("#!/bin/bash\nsleep 600\n")
    after = position(client)
    client.delete(f"/api/jobs/{job_id}")
    changes = read(client, kinds="job", ids=job_id, after=after, timeout_s=0)
    assert [change["row"]["status"] for change in changes] == ["CANCELLED"]


def test_a_run_and_its_workflow(client: Client) -> None:
    after = position(client)
    run = client.start_run("feedrun", WORKFLOW.format(name="feedrun"))
    assert read(client, kinds="workflow", ids="feedrun", after=after, timeout_s=0)[0]["action"] == "created"
    client.await_run(run["id"])
    change = follow(client, "run", after, run["id"], status="completed")
    assert change["row"] == client.get(f"/api/workflows/runs/{run['id']}").json()
    client.delete("/api/workflows/feedrun")
    assert follow(client, "workflow", after, "feedrun")["row"] is None


def test_a_sweep_and_its_cells(client: Client) -> None:
    client.workflow(
        "feedsweep", "name: feedsweep\nargs: {n: 1}\njobs:\n  - {name: only, command: ['true', '{{ n }}']}\n"
    )
    after = position(client)
    body = {"sweep": {"matrix": {"n": [1, 2, 3]}, "max_parallel": 2}}
    sweep_id = client.post("/api/workflows/feedsweep/run", body).json()["sweep_run_id"]
    follow(client, "sweep", after, str(sweep_id), status="completed", cells_completed=3)
    cells = client.get(f"/api/sweep_runs/{sweep_id}/cells").json()
    changes = {change["id"]: change for change in read(client, kinds="cell", ids=sweep_id, after=after, timeout_s=0)}
    assert {change["parent"] for change in changes.values()} == {str(sweep_id)}
    assert [changes[cell["id"]]["row"] for cell in cells] == cells


def test_cells_that_never_start_are_cancelled_with_their_sweep(client: Client) -> None:
    client.workflow("feedhold", "name: feedhold\nargs: {n: 1}\njobs:\n  - {name: only, command: [sleep, '60']}\n")
    body = {"sweep": {"matrix": {"n": [1, 2, 3, 4]}, "max_parallel": 1}}
    sweep_id = client.post("/api/workflows/feedhold/run", body).json()["sweep_run_id"]
    after = client.get(f"/api/sweep_runs/{sweep_id}/cells").headers["x-change"]
    client.post(f"/api/sweep_runs/{sweep_id}/cancel")
    follow(client, "sweep", after, str(sweep_id), status="cancelled")
    cells = client.get(f"/api/sweep_runs/{sweep_id}/cells").json()
    rows = {
        change["id"]: change["row"] for change in read(client, kinds="cell", ids=sweep_id, after=after, timeout_s=0)
    }
    assert [rows[cell["id"]] for cell in cells] == cells


def test_a_report_and_the_stage_of_its_job(client: Client) -> None:
    after = position(client)
    body = {"job_id": "feed-1", "job_name": "told", "submitted_at": "2026-01-01T00:00:00Z"}
    assert client.post("/srtslurm/api/jobs", body).status_code == 201
    change = read(client, kinds="report", after=after, timeout_s=0)[0]
    assert (change["id"], change["action"]) == ("feed-1", "created")
    assert change["row"] == client.get("/srtslurm/api/jobs").json()["jobs"][0]
    client.delete("/srtslurm/api/jobs/feed-1")
    assert read(client, kinds="report", after=after, timeout_s=0)[-1]["action"] == "deleted"


def test_a_problem_comes_and_goes(client: Client) -> None:
    after = client.get("/api/store/problems").headers["x-change"]
    path = client.store / "workflows" / "feedbroken.yaml"
    path.write_text("name: [\n")
    change = eventually(lambda: read(client, kinds="problem", after=after, timeout_s=0))[0]
    assert change["id"] == "workflows/feedbroken.yaml"
    assert change["row"] == [
        problem for problem in client.get("/api/store/problems").json() if problem["path"] == change["id"]
    ]
    path.unlink()
    eventually(lambda: read(client, kinds="problem", after=change["at"], timeout_s=0)[0]["action"] == "deleted")


def test_a_problem_outside_of_the_store(tmp_path: Path) -> None:
    system = tmp_path / "config.json"
    with serving(tmp_path / "store", "embedded", SLUICE_SYSTEM_CONFIG=str(system)) as client:
        after = client.get("/api/config").headers["x-change"]
        system.write_text('{"log_dir": 7}')
        client.get("/api/config")
        changes = {change["kind"]: change for change in read(client, kinds="config,problem", after=after, timeout_s=0)}
        assert changes["problem"]["id"] == str(system)
        assert changes["problem"]["row"] == client.get("/api/store/problems").json()
        system.unlink()
        client.get("/api/config")
        changes = {change["kind"]: change for change in read(client, kinds="config,problem", after=after, timeout_s=0)}
        assert changes["problem"]["action"] == "deleted"


def test_configuration_profiles_and_templates(client: Client) -> None:
    after = client.get("/api/config").headers["x-change"]
    assert client.request("PUT", "/api/config", token="admin", json={"log_dir": "feedlogs"}).status_code == 200
    change = read(client, kinds="config", after=after, timeout_s=0)[0]
    assert change["row"] == client.get("/api/config").json()
    given = {"name": "feedprofile", "hostname": "h", "username": "u", "key_filename": "~/.ssh/id_feed"}
    assert client.request("POST", "/api/config/ssh/profiles", token="admin", json=given).status_code in (200, 201)
    change = read(client, kinds="profile", after=after, timeout_s=0)[0]
    assert (change["id"], change["action"], change["row"]["hostname"]) == ("feedprofile", "created", "h")
    client.request("DELETE", "/api/config/ssh/profiles/feedprofile", token="admin")
    assert read(client, kinds="profile", after=after, timeout_s=0)[-1]["action"] == "deleted"
    (client.store / "templates" / "feedtemplate.sh").write_text("#!/bin/bash\ntrue\n")
    assert follow(client, "template", after, "feedtemplate")["row"]["name"] == "feedtemplate"


def test_endpoints_watches_and_subscriptions(client: Client) -> None:
    after = position(client)
    url = "https://hooks.slack.com/services/T0000/B0000/abcdefghij"
    body = {"kind": "slack_webhook", "name": "feed", "config": {"webhook_url": url}}
    endpoint = client.request("POST", "/api/endpoints", token="admin", json=body).json()
    job_id = client.submit("#!/bin/bash\nsleep 600\n")
    watch = client.post(
        "/api/watches", {"kind": "job", "job_id": job_id, "endpoint_id": endpoint["id"], "preset": "all"}
    ).json()
    changes = read(client, kinds="endpoint,watch,subscription", after=after, timeout_s=0)
    assert [(change["kind"], change["id"]) for change in changes] == [
        ("endpoint", str(endpoint["id"])), ("watch", str(watch["watch_id"])),
        ("subscription", str(watch["subscription_id"])),
    ]  # fmt: skip
    assert changes[0]["row"] == endpoint
    client.delete(f"/api/jobs/{job_id}")
    follow(client, "delivery", after)


def test_the_use_of_partitions(client: Client) -> None:
    after = client.get("/api/resources").headers["x-change"]
    job_id = client.submit("#!/bin/bash\nsleep 600\n")
    eventually(lambda: client.get(f"/api/jobs/{job_id}").json()["status"] == "RUNNING")
    eventually(
        lambda: [
            change
            for change in read(client, kinds="resource", after=after, timeout_s=1)
            if change["row"]["jobs_running"]
        ]
    )
    client.delete(f"/api/jobs/{job_id}")


# --- readers --------------------------------------------------------------------------------------------------------


def test_from_a_list_on_everything_comes_once_and_in_order(client: Client) -> None:
    answer = client.get("/api/workflows")
    known = {workflow["name"] for workflow in answer.json()}
    names = [f"once{number}" for number in range(24)]
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        stream = pool.submit(read, client, kinds="workflow", after=answer.headers["x-change"], limit=len(names))
        list(pool.map(lambda name: client.workflow(name, WORKFLOW.format(name=name)), names))
        changes = stream.result(60)
    numbers = [change["number"] for change in changes]
    assert numbers == sorted(set(numbers))
    assert sorted(change["id"] for change in changes) == sorted(names)
    assert {change["action"] for change in changes} == {"created"} and not known & set(names)
    again = read(client, kinds="workflow", timeout_s=0, headers={"last-event-id": changes[10]["at"]})
    assert [change["id"] for change in again] == [change["id"] for change in changes[11:]]


def test_last_event_id_counts_before_after(client: Client) -> None:
    first = position(client)
    client.workflow("lastid", WORKFLOW.format(name="lastid"))
    assert read(client, kinds="workflow", after=first, timeout_s=0)
    assert not read(client, kinds="workflow", after=first, timeout_s=0, headers={"last-event-id": position(client)})


@pytest.mark.parametrize("after", ["1-1", "1a0c4506c00-99999999999"])
def test_another_starts_number_is_answered_with_reset(client: Client, after: str) -> None:
    before = parse_position(position(client))
    changes = read(client, after=after, kinds="run", limit=1)
    assert [(change["kind"], change["action"], change["row"]) for change in changes] == [("reset", "reset", None)]
    start, number = parse_position(changes[0]["at"])
    assert before == (start, before[1]) and before[1] <= number <= parse_position(position(client))[1]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_streams_and_waits_end_with_the_server(server: Server, how: int) -> None:
    begun, ended = threading.Barrier(4), []
    made = server.http.post("/api/jobs", json={"name": "long", "script_content": "#!/bin/sh\nsleep 600\n"}).json()

    def follow_to_the_end() -> None:
        with httpx.stream("GET", f"{server.url}/api/events", timeout=30) as answer:
            pieces = answer.iter_text()
            text = next(pieces)
            begun.wait(20)
            ended.append(text + "".join(pieces))  # raises when the stream is cut off

    threads = [threading.Thread(target=follow_to_the_end) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait(20)
    with socket.create_connection(("127.0.0.1", server.port), 30) as waiting:
        waiting.sendall(b"GET /api/jobs/%d?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n" % made["job_id"])
        assert httpx.get(f"{server.url}/health").status_code == 200, "so the request before it was taken too"
        assert server.end(how) in (0, -signal.SIGTERM)
        assert waiting.recv(20).startswith(b"HTTP/1.1 200 ")
    for thread in threads:
        thread.join(10)
    assert len(ended) == 3
    assert "graceful" not in server.log(), "nobody had to be thrown out"
    server.start()  # whose end takes the job along


def test_idle_readers_cost_little(server: Server) -> None:
    assert server.process is not None
    process_id = server.process.pid

    async def open_streams() -> int:
        before = memory_bytes(process_id)
        streams = await asyncio.gather(*(open_stream(server.port) for _ in range(READERS)))
        cost_bytes = memory_bytes(process_id) - before
        for _reader, writer in streams:
            writer.close()
        return cost_bytes

    assert READERS == 200 and asyncio.run(open_streams()) < 20e6


def test_a_reader_that_never_reads_delays_nobody(server: Server) -> None:
    """The changes are more bytes than the kernel keeps for a reader, so writing to this one stands still."""
    names = [f"much{number}" for number in range(200)]
    text = "name: {name}\njobs:\n  - {{name: only, command: [echo, " + "x" * 2_000 + "]}}\n"
    after = server.http.get("/api/workflows").headers["x-change"]
    asked = {"kinds": "workflow", "after": after, "limit": len(names)}
    with socket.socket() as silent, concurrent.futures.ThreadPoolExecutor(1) as pool:
        # Both make the kernel keep less: it holds 130 kB then, instead of megabytes.
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        silent.connect(("127.0.0.1", server.port))
        silent.sendall(f"GET /api/events?kinds=workflow&after={after} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        stream = pool.submit(httpx.get, f"{server.url}/api/events", params=asked, timeout=120)
        for name in names:
            body = {"yaml": text.format(name=name), "filename": f"{name}.yaml"}
            server.http.post("/api/workflows/upload", json=body).raise_for_status()
        assert [change["id"] for change in parse(stream.result(120).text)] == names
        assert server.http.get("/health").status_code == 200


def test_who_leaves_is_forgotten(server: Server, tmp_path: Path) -> None:
    with httpx.stream("GET", f"{server.url}/api/events?kinds=workflow", timeout=30) as answer:
        pieces = answer.iter_text()
        next(pieces)
        body = {"yaml": WORKFLOW.format(name="live"), "filename": "live.yaml"}
        server.http.post("/api/workflows/upload", json=body).raise_for_status()
        assert [change["id"] for change in parse(next(pieces))] == ["live"]
    assert server.http.get("/health").status_code == 200

"""A job's output over the S9S API: its last lines, from an offset on, as text, as it is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.app_client import Client
from tests.app_server import Server
from tests.waiting import eventually

KEYS = [
    "job_id", "stream", "path", "exists", "merged", "lines", "content", "line_count", "total_bytes", "offset",
    "truncated", "restarted", "complete",
]  # fmt: skip
COUNT = "#!/bin/bash\nfor i in 1 2 3 4 5; do echo line $i; done\necho oops >&2\n"
EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that jobs may write into."""
    return tmp_path_factory.mktemp("logs")


def submit(client: Any, script: str, **fields: Any) -> str:
    """Submit a job; return its id."""
    answer = client.post("/api/v1/jobs", json={"script": script, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job_id"])


@pytest.fixture(scope="module")
def ended(client: Client, folder: Path) -> str:
    """A job that has written five lines and an error."""
    job_id = submit(client, COUNT, standard_output=f"{folder}/%j.out", standard_error=f"{folder}/%j.err")
    eventually(lambda: client.get(f"/api/v1/jobs/{job_id}/output").json()["complete"])
    return job_id


def get(client: Client, job_id: str, stream: str = "output", **query: Any) -> dict[str, Any]:
    """Get output as JSON."""
    found: dict[str, Any] = client.get(f"/v1/jobs/{job_id}/{stream}", params=query).json()
    assert list(found) == KEYS, found
    return found


def test_the_output_of_a_job_that_has_ended(client: Client, ended: str, folder: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(1, 6))
    assert get(client, ended) == {
        "job_id": ended, "stream": "stdout", "path": f"{folder}/{ended}.out", "exists": True, "merged": False,
        "lines": text.split("\n")[:-1], "content": text, "line_count": 5, "total_bytes": 35, "offset": 35,
        "truncated": False, "restarted": False, "complete": True,
    }  # fmt: skip
    error = get(client, ended, "error")
    assert (error["stream"], error["path"], error["content"]) == ("stderr", f"{folder}/{ended}.err", "oops\n")


@pytest.mark.parametrize(
    ("why", "query", "content", "offset", "truncated", "complete"),
    [
        ("the last lines", {"lines": 2}, "line 4\nline 5\n", 35, True, True),
        ("none", {"lines": 0}, "", 35, True, True),
        ("from an offset on", {"offset": 28}, "line 5\n", 35, False, True),
        ("some lines from an offset on", {"offset": 7, "lines": 2}, "line 2\nline 3\n", 21, False, False),
        ("at its end", {"offset": 35}, "", 35, False, True),
    ],
)
def test_some_lines(
    client: Client, ended: str, why: str, query: dict[str, int], content: str, offset: int, truncated: bool,
    complete: bool,
) -> None:  # fmt: skip
    found = get(client, ended, **query)
    assert (found["content"], found["offset"], found["truncated"], found["complete"]) == (
        content, offset, truncated, complete,
    ), why  # fmt: skip


def test_an_offset_behind_the_end_means_that_it_was_written_anew(client: Client, ended: str) -> None:
    found = get(client, ended, offset=1000, lines=1)
    assert (found["content"], found["offset"], found["restarted"]) == ("line 1\n", 7, True)


def test_output_as_text(client: Client, ended: str) -> None:
    answer = client.get(f"/v1/jobs/{ended}/output", params={"lines": 1}, headers={"Accept": "text/plain"})
    assert (answer.headers["content-type"], answer.text) == ("text/plain; charset=utf-8", "line 5\n")
    mixed = client.get(f"/v1/jobs/{ended}/output", headers={"Accept": "application/json, text/plain;q=0.5"})
    assert mixed.headers["content-type"] == "application/json"


def test_output_and_error_in_one_file(client: Client, folder: Path) -> None:
    job_id = submit(client, COUNT, standard_output=f"{folder}/%j.both")
    found = eventually(lambda: (row := get(client, job_id, "error"))["complete"] and row)
    assert found["merged"] and found["stream"] == "stderr" and sorted(found["lines"])[-1] == "oops"
    assert get(client, job_id)["merged"]


def test_a_waiting_job_has_no_output_yet(client: Client, folder: Path) -> None:
    job_id = submit(client, COUNT.replace("\n", "\n#SBATCH --hold\n", 1), standard_output=f"{folder}/%j.out")
    found = get(client, job_id)
    assert (found["exists"], found["path"], found["content"], found["complete"]) == (False, None, "", False)
    client.delete(f"/api/v1/jobs/{job_id}")


def test_what_is_not_there_or_not_the_jobs(client: Client, folder: Path) -> None:
    assert client.get("/api/v1/jobs/99999999/output").status_code == 404
    job_id = submit(client, "/bin/true", standard_output=f"{folder}/%j.out")
    eventually(lambda: get(client, job_id)["complete"])
    (folder / f"{job_id}.out").unlink()
    gone = client.get(f"/api/v1/jobs/{job_id}/output")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "RESOURCE_NOT_FOUND")
    (folder / f"{job_id}.out").symlink_to("/etc/passwd")
    linked = client.get(f"/api/v1/jobs/{job_id}/output")
    assert (linked.status_code, linked.json()["error"]["code"]) == (403, "PERMISSION_DENIED")
    followed = client.get(f"/api/v1/jobs/{job_id}/output", params={"follow": True}, headers=EVENTS)
    assert followed.status_code == 403, "also before the first event"


def test_a_large_output_is_read_from_its_end(client: Client, folder: Path) -> None:
    script = "#!/bin/bash\nyes 0123456789abcde | head -n 400000\n"
    job_id = submit(client, script, standard_output=f"{folder}/%j.out")
    found = eventually(lambda: (row := get(client, job_id, lines=20_000))["complete"] and row)
    assert (found["line_count"], found["truncated"], found["total_bytes"]) == (20_000, True, 6_400_000)
    most = get(client, job_id, lines=100_000)
    assert most["line_count"] == 100_000, "1.6 MB"
    rest = get(client, job_id, offset=1_000_000, lines=100_000)
    assert (rest["line_count"], rest["offset"], rest["complete"]) == (100_000, 2_600_000, False)


@pytest.mark.parametrize(
    ("why", "query", "field"),
    [
        ("too many lines", "lines=100001", "lines"),
        ("less than none", "lines=-1", "lines"),
        ("no number", "lines=all", "lines"),
        ("an offset before the file", "offset=-5", "offset"),
        ("neither yes nor no", "follow=perhaps", "follow"),
    ],
)
def test_wrong_queries(client: Client, why: str, query: str, field: str) -> None:
    answer = client.get(f"/api/v1/jobs/1/output?{query}")
    assert (answer.status_code, list(answer.json()["error"]["details"]["fields"])) == (400, [field]), why


# --- following --------------------------------------------------------------------------------------------------------


def read_events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Read events: the id and the message of each."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "data" in fields:
            assert fields["event"] == json.loads(fields["data"])["type"]
            found.append((fields["id"], json.loads(fields["data"])))
    return found


def test_to_follow_takes_an_event_stream_or_a_websocket(client: Client, ended: str) -> None:
    answer = client.get(f"/api/v1/jobs/{ended}/output", params={"follow": True})
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert answer.json()["error"]["code"] == "INVALID_REQUEST"


def test_the_output_of_an_ended_job_is_told_to_its_end(client: Client, ended: str) -> None:
    answer = client.get(f"/api/v1/jobs/{ended}/output", params={"follow": True}, headers=EVENTS)
    text = "".join(f"line {number}\n" for number in range(1, 6))
    assert read_events(answer.text) == [
        ("35", {"type": "output", "stream": "stdout", "offset": 0, "next_offset": 35, "data": text}),
        ("35", {"type": "end", "state": "COMPLETED", "exit_code": 0, "offset": 35}),
    ]
    for more in ({"params": {"follow": True, "offset": 28}}, {"params": {"follow": True}, "id": "28"}):
        headers = {**EVENTS, **({"Last-Event-ID": more["id"]} if "id" in more else {})}
        answer = client.get(f"/api/v1/jobs/{ended}/output", params=more["params"], headers=headers)
        assert read_events(answer.text)[0][1]["data"] == "line 5\n"


def test_output_is_followed_as_it_is_written(server: Server, tmp_path: Path) -> None:
    """The job writes on only when the follower has told what it wrote before."""
    for path in (tmp_path, tmp_path.parent):
        path.chmod(0o755)
    go = tmp_path / "go"
    script = (
        f"#!/bin/bash\necho begun\nuntil [ -e {go} ]; do sleep 0.05; done\n"
        f"truncate -s 0 {tmp_path}/out\nprintf 'x\\n'\nkill -USR1 $$\n"
    )
    with httpx.Client(base_url=server.url, headers=server.http.headers, timeout=120) as http:
        job_id = submit(http, script, standard_output=str(tmp_path / "out"))
        messages: list[dict[str, Any]] = []
        path = f"/v1/jobs/{job_id}/output?follow=true"
        with http.stream("GET", path, headers=EVENTS) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            assert answer.headers["x-accel-buffering"] == "no"
            assert answer.headers["cache-control"] == "no-store, no-transform"
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    messages.append(json.loads(line[6:]))
                if messages and messages[-1].get("data") == "begun\n":
                    go.touch()
    assert [message["type"] for message in messages] == ["output", "truncated", "output", "end"], messages
    assert messages[2]["data"] == "x\n" and messages[2]["offset"] == 0
    assert (messages[3]["state"], messages[3]["exit_code"]) == ("FAILED", 128 + 10)


def test_a_websocket_gets_the_same_messages(server: Server, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path.parent):
        path.chmod(0o755)
    go = tmp_path / "go"
    script = f"#!/bin/bash\necho begun >&2\nuntil [ -e {go} ]; do sleep 0.05; done\nexit 3\n"
    with httpx.Client(base_url=server.url, headers=server.http.headers, timeout=120) as http:
        job_id = submit(http, script, standard_output=f"{tmp_path}/out", standard_error=f"{tmp_path}/err")
    url = server.url.replace("http", "ws", 1) + f"/v1/jobs/{job_id}/error?follow=true"
    headers = {name: value for name, value in server.http.headers.items() if name == "authorization"}
    messages: list[dict[str, Any]] = []
    with connect(url, additional_headers=headers) as socket:
        for text in socket:
            message = json.loads(text)
            messages += [message] if message["type"] != "ping" else []
            if message.get("data") == "begun\n":
                go.touch()
    assert messages == [
        {"type": "output", "stream": "stderr", "offset": 0, "next_offset": 6, "data": "begun\n"},
        {"type": "end", "state": "FAILED", "exit_code": 3, "offset": 6},
    ]
    assert socket.close_code == 1000
    with connect(f"{url}&offset=6", additional_headers=headers) as socket:
        assert [json.loads(text)["type"] for text in socket] == ["ping", "end"], "resumed"
    with pytest.raises(InvalidStatus) as refused:
        connect(url.replace(f"/{job_id}/", "/99999999/"), additional_headers=headers)
    assert refused.value.response.status_code == 404

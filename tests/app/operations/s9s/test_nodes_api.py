"""Nodes and partitions over the S9S API, on both clusters: listed, filtered, drained, given back."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from typing import Any

import pytest

from tests.app_client import Client
from tests.waiting import eventually

KEYS = [
    "node_name", "state", "partitions", "cpu_total", "cpu_allocated", "cpu_load", "memory_total", "memory_allocated",
    "memory_free", "gpus_total", "gpus_allocated", "features", "architecture", "os", "boot_time", "last_busy", "jobs",
    "reason",
]  # fmt: skip
PARTITION_KEYS = [
    "name", "state", "nodes_total", "nodes_idle", "nodes_allocated", "nodes_mixed", "cpus_total", "cpus_allocated",
    "default_time", "max_time", "max_nodes", "priority", "qos", "features",
]  # fmt: skip


@pytest.fixture(autouse=True)
def nodes_in_service(client: Client) -> Iterator[None]:
    """Await nodes that answer, and leave none out of service."""
    eventually(lambda: client.get("/v1/nodes", params={"available": "true"}, judged=False).json().get("total"))
    yield
    for node in client.get("/v1/nodes").json()["nodes"]:
        if node["state"] in ("DRAIN", "DRAINING", "DOWN"):
            client.put(f"/v1/nodes/{node['node_name']}/resume")


def names_of(client: Client, **query: Any) -> list[str]:
    """The names of the nodes that fit."""
    return [node["node_name"] for node in client.get("/v1/nodes", params=query).json()["nodes"]]


def last_node(client: Client) -> str:
    """The node that the tests take out of service."""
    return names_of(client)[-1]


def test_a_node_has_the_keys_of_the_document_and_two_more(client: Client) -> None:
    for root in ("/api/v1", "/v1"):
        found = client.get(f"{root}/nodes").json()
        assert found["total"] == len(found["nodes"]) > 1
        for node in found["nodes"]:
            assert list(node) == [*KEYS, "state_flags", "state_raw"]
            assert (node["memory_total"], node["gpus_total"], node["cpu_total"]) == ("16000MB", 4, 8)
            assert node["architecture"] and node["os"].count(" ") == 1 and node["partitions"]


def test_a_list_that_did_not_change_is_not_sent_again(client: Client) -> None:
    # What a busy machine says of its load changes all the time; partitions do not tell it.
    answer = client.get("/v1/partitions")
    same = lambda: client.get("/v1/partitions", headers={"if-none-match": answer.headers["etag"]})  # noqa: E731
    assert same().status_code in (200, 304) and answer.headers["x-snapshot-age"]
    assert client.get("/v1/nodes").headers["etag"].startswith('"')


def test_a_window_of_the_list(client: Client) -> None:
    names = names_of(client)
    assert names_of(client, limit=1) == names[:1] and names_of(client, limit=1, offset=1) == names[1:2]
    assert client.get("/v1/nodes", params={"limit": 1}).json()["total"] == len(names)


@pytest.mark.parametrize(
    ("why", "query", "fits_all"),
    [
        ("states in any case, with commas", {"state": "idle,MIXED,Allocated"}, True),
        ("sinfo's codes", {"state": "idle,mix,alloc"}, True),
        ("a state that none has", {"state": "down"}, False),
        ("a partition that is not there", {"partition": "nowhere"}, False),
        ("features that none has", {"features": "infiniband,cuda"}, False),
        ("available", {"available": "true"}, True),
        ("not available", {"available": "false"}, False),
    ],
)
def test_filters(client: Client, why: str, query: dict[str, str], fits_all: bool) -> None:
    eventually(lambda: len(names_of(client, available=True)) == len(names_of(client)))
    assert names_of(client, **query) == (names_of(client) if fits_all else []), why


def test_a_partition_has_its_nodes(client: Client) -> None:
    for row in client.get("/v1/partitions").json()["partitions"]:
        assert list(row) == PARTITION_KEYS
        detail = client.get(f"/v1/partitions/{row['name']}").json()
        assert {key: detail[key] for key in ("name", "max_time", "priority", "cpus_total")} == {
            key: row[key] for key in ("name", "max_time", "priority", "cpus_total")
        }
        assert names_of(client, partition=row["name"]) == detail["nodes"]
        assert len(detail["nodes"]) == row["nodes_total"] and row["cpus_total"] == 8 * row["nodes_total"]
        assert detail["gpus_total"] == 4 * (row["nodes_total"] - detail["nodes_down"]) and row["default_time"] is None
    assert [client.get(f"/v1/partitions/{row['name']}").json()["is_default"] for row in [row]] in ([True], [False])


def test_a_job_stands_at_its_node(client: Client) -> None:
    partition = "gpu" if client.cluster == "slurm" else "main"
    script = f"#!/bin/bash\n#SBATCH -p {partition} -n 2 --gpus-per-node=1\nexec sleep 600\n"
    job_id = str(client.submit(script))
    name = eventually(lambda: next(iter(client.get(f"/v1/jobs/{job_id}").json()["nodes"]), None))
    node = eventually(lambda: (found := client.get(f"/v1/nodes/{name}").json())["gpus_allocated"] == 1 and found)
    assert job_id in node["jobs"] and node["state"] == "MIXED" and node["cpu_allocated"] >= 2
    (row,) = [row for row in node["running_jobs"] if row["job_id"] == job_id]
    assert (row["state"], row["cpus"], row["gpus"]) == ("RUNNING", 2, 1)
    assert node["tres_configured"]["gres/gpu"] == "4" and node["hostname"] and node["sockets"]
    assert client.get(f"/v1/partitions/{partition}").json()["jobs_running"] >= 1
    client.delete(f"/v1/jobs/{job_id}")
    eventually(lambda: job_id not in client.get(f"/v1/nodes/{name}").json()["jobs"])


def test_a_drained_node_takes_no_job_until_it_is_given_back(client: Client) -> None:
    name = last_node(client)
    answer = client.put(f"/v1/nodes/{name}/drain", json={"reason": 'Hardware "maintenance"; ünïcode | pipe'})
    assert answer.json() == {
        "node_name": name, "state": "DRAIN", "reason": 'Hardware "maintenance"; ünïcode | pipe',
        "message": "Node drained successfully", "resume_at": None,
        "nodes": [{"node_name": name, "state": "DRAIN", "reason": 'Hardware "maintenance"; ünïcode | pipe'}],
    }  # fmt: skip
    node = client.get(f"/v1/nodes/{name}").json()
    assert (node["state"], node["available"], node["reason_set_by"]) == ("DRAIN", False, getpass.getuser())
    assert node["reason_set_at"] and "DRAIN" in node["state_flags"] and name in names_of(client, state="drain")
    partition = node["partitions"][0]
    job_id = client.submit(f"#!/bin/bash\n#SBATCH -p {partition} -w {name} -o /dev/null\ntrue\n")
    eventually(lambda: "ReqNodeNotAvail" in (client.get(f"/v1/jobs/{job_id}").json()["reason"] or ""))
    answer = client.put(f"/v1/nodes/{name}/resume").json()
    assert (answer["reason"], answer["message"]) == (None, "Node resumed successfully")
    assert answer["state"] in ("IDLE", "MIXED"), "the job that waits for it may be there already"
    assert client.job(job_id)["status"] == "COMPLETED"


def test_a_drain_with_a_time_says_when_it_ends(client: Client) -> None:
    name = last_node(client)
    answer = client.put(f"/v1/nodes/{name}/drain", json={"reason": "Hardware maintenance", "timeout": "2h"}).json()
    assert answer["resume_at"] == client.get(f"/v1/nodes/{name}").json()["resume_at"] is not None
    client.put(f"/v1/nodes/{name}/resume")
    assert client.get(f"/v1/nodes/{name}").json()["resume_at"] is None
    client.put(f"/v1/nodes/{name}/drain", json={"reason": "Hardware maintenance"})
    assert client.get(f"/v1/nodes/{name}").json()["resume_at"] is None, "a drain without an end took its place"


def test_a_node_is_given_back_when_its_time_has_come(client: Client) -> None:
    name = last_node(client)
    client.put(f"/v1/nodes/{name}/drain", json={"reason": "soon over", "timeout": "1s"})
    eventually(lambda: client.get(f"/v1/nodes/{name}").json()["state"] == "IDLE")


def test_many_nodes_in_one_call(client: Client) -> None:
    first, last = names_of(client)[-2:]
    both = f"{first[:-2]}[{first[-2:]}-{last[-2:]}]"
    answer = client.put(f"/v1/nodes/{both}/state", json={"state": "drain", "reason": "move"}).json()
    assert (answer["node_name"], answer["state"], answer["message"]) == (both, "DRAIN", "2 nodes drained successfully")
    assert [node["node_name"] for node in answer["nodes"]] == [first, last]
    client.put(f"/v1/nodes/{last}/state", json={"state": "UNDRAIN"})
    refused = client.put(f"/v1/nodes/{first},{last}/resume")
    assert refused.status_code == 409 and last in refused.json()["error"]["message"]
    assert client.get(f"/v1/nodes/{first}").json()["state"] == "DRAIN", "all or none"
    assert client.put(f"/v1/nodes/{first}/resume").json()["state"] == "IDLE"


def test_what_runs_on_a_node_that_goes_down_ends(client: Client) -> None:
    name = last_node(client)
    partition = client.get(f"/v1/nodes/{name}").json()["partitions"][0]
    script = f"#!/bin/bash\n#SBATCH -p {partition} -w {name} --no-requeue -o /dev/null\nexec sleep 600\n"
    job_id = client.submit(script)
    eventually(lambda: client.job(job_id, over=False)["status"] == "RUNNING")
    answer = client.put(f"/v1/nodes/{name}/state", json={"state": "DOWN", "reason": "Hardware failure"}).json()
    assert answer["message"] == "Node set to DOWN successfully"
    eventually(lambda: client.get(f"/v1/jobs/{job_id}").json()["state"] == "NODE_FAIL")


REFUSED = [
    ("a node that is not there", "nope/drain", {"reason": "x"}, 404, "RESOURCE_NOT_FOUND", "Node nope not found"),
    ("one of several is not there", "{node},nope/drain", {"reason": "x"}, 404, "RESOURCE_NOT_FOUND", "nope"),
    ("all nodes", "ALL/drain", {"reason": "x"}, 400, "INVALID_REQUEST", "ALL is refused"),
    ("brackets that do not match", "node[01/drain", {"reason": "x"}, 400, "INVALID_REQUEST", "host"),
    ("no reason", "{node}/drain", {}, 400, "VALIDATION_ERROR", "reason"),
    ("an empty reason", "{node}/drain", {"reason": " "}, 400, "VALIDATION_ERROR", "one line"),
    ("two lines", "{node}/drain", {"reason": "a\nb"}, 400, "VALIDATION_ERROR", "one line"),
    ("a time that is none", "{node}/drain", {"reason": "x", "timeout": "soon"}, 400, "VALIDATION_ERROR", "2h"),
    ("no time at all", "{node}/drain", {"reason": "x", "timeout": "0h"}, 400, "VALIDATION_ERROR", "2h"),
    ("an unknown field", "{node}/drain", {"reason": "x", "timout": "2h"}, 400, "VALIDATION_ERROR", "timeout"),
    ("in service", "{node}/resume", None, 409, "RESOURCE_CONFLICT", "Invalid node state specified"),
    ("no such state", "{node}/state", {"state": "FROB"}, 400, "VALIDATION_ERROR", "not one of DOWN"),
    ("a state that may not be set", "{node}/state", {"state": "FUTURE"}, 400, "VALIDATION_ERROR", "not one of"),
    ("down without a reason", "{node}/state", {"state": "down"}, 400, "VALIDATION_ERROR", "reason"),
    ("idle already", "{node}/state", {"state": "idle"}, 409, "RESOURCE_CONFLICT", "Invalid node state"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "path", "body", "status", "code", "said"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals(
    client: Client, why: str, path: str, body: dict[str, Any] | None, status: int, code: str, said: str
) -> None:
    eventually(lambda: not names_of(client, state="drain,down"), 30, "the node of the test before is back")
    node = names_of(client, state="idle")[0]
    answer = client.put(f"/v1/nodes/{path.format(node=node)}", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code), error
    assert said in error["message"]
    assert not names_of(client, state="drain,down")


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [("/v1/nodes/nope", "node", "nope"), ("/v1/partitions/nope", "partition", "nope")],
)
def test_what_is_not_there(client: Client, path: str, kind: str, name: str) -> None:
    answer = client.get(path)
    details = {"resource_type": kind, "resource_id": name}
    assert (answer.status_code, answer.json()["error"]["details"]) == (404, details)


@pytest.mark.parametrize("query", ["state=idel", "availble=true", "available=perhaps", "limit=0", "offset=-1"])
def test_wrong_filters(client: Client, query: str) -> None:
    assert client.get(f"/v1/nodes?{query}").status_code == 400


@pytest.mark.parametrize("what", ["drain", "resume", "state"])
def test_nodes_are_for_administrators(client: Client, what: str) -> None:
    body = {"drain": {"json": {"reason": "x"}}, "state": {"json": {"state": "DOWN", "reason": "x"}}}.get(what, {})
    answer = client.put(f"/v1/nodes/node01/{what}", token="write", **body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "PERMISSION_DENIED")

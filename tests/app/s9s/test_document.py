"""Every example of the S9S API Documentation, literally, on both clusters: run or sent, the answer compared."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests import ROOT
from tests.app.s9s import document
from tests.app_client import Client
from tests.app_server import Server
from tests.contract_judge import CONTRACT, path_of, resolve
from tests.waiting import eventually

# An embedded cluster that has what the examples ask for, and a server for e-mail that need not answer.
CONFIG = """\
cluster: {nodes: 4, cpus: 32, memory_mb: 128000, gpus: 4, partitions: [{name: main}, {name: gpu}]}
poll: {min_s: 1, max_s: 1}
smtp: {host: 127.0.0.1, port: 9, tls: none, from: sluice@example.com}
"""
# The nodes of the real one are smaller, and its accounts are others.
SMALLER = {'"cpus_per_node": 16': '"cpus_per_node": 8', '"64GB"': '"8GB"', '"research"': '"root"'}
WAITING = "#!/bin/bash\n#SBATCH --begin=now+1day\ntrue\n"
KEY, SECRET = "slk_a-key-of-the-document", "slo_your_client_secret"


def write_config(store: Path) -> Path:
    """Write the configuration of a store; return the store."""
    store.mkdir()
    (store / "config.yaml").write_text(CONFIG)
    return store


@pytest.fixture(scope="module")
def served(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all commands, with an API key and an OAuth client."""
    server = Server(write_config(tmp_path_factory.mktemp("document") / "store"), cluster)
    keys, hashes = [], [hashlib.sha256(secret.encode()).hexdigest() for secret in (KEY, SECRET)]
    for kind, name, digest in zip(("api_keys", "oauth_clients"), ("reader", "your_client_id"), hashes, strict=True):
        keys.append(f"{kind}: [{{name: {name}, sha256: '{digest}', scopes: [read]}}]\n")
    with (server.store / "access.yaml").open("a") as file:
        file.writelines(keys)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="module")
def client(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The app for all requests; nodes that they took out of service are given back."""
    made = Client(write_config(tmp_path_factory.mktemp("answers") / "store"), cluster)
    try:
        made.start()
        eventually(lambda: made.get("/v1/nodes", params={"available": "true"}, judged=False).json().get("total"))
        yield made
        for node in made.get("/v1/nodes").json()["nodes"]:
            if node["state"] in ("DRAIN", "DRAINING", "DOWN"):
                made.put(f"/v1/nodes/{node['node_name']}/resume")
    finally:
        made.stop()


def find_waiting(client: Client | Server) -> str:
    """The id of a job that waits until tomorrow: it can be held, looked at and cancelled."""
    body = {"name": "waits", "script_content": WAITING}
    if isinstance(client, Client):
        return str(client.submit(WAITING, "waits"))
    return str(client.http.post("/api/jobs", json=body).json()["job_id"])


# --- cURL


@pytest.mark.parametrize(
    ("why", "command", "status", "fields"), document.CURL, ids=[row[0].replace(" ", "-") for row in document.CURL]
)
def test_a_curl_command_of_the_document(
    served: Server, tmp_path: Path, why: str, command: str, status: int, fields: str
) -> None:
    assert shutil.which("curl"), "curl is missing"
    script = tmp_path / "test.sh"
    script.write_text("#!/bin/bash\nsleep 60\n")
    if "12345" in command:
        command = command.replace("12345", find_waiting(served))
    if "ACCESS_TOKEN" in command:
        form = {"grant_type": "client_credentials", "client_id": "your_client_id", "client_secret": SECRET}
        command = command.replace("ACCESS_TOKEN", served.http.post("/oauth/token", json=form).json()["access_token"])
    for given, real in {
        "https://api.example.com": served.url, "YOUR_TOKEN": served.tokens["read"], "YOUR_API_KEY": KEY,
        "your_client_secret": SECRET, "Bearer TOKEN": f"Bearer {served.tokens['write']}",
        "/home/alice/test.sh": str(script),
    }.items():  # fmt: skip
        command = command.replace(given, real)
    environment = {"S9S_API_URL": served.url, "S9S_API_TOKEN": served.tokens["write"], "PATH": os.environ["PATH"]}
    line = command.replace("curl", "curl -s -w '\\n%{http_code}'", 1)
    done = subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    answer, _, code = done.stdout.rpartition("\n")
    assert int(code) == status, answer
    assert set(fields.split()) <= set(json.loads(answer)), answer


# --- JSON


def has_shape(example: Any, answer: Any) -> list[str]:
    """What the answer lacks of the example's keys, or has of another kind; null is what SLURM does not tell."""
    if answer is None or example is None:
        return []
    if isinstance(example, Mapping):
        if not isinstance(answer, Mapping):
            return [f"{answer!r} is no object"]
        missing = [f"no {key}" for key in example if key not in answer]
        return missing + [
            f"{key}: {said}" for key in example if key in answer for said in has_shape(example[key], answer[key])
        ]
    if isinstance(example, list):
        if not isinstance(answer, list):
            return [f"{answer!r} is no list"]
        return [said for row in answer[:1] for said in has_shape(example[0], row)] if example else []
    numbers = (int, float)
    fits = isinstance(answer, numbers) if isinstance(example, numbers) else isinstance(answer, type(example))
    return [] if fits else [f"{answer!r} instead of {example!r}"]


@pytest.mark.parametrize(
    ("why", "operation", "path", "body", "example"),
    document.EXAMPLES,
    ids=[row[0].replace(" ", "-") for row in document.EXAMPLES],
)
def test_an_answer_has_the_shape_of_the_document_s_example(
    client: Client, tmp_path: Path, why: str, operation: str, path: str, body: str | None, example: str
) -> None:
    job, method = find_waiting(client), operation.partition(" ")[0]
    if "EXPORT" in path:
        made = client.post("/v1/export", json={"type": "jobs", "format": "csv"}).json()["export_id"]
        path = path.replace("EXPORT", made)
        eventually(lambda: client.get(path).json()["status"] != "processing", 60)
    if "NODE" in path:
        node = client.get("/v1/nodes", params={"available": "true"}).json()["nodes"][-1]["node_name"]
        path = path.replace("NODE", node)
    shape = json.loads(example)
    if "/jobs/{job_id}" in operation and "environment" in shape:
        shape["environment"] = {}  # its names are those of the submission
    content = localize(body, job, tmp_path, client) if body is not None else None
    headers = {"content-type": "application/json"} if body is not None else {}
    answer = client.request(method, path.replace("JOB", job), token="admin", content=content, headers=headers)
    assert answer.status_code == (201 if operation in CREATING else 200), answer.text
    assert has_shape(shape, answer.json()) == [], answer.text
    check_values(shape, answer)


CREATING = {"POST /v1/jobs", "POST /v1/export", "POST /v1/reports"}


def localize(body: str, job: str, folder: Path, client: Client) -> str:
    """The document's body with ids, files and names that are there."""
    script = folder / "simulation.sh"
    script.write_text("#!/bin/bash\ntrue\n")
    for given, real in {
        "12344": job, "12345": job, "12346": find_waiting(client), "12347": "99999",
        "/home/alice/scripts/simulation.sh": str(script), "/home/alice": str(folder),
        **(SMALLER if client.cluster == "slurm" else {}),
    }.items():  # fmt: skip
        body = body.replace(given, real)
    return json.dumps(json.loads(body))


def check_values(example: Any, answer: httpx.Response) -> None:
    """What an example says in words is said in the same words."""
    said = answer.json()
    for key in ("message", "code"):
        for holder, expected in ((said, example), (said.get("error", {}), example.get("error", {}))):
            if key in expected:
                assert holder[key] == expected[key]


def test_an_error_is_that_of_the_document(client: Client) -> None:
    answer, example = client.get("/v1/jobs/99999"), json.loads(document.ERROR)
    assert answer.status_code == 404 and has_shape(example, answer.json()) == []
    for key in ("code", "message", "details"):
        assert answer.json()["error"][key] == example["error"][key]


def test_every_answer_has_the_rate_headers(client: Client) -> None:
    headers = client.get("/v1/jobs", token="read").headers
    limit, remaining, reset, window = (int(headers[name]) for name in document.RATE_HEADERS)
    assert (limit, window) == (10_000, 3600) and remaining < limit and reset > 1_640_995_200


def test_the_websocket_example(served: Server, tmp_path: Path) -> None:
    """The message of the document subscribes, and its update has the document's keys."""
    go = tmp_path / "go"
    script = f"#!/bin/bash\nuntil [ -e {go} ]; do sleep 0.1; done\n"
    job = served.http.post("/v1/jobs", json={"script": script}).json()["job_id"]
    found = eventually(lambda: (row := served.http.get(f"/v1/jobs/{job}").json())["state"] == "RUNNING" and row, 60)
    headers = {"authorization": f"Bearer {served.tokens['read']}"}
    message = document.SUBSCRIPTION.replace("alice", found["user"])
    update: dict[str, Any] = {"data": {}}
    with connect(f"{served.url.replace('http', 'ws', 1)}/v1/ws", additional_headers=headers) as socket:
        socket.send(message)
        assert json.loads(socket.recv())["action"] == "subscribed"
        go.touch()
        example = json.loads(document.UPDATE)
        while not (update["data"].get("state") == "COMPLETED" and example["data"].keys() <= update["data"].keys()):
            heard = json.loads(socket.recv(60))
            if heard["resource_id"] == job:
                update = {**heard, "data": {**update["data"], **heard["data"]}}
    assert has_shape(example, update) == [] and list(update) == list(example)
    assert update["data"]["exit_code"] == 0 and update["data"]["end_time"].endswith("Z")


# --- The contract and the clients


@pytest.mark.parametrize("operation", document.ENDPOINTS)
def test_the_contract_has_all_that_the_document_names(operation: str) -> None:
    method, path = operation.split()
    item = CONTRACT["paths"][path_of(path)]
    spec = item[method.lower()]
    given = {resolve(part)["name"] for part in [*item.get("parameters", []), *spec.get("parameters", [])]}
    assert set(document.ENDPOINTS[operation].split()) <= given
    for _, named, _, body, example in document.EXAMPLES:
        if named == operation:
            status = "201" if operation in CREATING else "200"
            check_schema(json.loads(example), resolve(spec["responses"][status])["content"], is_answer=True)
            if body is not None:
                check_schema(json.loads(body), resolve(spec["requestBody"])["content"], is_answer=False)


def check_schema(example: Any, content: Any, is_answer: bool) -> None:
    """Check that an object is described; what an answer shows is always there."""
    schema = resolve(content["application/json"]["schema"])
    described, required = list_properties(schema)
    assert set(example) <= described.keys()
    if is_answer:
        assert set(example) <= required
    for key, value in example.items():
        for row in value if isinstance(value, list) else [value]:
            inner = resolve(described[key])
            inner = resolve(inner["items"]) if isinstance(value, list) and "items" in inner else inner
            if isinstance(row, Mapping) and list_properties(inner)[0]:
                check_schema(row, {"application/json": {"schema": inner}}, is_answer)


def list_properties(schema: Any) -> tuple[dict[str, Any], set[str]]:
    """The properties of an object, also of one that is put together, and which are always there."""
    described, required = dict(schema.get("properties", {})), set(schema.get("required", ()))
    for part in schema.get("allOf", ()):
        more, always = list_properties(resolve(part))
        described, required = {**described, **more}, required | always
    return described, required


def test_error_codes_and_statuses_are_those_of_the_contract() -> None:
    codes = resolve(CONTRACT["components"]["schemas"]["S9sError"])["properties"]["error"]["properties"]["code"]["enum"]
    assert set(document.ERROR_CODES) <= set(codes)
    statuses = {
        int(status)
        for path, item in CONTRACT["paths"].items() if path.startswith("/api/v1/")
        for spec in item.values() if isinstance(spec, dict)
        for status in spec.get("responses", ())
    }  # fmt: skip
    # What can go wrong in the server itself is promised of no operation.
    assert set(document.STATUSES) - {500} <= statuses


@pytest.mark.parametrize("language", document.SDK)
def test_the_clients_show_the_document_s_example(language: str) -> None:
    """tests/clients/test_sdks.py runs what stands there."""
    text = (ROOT / "sdk" / language / "README.md").read_text()
    assert document.squeeze(document.SDK[language]) in document.squeeze(text)

"""Two users of the YAPTIDE API, who cannot see each other's simulations in any route or list, nor anything else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.operations.yaptide.calls import DUMMY, find, make_body, write_file, write_results, write_simulation
from tests.app.operations.yaptide.ui_client import UiClient
from tests.app_client import CONFIG, Client, serving
from tests.contract_judge import operations
from tests.waiting import eventually

PASSWORD = "a long and secret sentence"
OWNED = [
    ("GET", "jobs"), ("GET", "jobs/direct"), ("DELETE", "jobs/direct"), ("GET", "inputs"), ("GET", "results"),
    ("GET", "estimators"), ("GET", "logfiles"), ("DELETE", "user/simulations"),
]  # fmt: skip


@pytest.fixture(scope="module")
def client(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server where strangers may register."""
    store = tmp_path_factory.mktemp("store")
    (store / "config.yaml").write_text(CONFIG + "yaptide: {registration: true}\n")
    with serving(store, cluster) as made:
        yield made


def log_in(client: Client, name: str) -> UiClient:
    """Register a user, and log in."""
    page = UiClient(client)
    assert page.call("PUT", "auth/register", {"username": name, "password": PASSWORD}).status_code == 201
    assert page.log_in(name, PASSWORD).status_code == 202
    return page


@pytest.fixture(scope="module")
def users(client: Client) -> Iterator[tuple[UiClient, UiClient]]:
    """Ann, and a user who is called as her simulations' run or a token might be."""
    pages = log_in(client, "ann"), log_in(client, "write")
    yield pages
    for page in pages:
        page.close()


def list_ids(page: UiClient) -> set[str]:
    """The ids that a user's list has, on all pages."""
    answer = page.call("GET", "user/simulations", page_size=1000).json()
    assert answer["simulations_count"] == len(answer["simulations"])
    return {row["job_id"] for row in answer["simulations"]}


def test_each_has_his_own(client: Client, users: tuple[UiClient, UiClient]) -> None:
    ann, other = users
    own = ann.call("POST", "jobs/direct", make_body(title="mine")).json()["job_id"]
    theirs = other.call("POST", "jobs/direct", make_body(title="theirs")).json()["job_id"]
    tokens = client.post("/jobs/direct", make_body(title="the token's")).json()["job_id"]
    assert (find(client, own).owner, find(client, theirs).owner) == ("ann", "write")
    assert find(client, tokens).owner == "token:write"
    assert list_ids(ann) == {own} and list_ids(other) == {theirs}
    eventually(lambda: find(client, own).settled_at is not None, 60, "it is over")
    for method, path in OWNED:
        refused = other.call(method, path, job_id=own)
        assert refused.status_code == 403, path
        assert refused.json() == {"message": "Job with provided ID does not belong to the user"}
    assert ann.call("GET", "results", job_id=own).status_code == 200
    assert ann.call("DELETE", "user/simulations", job_id=own).status_code == 200
    assert list_ids(ann) == set() and list_ids(other) == {theirs}


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "MERGING_RUNNING", "COMPLETED", "FAILED", "CANCELED"])
def test_in_every_state(client: Client, users: tuple[UiClient, UiClient], state: str) -> None:
    ann, other = users
    job_id = write_simulation(client, owner="ann", state=state, title="secret words")
    write_results(client, job_id)
    for name, text in DUMMY.items():
        write_file(client, job_id, f"input/{name}", text)
    before = client.server.store.simulations.get_raw(job_id)
    for method, path in OWNED:
        refused = other.call(method, path, job_id=job_id)
        assert refused.status_code == 403 and "secret" not in refused.text
    assert client.server.store.simulations.get_raw(job_id) == before
    assert job_id in list_ids(ann) and job_id not in list_ids(other)


def test_keys_of_requests_are_each_users_own(client: Client, users: tuple[UiClient, UiClient]) -> None:
    made = set()
    for page in users:
        for _ in range(2):
            headers = {"idempotency-key": "the-same"}
            answer = client.run(page.http.post("/jobs/direct", json=make_body(), headers=headers))
            assert answer.status_code == 202, answer.text
            made.add(answer.json()["job_id"])
    assert len(made) == 2


def test_a_user_who_may_not_run_on_clusters(client: Client, users: tuple[UiClient, UiClient], tmp_path: Path) -> None:
    job_id = write_simulation(client, owner="ann", platform="BATCH")
    for method, path, body in (
        ("POST", "jobs/batch", make_body()),
        ("GET", "jobs/batch", None),
        ("DELETE", "jobs/batch", None),
    ):
        query = {} if body else {"job_id": job_id}
        refused = users[0].call(method, path, body, **query)
        assert refused.status_code == 403
        assert refused.json()["message"].startswith("User is not allowed to use this endpoint: ")
    assert users[0].call("GET", "clusters").status_code == 403
    assert users[0].call("GET", "jobs", job_id=job_id).status_code == 200, "it is theirs all the same"


def test_a_users_cookie_opens_nothing_else(client: Client, users: tuple[UiClient, UiClient]) -> None:
    """Not even to read: other APIs show the runs and jobs of everybody."""
    cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in users[0].http.cookies.items())}
    assert "access_token" in cookie["cookie"]
    for path, method, spec in operations():
        if spec["tags"] == ["yaptide"] or spec["security"] == [{}] or "x-websocket" in spec:
            continue
        filled = path.replace("{", "").replace("}", "")
        answer = client.request(method, filled, token=None, headers=cookie, judged=False)
        assert answer.status_code == 401, f"{method} {path}"

"""Lists of simulations as the client asks for them, and of clusters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.operations.yaptide.calls import write_simulation
from tests.app_client import Client

# title, state, created, ended: two of the write token, one more of somebody else.
ROWS = [
    ("a", "COMPLETED", "2026-11-01T10:00:00Z", "2026-11-04T10:00:00Z"),
    ("b", "RUNNING", "2026-11-02T10:00:00Z", None),
    ("c", "FAILED", "2026-11-03T10:00:00Z", "2026-11-03T11:00:00Z"),
]
VALID = "PENDING,RUNNING,MERGING_QUEUED,MERGING_RUNNING,COMPLETED,FAILED,CANCELED"


@pytest.fixture(scope="module")
def made(client: Client) -> list[str]:
    """The simulations of the caller; another one is somebody else's."""
    write_simulation(client, owner="ann", title="other")
    return [
        write_simulation(client, title=title, state=state, created_at=created, ended_at=ended)
        for title, state, created, ended in ROWS
    ]


@pytest.mark.parametrize(
    ("why", "query", "titles", "pages", "count"),
    [
        ("the newest first", "", "cba", 1, 3),
        ("the oldest first", "order_type=ascend", "abc", 1, 3),
        ("what is open comes last", "order_by=end_time&order_type=ascend", "cab", 1, 3),
        ("in any case", "order_by=End_Time&order_type=ASCEND", "cab", 1, 3),
        ("as the client asks", f"page_size=10&page_idx=1&order_by=start_time&order_type=descend&job_state={VALID}",
         "cba", 1, 3),
        ("the first page", "page_size=2", "cb", 2, 3),
        ("the second page", "page_size=2&page_idx=2", "a", 2, 3),
        ("behind the last page", "page_size=2&page_idx=9", "", 2, 3),
        ("some states", "job_state=RUNNING,FAILED", "cb", 1, 2),
        ("one after the other", "job_state=RUNNING&job_state=FAILED", "cb", 1, 2),
        ("in any case", "job_state=running", "b", 1, 1),
        ("no state is every one", "job_state=", "cba", 1, 3),
        ("none", "job_state=CANCELED", "", 0, 0),
    ],
)  # fmt: skip
def test_pages(client: Client, made: list[str], why: str, query: str, titles: str, pages: int, count: int) -> None:
    found = client.get(f"/user/simulations?{query}").json()
    assert "".join(row["title"] for row in found["simulations"]) == titles, why
    assert (found["page_count"], found["simulations_count"]) == (pages, count)


def test_a_row(client: Client, made: list[str]) -> None:
    rows = client.get("/user/simulations").json()["simulations"]
    assert rows[2] == {
        "title": "a",
        "job_id": made[0],
        "start_time": "Sun, 01 Nov 2026 10:00:00 GMT",
        "end_time": "Wed, 04 Nov 2026 10:00:00 GMT",
        "metadata": {"platform": "DIRECT", "server": "Yaptide", "input_type": "FILES", "sim_type": "dummy"},
    }
    assert rows[1]["end_time"] is None


def test_a_list_is_its_owners(client: Client, made: list[str]) -> None:
    def list_titles(token: str) -> set[str]:
        return {row["title"] for row in client.get("/user/simulations", token=token).json()["simulations"]}

    assert list_titles("write") == {"a", "b", "c"}
    assert list_titles("read") == set(), "a token of its own"
    assert list_titles("admin") == {"a", "b", "c", "other"}, "of all"


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ("job_state=RUNING", "job_state", "did you mean &#x27;RUNNING&#x27;?"),
        ("job_state=RUNNING,x", "job_state", "is no state of a job"),
        ("page_size=0", "page_size", "less than the minimum of 1"),
        ("page_size=1001", "page_size", "greater than the maximum of 1000"),
        ("page_size=a", "page_size", "Input should be an integer"),
        ("page_idx=0", "page_idx", "less than the minimum of 1"),
        ("order_by=start", "order_by", "did you mean &#x27;start_time&#x27;?"),
        ("order_type=down", "order_type", "Input should be"),
        ("page=1", "page", "did you mean &#x27;page_"),
    ],
)
def test_what_is_wrong_with_a_question(client: Client, query: str, field: str, said: str) -> None:
    answer = client.get(f"/user/simulations?{query}")
    assert answer.status_code == 400 and said in answer.json()["message"], answer.text
    assert list(answer.json()[field])


def test_clusters(client: Client) -> None:
    def list_names() -> list[Any]:
        return [row["cluster_name"] for row in client.get("/clusters").json()["clusters"]]

    own = client.server.cluster.name
    assert list_names() == [own]
    for profile in ("far", "away"):
        given = {"name": profile, "hostname": "127.0.0.1", "username": "me", "port": 1, "key_filename": "/none"}
        assert client.post("/api/config/ssh/profiles", given).status_code == 200
    assert list_names() == [own, "away", "far"]

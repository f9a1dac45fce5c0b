"""All that the YAPTIDE client does in its life, in its order.

From a page of the server itself, and from one of another origin, where the server is below a prefix.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.access.yaptide.logins import ACCESS_S, REFRESH_S
from store.access.yaptide.users import make_user_id
from tests.app.operations.yaptide.ui_client import ENDED, STATES, UiClient
from tests.app_client import CONFIG, Client, serving
from tests.waiting import eventually

ORIGIN, PREFIX = "http://localhost:3000", "/sluice"
PASSWORD = {"username": "ann", "password": "a long and secret sentence"}
# What a project of the editor is converted to; the client puts more into it than any converter reads.
CONVERTER = """
import json

def get_parser_from_str(sim_type):
    return sim_type

def run_parser(parser, project, output_dir=None, silent=True):
    beam = project["beam"]
    given = {"primaries": beam["numberOfParticles"], "energy_mev": beam["energy"], "bins": 10, "map_bins": [4, 5]}
    return {"dummy.json": json.dumps(given | {"layers": [{"material": "water", "thickness_cm": 20}]})}
"""
PROJECT = {
    "metadata": {"version": "0.12", "type": "Editor", "generator": "YaptideEditor"},
    "project": {"title": "Untitled", "viewManager": {"cameras": [1, 2, 3]}, "history": {"undos": [], "redos": []}},
    "beam": {"numberOfParticles": 400, "energy": 150, "particle": {"id": 2}, "divergence": {"x": 0}},
    "figureManager": {"figures": [{"uuid": "x", "geometryData": {"parameters": {"radius": 5}}}]},
    "scoringManager": {"outputs": []},
    "unknownExtra": None,
}
FILES = {
    "dummy.json": json.dumps({"primaries": 400, "layers": [{"material": "water", "thickness_cm": 20}], "bins": 10})
}
SLOW = {"dummy.json": json.dumps({**json.loads(FILES["dummy.json"]), "pace": 20})}


@pytest.fixture(scope="module", params=["of this server", "of another, below a prefix"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UiClient]:
    """A page that speaks to a server, where strangers may register."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "converter").mkdir()
    (folder / "converter" / "__init__.py").write_text("")
    (folder / "converter" / "api.py").write_text(CONVERTER)
    store = folder / "store"
    store.mkdir()
    (store / "config.yaml").write_text(CONFIG + f"yaptide: {{registration: true, origins: ['{ORIGIN}']}}\n")
    is_own = request.param == "of this server"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        with serving(store, "embedded", **({} if is_own else {"SLUICE_ROOT_PATH": PREFIX})) as client:
            page = UiClient(client) if is_own else UiClient(client, PREFIX, ORIGIN)
            yield page
            page.close()


def allow_batch(client: Client, username: str) -> None:
    """What the server's owner does by hand, in the user's file."""
    path = client.store / "users" / f"{make_user_id('local', username)}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "batch": True}))
    eventually(lambda: client.server.store.users.get(path.stem).batch)


def await_end(page: UiClient, job_id: str) -> dict[str, Any]:
    """Poll to the end; states only go forward."""
    seen: list[str] = []

    def find_end() -> dict[str, Any] | None:
        found = page.poll(job_id)
        seen.append(found["job_state"])
        return found if found["job_state"] in ENDED else None

    found = eventually(find_end, 60, f"{job_id} has ended")
    order = [STATES.index(state) for state in seen]
    assert order == sorted(order), seen
    return found  # type: ignore[return-value]


def test_the_whole_life_of_a_client(page: UiClient) -> None:
    client = page.client
    # It looks whether the server is there, and whether it is logged in still.
    assert page.call("GET", "").json()["message"]
    refused = page.call("GET", "auth/status")
    assert (refused.status_code, refused.json()["message"]) == (401, "No token provided")
    assert page.call("GET", "auth/refresh").json()["message"] == "No token provided"

    assert page.call("PUT", "auth/register", PASSWORD).status_code == 201
    again = page.call("PUT", "auth/register", PASSWORD)
    assert (again.status_code, again.json()["message"]) == (403, "User existing")
    wrong = page.log_in("ann", "a wrong sentence")
    assert (wrong.status_code, wrong.json()["message"]) == (401, "Invalid login or password")
    assert page.log_in(**PASSWORD).status_code == 202
    assert page.refresh_exp_ms > page.access_exp_ms > time.time() * 1000
    cookies = {cookie.name: cookie for cookie in page.http.cookies.jar}
    assert set(cookies) == {"access_token", "refresh_token"}
    assert all(cookie.has_nonstandard_attr("HttpOnly") for cookie in cookies.values())
    status = page.call("GET", "auth/status")
    assert (status.status_code, status.json()["username"]) == (200, "ann")
    assert page.list_simulations()["simulations_count"] == 0

    # A project of the editor here, files on the cluster.
    direct = page.submit("direct", "editor", PROJECT, title="Proton beam", ntasks=4)
    refused = page.call(
        "POST", "jobs/batch", {"sim_type": "dummy", "ntasks": 1, "input_type": "files", "input_files": FILES}
    )
    assert refused.status_code == 403
    allow_batch(client, "ann")
    batch = page.submit("batch", "files", FILES, title="On the cluster")
    for job_id, count in ((direct, 4), (batch, 2)):
        found = await_end(page, job_id)
        assert found["job_state"] == "COMPLETED", found
        tasks = found["job_tasks_status"]
        assert [task["task_state"] for task in tasks] == ["COMPLETED"] * count
        assert [task["simulated_primaries"] for task in tasks] == [400 // count] * count
        general = page.call("GET", "jobs", job_id=job_id).json()
        assert general["job_tasks_status"] == tasks
        pages = page.fetch_results(job_id)
        assert pages and all(found["data"]["values"] for several in pages.values() for found in several)
        assert {found["dimensions"] for several in pages.values() for found in several} >= {1}
        assert page.call("GET", "logfiles", job_id=job_id).status_code == 200

    # The list has them, and one more that is cancelled while it runs.
    slow = page.submit("direct", "files", SLOW, title="Slow")
    eventually(lambda: page.poll(slow)["job_state"] == "RUNNING", 60)
    answer = page.list_simulations()
    assert [row["job_id"] for row in answer["simulations"]] == [slow, batch, direct]
    assert answer["simulations"][0]["end_time"] is None
    assert answer["simulations"][1]["metadata"] == {
        "platform": "BATCH", "server": "Yaptide", "input_type": "FILES", "sim_type": "dummy",
    }  # fmt: skip
    refused = page.call("DELETE", "user/simulations", job_id=slow)
    assert refused.status_code == 403
    assert page.call("DELETE", "jobs/direct", job_id=slow).status_code == 200
    assert page.poll(slow)["job_state"] == "CANCELED"
    assert page.call("DELETE", "jobs/direct", job_id=slow).json()["job_state"] == "CANCELED"
    assert page.list_simulations(job_state="CANCELED")["simulations_count"] == 1
    assert page.call("GET", "results", job_id=slow).status_code == 404

    # One is deleted.
    assert page.call("DELETE", "user/simulations", job_id=direct).status_code == 200
    gone = page.call("GET", "jobs/direct", job_id=direct)
    assert (gone.status_code, gone.json()["message"]) == (404, "Job with provided ID does not exist")
    assert {row["job_id"] for row in page.list_simulations()["simulations"]} == {slow, batch}

    # Somebody else sees none of it.
    other = UiClient(client, page.prefix, page.origin)
    second = {"username": "bob", "password": "another secret sentence"}
    assert other.call("PUT", "auth/register", second).status_code == 201
    assert other.log_in(**second).status_code == 202
    assert other.list_simulations()["simulations_count"] == 0
    assert other.call("GET", "jobs/batch", job_id=batch).status_code == 403
    assert (
        other.call("GET", "results", job_id=batch).json()["message"]
        == "Job with provided ID does not belong to the user"
    )
    other.close()

    assert page.call("DELETE", "auth/logout").status_code == 200
    assert not list(page.http.cookies.jar)
    assert page.call("GET", "user/simulations").json()["message"] == "No token provided"


def test_a_client_that_stays_open_is_refreshed_until_its_login_ends(
    page: UiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = now = float(int(time.time()))
    user = {"username": "cat", "password": "a long and secret sentence"}
    assert page.call("PUT", "auth/register", user).status_code == 201
    monkeypatch.setattr(page.client.server.logins, "now", lambda: now)
    assert page.log_in(**user).status_code == 202
    assert page.access_exp_ms == (start + ACCESS_S) * 1000 and page.refresh_exp_ms == (start + REFRESH_S) * 1000
    page.http.cookies.jar.clear_expired_cookies = lambda: None  # type: ignore[method-assign] # the clock is ours
    refreshes = 0
    while (due := page.find_refresh_s(now)) < start + REFRESH_S:
        now = due
        before = page.access_exp_ms
        assert page.refresh().status_code == 200, now - start
        assert page.access_exp_ms >= before, "at the end it ends with the login"
        assert page.call("GET", "auth/status").status_code == 200
        refreshes += 1
    assert refreshes >= 30, "at a third of the ten minutes, for two hours"
    # Its computer was asleep: the access token is over, then the other one too.
    now = page.access_exp_ms / 1000
    refused = page.call("GET", "auth/status")
    assert refused.status_code == 403 and refused.json()["message"].startswith("Refresh access token.")
    now = start + REFRESH_S
    refused = page.refresh()
    assert refused.status_code == 403 and refused.json()["message"].startswith("Log in again.")


@pytest.mark.parametrize("origin", ["http://localhost:3001", "https://localhost:3000", "http://evil.example", "null"])
def test_pages_of_other_origins_are_kept_out(page: UiClient, origin: str, tmp_path: Path) -> None:
    stranger = UiClient(page.client, page.prefix, origin)
    with pytest.raises(AssertionError):
        stranger.log_in("ann", "x")
    with pytest.raises(AssertionError):
        stranger.call("GET", "auth/status")
    stranger.close()

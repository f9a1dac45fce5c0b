"""One job: failure first, why it waits, what it used, what can be done; and one that nobody knows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.app_server import Server
from tests.page.looks import check_looks, pick_theme
from tests.page.test_jobs import EVIL, HELD, submit
from tests.waiting import eventually

pytestmark = pytest.mark.browser
BROKEN = "#!/bin/bash\necho begun\necho 'no such file: data.csv' >&2\nexit 137\n"


@pytest.fixture(scope="module")
def broken(site: Server) -> str:
    """A job that has failed."""
    job_id = submit(site, "broken", BROKEN)
    eventually(lambda: site.http.get(f"/api/v1/jobs/{job_id}").json()["state"] == "FAILED", 60)
    return job_id


def test_a_failed_job_says_first_what_failed(broken: str, open_tab: Callable[..., Any]) -> None:
    tab = open_tab(f"#/jobs/{broken}")
    tab.get_by_text("exit code 137 (SIGKILL: it was killed at once").first.wait_for()
    # What it said last is in sight at once.
    log = tab.get_by_role("region", name=re.compile("of job"))
    expect(log.get_by_text("no such file: data.csv")).to_be_in_viewport()
    tab.get_by_role("button", name="Run again…").wait_for()
    assert tab.title() == f"✗ failed broken ({broken}) – Sluice"
    expect(tab.get_by_role("row", name=re.compile("^CPUs"))).not_to_contain_text("h busy")
    tab.get_by_role("tab", name="Script").click()
    tab.get_by_role("region", name="Script").get_by_text("exit 137").wait_for()
    assert "tab=script" in tab.url
    tab.get_by_role("tab", name="Events").click()
    tab.get_by_text("ended: FAILED").wait_for()


def test_a_waiting_job_says_why_and_goes_on_live(site: Server, open_tab: Callable[..., Any]) -> None:
    job_id = submit(site, "later", "#!/bin/bash\n#SBATCH -H\necho now it runs\n")
    tab = open_tab(f"#/jobs/{job_id}")
    tab.get_by_text("It is held by its owner until it is released.").wait_for()
    tab.get_by_text("SLURM has no estimate of when it begins.").wait_for()
    tab.get_by_text("It has not begun, so there is nothing to read yet.").wait_for()
    tab.get_by_role("button", name="Release").click()
    tab.get_by_text("It completed").wait_for()
    tab.get_by_text("now it runs").wait_for()
    assert tab.title().startswith("✓ completed later")


def test_a_question_stands_in_place_and_keeps_unless_it_is_answered(site: Server, open_tab: Callable[..., Any]) -> None:
    job_id = submit(site, "kept")
    tab = open_tab(f"#/jobs/{job_id}")
    cancel = tab.get_by_role("button", name="Cancel", exact=True)
    cancel.click()
    question = tab.get_by_role("group", name=f"Cancel waiting job {job_id} (kept)?")
    question.wait_for()
    tab.keyboard.press("Enter")  # "keep" has the focus
    question.wait_for(state="detached")
    assert site.http.get(f"/api/v1/jobs/{job_id}").json()["state"] == "PENDING"
    cancel.click()
    question.get_by_role("button", name="Cancel").click()
    tab.get_by_text("It was cancelled").wait_for()


def test_dependencies_are_links_with_states(site: Server, open_tab: Callable[..., Any]) -> None:
    first = submit(site, "first")
    second = submit(site, "second", HELD, dependencies=[{"type": "afterok", "job_id": first}])
    tab = open_tab(f"#/jobs/{second}")
    tab.get_by_role("heading", name="It begins after").wait_for()
    waits = tab.get_by_role("listitem").filter(has_text=f"job {first} has completed (now")
    waits.get_by_text("pending").wait_for()
    waits.get_by_role("link", name=first).click()
    tab.get_by_role("heading", name="first").wait_for()


def test_an_array_lists_its_tasks(site: Server, open_tab: Callable[..., Any]) -> None:
    job_id = submit(site, "tasks", "#!/bin/bash\n#SBATCH -H --array=1-3\ntrue\n")
    tab = open_tab(f"#/jobs/{job_id}")
    tab.get_by_text(f"array {job_id}, 3 tasks").wait_for()
    tab.get_by_text("3 tasks: 3 pending").wait_for()
    tab.get_by_role("link", name=f"{job_id}_2", exact=True).click()
    tab.get_by_role("heading", name="tasks").wait_for()
    tab.get_by_role("link", name=job_id, exact=True).first.wait_for()


def test_components_of_a_heterogeneous_job_are_listed(site: Server, open_tab: Callable[..., Any]) -> None:
    job_id = submit(site, "mixed", "#!/bin/bash\n#SBATCH -N1\n#SBATCH hetjob\n#SBATCH -N1\nsleep 300\n")
    tab = open_tab(f"#/jobs/{job_id}")
    tab.get_by_text(f"heterogeneous job {job_id}, 2 components").wait_for()
    tab.get_by_text("2 components: ").wait_for()
    tab.get_by_role("link", name=f"{job_id}+1", exact=True).click()
    tab.get_by_text(f"job {job_id}+1", exact=True).wait_for()
    tab.get_by_role("link", name=job_id, exact=True).first.wait_for()
    site.http.delete(f"/api/v1/jobs/{job_id}")


def test_parts_that_slurm_tells_of_later_get_their_list(site: Server, open_tab: Callable[..., Any]) -> None:
    job_id = submit(site, "mixed", "#!/bin/bash\n#SBATCH -N1\n#SBATCH hetjob\n#SBATCH -N1\nsleep 300\n")
    eventually(lambda: site.http.get(f"/api/v1/jobs/{job_id}").json()["het_job_id"])

    def hide(route: Any) -> None:
        found = route.fetch()
        route.fulfill(response=found, json=found.json() | {"het_job_id": None, "array_tasks_summary": None})

    tab = open_tab("#/none")
    tab.route(f"**/api/v1/jobs/{job_id}", hide, times=1)
    tab.goto(f"/#/jobs/{job_id}")
    tab.get_by_role("tab", name="Log").wait_for()
    assert tab.get_by_role("tab", name="Components").count() == 0
    site.http.delete(f"/api/v1/jobs/{job_id}")
    tab.get_by_role("tab", name="Components").click()
    tab.get_by_text("2 components: ").wait_for()


def test_a_job_of_a_run_leads_to_it_and_a_report_is_told(site: Server, open_tab: Callable[..., Any]) -> None:
    job = {"name": "count", "command": ["true"]}
    site.http.post("/api/workflows/create", json={"name": "counting", "jobs": [job]}).raise_for_status()
    run = site.http.post("/api/workflows/counting/run", json={}).json()

    def find_job() -> Any:
        return site.http.get(f"/api/workflows/runs/{run['id']}").json()["job_ids"].get("count")

    job_id = eventually(find_job, 60)
    site.http.put(f"/srtslurm/api/jobs/{job_id}", json={"status": "workers", "message": "loading"})
    tab = open_tab(f"#/jobs/{job_id}")
    tab.get_by_role("link", name="counting").wait_for()
    assert tab.get_by_role("link", name="counting").get_attribute("href") == f"#/runs/{run['id']}"


def test_an_unknown_job_says_what_to_do(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs/987654")
    tab.get_by_text("Nobody here knows a job 987654").wait_for()
    tab.get_by_role("link", name="All jobs").wait_for()
    check_looks(tab, 1440)
    tab.troubles.expect("404")


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False)])
def test_looks(site: Server, open_tab: Callable[..., Any], width: int, dark: bool) -> None:
    job_id = submit(site, EVIL[:250], "#!/bin/bash\nnosuchcommand\n")
    tab = open_tab(f"#/jobs/{job_id}", width=width, dark=dark)
    tab.get_by_text("a command of the script was not found").first.wait_for()
    expect(tab.get_by_role("region", name=re.compile("of job")).get_by_text("nosuchcommand")).to_be_in_viewport()
    pick_theme(tab, dark)
    check_looks(tab, width)
    assert EVIL[:30] in tab.get_by_role("heading", level=1).inner_text()

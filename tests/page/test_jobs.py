"""Jobs: live, filtered by the server, bundled, chosen, acted upon, saved; what nobody wrote stays text."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app_server import Server
from tests.page.looks import check_looks, pick_theme

pytestmark = pytest.mark.browser
EVIL = '<img src=x onerror=alert(1)> \u202egnol "q" ' + "long " * 40
HELD = "#!/bin/bash\n#SBATCH -H\ntrue\n"


def submit(site: Server, name: str, script: str = HELD, **more: Any) -> str:
    """Submit a job; return its id."""
    made = site.http.post("/api/v1/jobs", json={"job_name": name, "script": script, **more})
    assert made.status_code == 201, made.text
    return str(made.json()["job_id"])


def find_row(tab: Any, job_id: str) -> Any:
    """The row of a job in the table."""
    return tab.locator(f'.tbody [data-key="{job_id}"]')


def list_ids(tab: Any) -> list[str]:
    """The ids that are shown, from the top."""
    found: list[str] = tab.locator(".tbody [role=row]").evaluate_all(
        "rows => rows.sort((a, b) => a.ariaRowIndex - b.ariaRowIndex).map(row => row.dataset.key)"
    )
    return found


# First, since the jobs of the others stay.
def test_there_are_no_jobs_yet(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    tab.get_by_text("You have no jobs").wait_for()
    tab.get_by_role("button", name="Show the jobs of all users").click()
    tab.get_by_text("There are no jobs yet").wait_for()
    assert "who=all" in tab.url
    check_looks(tab, 1440)


@pytest.fixture(scope="module")
def jobs(site: Server) -> Iterator[dict[str, str]]:
    """Jobs of all kinds: held ones, an array, one that failed, one with a hostile name."""
    made = {name: submit(site, name) for name in ("alpha", "beta", "gamma")}
    made["array"] = submit(site, "tasks", "#!/bin/bash\n#SBATCH -H --array=1-5\ntrue\n")
    made["broken"] = submit(site, "broken", "#!/bin/bash\necho oops >&2\nexit 3\n")
    made["evil"] = submit(site, EVIL[:250])
    yield made


def test_a_change_is_seen_and_a_failure_is_said(
    site: Server, jobs: dict[str, str], open_tab: Callable[..., Any]
) -> None:
    tab = open_tab("#/jobs")
    find_row(tab, jobs["broken"]).get_by_text("failed").wait_for()
    find_row(tab, jobs["broken"]).get_by_text("exit code 3").wait_for()
    made = submit(site, "passing")
    find_row(tab, made).get_by_text("held by its owner").wait_for()
    site.http.delete(f"/api/v1/jobs/{made}")
    find_row(tab, made).get_by_text("cancelled").wait_for()
    tab.get_by_text(f"Job {made} passing is cancelled").wait_for(state="attached")
    assert re.search(r"\d+ waiting, 1 failed Jobs – Sluice$", tab.title())


def test_a_filter_is_completed_judged_by_the_server_and_stands_in_the_address(
    site: Server, jobs: dict[str, str], open_tab: Callable[..., Any]
) -> None:
    tab = open_tab("#/jobs")
    find_row(tab, jobs["alpha"]).wait_for()
    field = tab.get_by_role("combobox", name="Filter")
    field.click()
    field.press_sequentially("job_na")
    tab.get_by_role("option", name="job_name").wait_for()
    field.press("ArrowDown")
    field.press("Enter")
    assert field.input_value() == "job_name"
    field.press_sequentially("~alp")
    find_row(tab, jobs["beta"]).wait_for(state="detached")
    assert list_ids(tab) == [jobs["alpha"]]
    assert tab.evaluate("new URLSearchParams(location.hash.split('?')[1]).get('filter')") == "job_name~alp"
    # What comes later is judged as well.
    later = submit(site, "alpine")
    find_row(tab, later).wait_for()
    other = open_tab(f"#/jobs?{tab.url.split('?')[1]}")
    find_row(other, later).wait_for()
    assert other.get_by_role("combobox", name="Filter").input_value() == "job_name~alp"
    assert set(list_ids(other)) == {jobs["alpha"], later}
    # Half a filter is told in the server's words, and takes nothing away.
    field.fill("job_name~alp and sate=RUNNING")
    tab.get_by_text("unknown field 'sate'; did you mean 'state'?").wait_for()
    assert set(list_ids(tab)) == {jobs["alpha"], later}
    field.fill("job_name~nowhere")
    tab.get_by_text(re.compile(r"None of \d+ jobs fits the filter")).wait_for()
    tab.get_by_role("button", name="Clear the filter").click()
    find_row(tab, jobs["beta"]).wait_for()


def test_values_and_operators_are_completed(jobs: dict[str, str], open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    find_row(tab, jobs["alpha"]).wait_for()
    field = tab.get_by_role("combobox", name="Filter")
    field.click()
    field.press_sequentially("state")
    tab.get_by_role("option", name="!= is not").wait_for()
    field.press_sequentially("=fai")
    tab.get_by_role("option", name="FAILED", exact=True).click()
    assert field.input_value() == "state=FAILED"
    find_row(tab, jobs["alpha"]).wait_for(state="detached")
    field.press("Escape")
    assert tab.get_by_role("listbox").count() == 0


def test_an_array_is_one_row_that_opens(jobs: dict[str, str], open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    row = find_row(tab, f"{jobs['array']}_*")
    row.get_by_text("5 pending").wait_for()
    assert find_row(tab, f"{jobs['array']}_3").count() == 0
    row.get_by_role("button", name="Tasks of").click()
    tasks = [f"{jobs['array']}_{number}" for number in range(1, 6)]
    for task in tasks:
        find_row(tab, task).get_by_text("pending").wait_for()
    ids = list_ids(tab)
    at = ids.index(f"{jobs['array']}_*")
    assert sorted(ids[at + 1 : at + 6]) == tasks
    assert row.get_by_role("button", name="Tasks of").get_attribute("aria-expanded") == "true"


def test_chosen_jobs_are_acted_upon_and_told_one_by_one(
    site: Server, jobs: dict[str, str], open_tab: Callable[..., Any]
) -> None:
    made = [submit(site, f"chosen {number}") for number in range(4)]
    tab = open_tab("#/jobs?filter=job_name~chosen&sort=job_id")
    find_row(tab, made[3]).wait_for()
    find_row(tab, made[0]).get_by_role("checkbox").click()
    find_row(tab, made[2]).get_by_role("checkbox").click(modifiers=["Shift"])
    tab.get_by_text("3 jobs chosen").wait_for()
    tab.get_by_role("button", name="Release 3", exact=True).wait_for()
    assert tab.get_by_role("button", name="Requeue", exact=True).is_disabled()
    tab.get_by_role("button", name="Cancel 3", exact=True).click()
    names = r"\W*chosen 0\W*, \W*chosen 1\W*, \W*chosen 2\W*"
    question = tab.get_by_role("group", name=re.compile(rf"^Cancel 3 waiting jobs \({names}\)\?$"))
    assert question.get_by_role("button", name="Keep").evaluate("node => node === document.activeElement")
    # Somebody else is quicker with one of them: the report says so of it alone.
    site.http.delete(f"/api/v1/jobs/{made[1]}")
    find_row(tab, made[1]).get_by_text("cancelled").wait_for()
    question.get_by_role("button", name="Cancel").click()
    tab.get_by_text("Cancel: done for 2 jobs, refused for 1.").wait_for()
    tab.get_by_text("Job already completed").first.wait_for()
    find_row(tab, made[2]).get_by_text("cancelled").wait_for()
    assert site.http.get(f"/api/v1/jobs/{made[3]}").json()["state"] == "PENDING"


def test_what_finished_is_hidden_and_what_failed_is_one_click_away(
    jobs: dict[str, str], open_tab: Callable[..., Any]
) -> None:
    tab = open_tab("#/jobs")
    find_row(tab, jobs["broken"]).get_by_text("failed").wait_for()
    tab.get_by_role("button", name="Hide finished").click()
    find_row(tab, jobs["broken"]).wait_for(state="detached")
    find_row(tab, jobs["alpha"]).wait_for()
    tab.get_by_role("button", name="Failed").click()
    find_row(tab, jobs["broken"]).wait_for()
    assert list_ids(tab) == [jobs["broken"]] and "show=failed" in tab.url


def test_columns_stay_chosen_and_csv_has_these_rows_and_columns(
    jobs: dict[str, str], open_tab: Callable[..., Any], tmp_path: Path
) -> None:
    tab = open_tab("#/jobs?filter=job_name~a&sort=job_name")
    find_row(tab, jobs["alpha"]).wait_for()
    tab.get_by_role("button", name="Columns").click()
    menu = tab.locator(".columns")
    for name in ("Elapsed", "Limit", "Memory", "Submitted"):
        menu.get_by_label(name, exact=True).uncheck()
    menu.get_by_label("Account", exact=True).check()
    menu.get_by_role("button", name="Move to the left: Account").click()
    menu.get_by_role("button", name="Wider: Name").click()
    tab.keyboard.press("Escape")
    heads = tab.locator(".head [role=columnheader]").all_inner_texts()
    tab.reload()
    find_row(tab, jobs["alpha"]).wait_for()
    assert tab.locator(".head [role=columnheader]").all_inner_texts() == heads
    assert "Account" in heads[-2] and not any("Elapsed" in head for head in heads)
    kept = json.loads(tab.evaluate("localStorage.getItem('columns:jobs')"))
    assert kept["widths"]["job_name"] > 100
    with tab.expect_download() as saving:
        tab.get_by_role("button", name="CSV").click()
    saving.value.save_as(tmp_path / "jobs.csv")
    with (tmp_path / "jobs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    array = f"{jobs['array']}_*"
    assert [row["Id"] for row in rows] == [f"{jobs['array']}_[1-5]" if i == array else i for i in list_ids(tab)]
    assert list(rows[0]) == [head.split(" ")[0] if "↑" in head else head for head in heads if head.strip()]
    assert EVIL[:250].rstrip() in [row["Name"].rstrip() for row in rows]
    assert [row["Id"] for row in rows if row["Name"] == "tasks"] == [f"{jobs['array']}_[1-5]"]


def test_back_is_the_same_place_and_text_can_be_selected(jobs: dict[str, str], open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs?sort=-job_name&show=open")
    row = find_row(tab, jobs["beta"])
    row.wait_for()
    row.get_by_text("beta").dblclick()
    tab.get_by_role("heading", name="beta").wait_for()
    tab.go_back()
    find_row(tab, jobs["beta"]).wait_for()
    assert tab.locator("[aria-sort=descending]").inner_text().startswith("Name")
    cell = find_row(tab, jobs["beta"]).get_by_text("beta")
    cell.evaluate("node => getSelection().selectAllChildren(node)")
    assert tab.evaluate("String(getSelection())") == "beta"


def test_what_the_reader_does_survives_updates(
    site: Server, jobs: dict[str, str], open_tab: Callable[..., Any]
) -> None:
    tab = open_tab("#/jobs?sort=job_id")
    row = find_row(tab, f"{jobs['array']}_*")
    row.get_by_role("button", name="Tasks of").click()
    task = find_row(tab, f"{jobs['array']}_3")
    task.wait_for()
    field = tab.get_by_role("combobox", name="Filter")
    field.evaluate("field => { field.value = 'job_na'; }")  # typed, and not asked for yet
    find_row(tab, jobs["beta"]).get_by_text("beta").evaluate("node => getSelection().selectAllChildren(node)")
    made = submit(site, "another")
    find_row(tab, made).wait_for()
    site.http.delete(f"/api/v1/jobs/{made}")
    find_row(tab, made).get_by_text("cancelled").wait_for()
    assert task.is_visible() and field.input_value() == "job_na"
    assert tab.evaluate("String(getSelection())") == "beta"


def test_keys_alone(site: Server, jobs: dict[str, str], open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    find_row(tab, jobs["gamma"]).wait_for()
    tab.keyboard.press("f")
    assert tab.evaluate("document.activeElement.getAttribute('aria-label')") == "Filter"
    tab.keyboard.type("job_name=gamma")
    find_row(tab, jobs["beta"]).wait_for(state="detached")
    tab.keyboard.press("Escape")
    box = find_row(tab, jobs["gamma"]).get_by_role("checkbox")
    for _ in range(40):
        tab.keyboard.press("Tab")
        if box.evaluate("node => node === document.activeElement"):
            break
    tab.keyboard.press("Space")
    tab.get_by_text("1 job chosen").wait_for()
    tab.get_by_role("button", name="Release 1", exact=True).focus()
    tab.keyboard.press("Enter")
    tab.get_by_text("Release: done for 1 job.").wait_for()


def test_a_reader_is_offered_nothing_that_changes(
    site: Server, jobs: dict[str, str], open_tab: Callable[..., Any]
) -> None:
    tab = open_tab(extra_http_headers={"Authorization": f"Bearer {site.tokens['read']}"}, address="#/jobs?who=all")
    find_row(tab, jobs["beta"]).wait_for()
    submit_button = tab.get_by_role("button", name="Submit a job")
    assert submit_button.is_disabled() and "scope write" in (submit_button.get_attribute("title") or "")


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False)])
def test_looks(jobs: dict[str, str], open_tab: Callable[..., Any], width: int, dark: bool) -> None:
    tab = open_tab("#/jobs", width=width, dark=dark)
    find_row(tab, jobs["evil"]).wait_for()
    pick_theme(tab, dark)
    tab.get_by_role("checkbox", name="Select all rows").click()
    tab.get_by_text("jobs chosen").wait_for()
    check_looks(tab, width)

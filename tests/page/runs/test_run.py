"""One run: live to its end, what failed first, running again, and one selection in graph, timeline, list and log."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.app_server import Server
from tests.page.conftest import watching
from tests.page.looks import check_looks
from tests.page.runs.run_pages import GATED, QUICK, Runs
from tests.waiting import eventually

pytestmark = pytest.mark.browser

NOTES = """globalThis.notes = [];
globalThis.Notification = class extends EventTarget {
  static permission = "granted";
  static requestPermission = async () => "granted";
  constructor(title) { super(); notes.push(title); }
};"""


def node(tab: Any, name: str) -> Any:
    """The job in the graph."""
    return tab.locator(f".canvas .node[data-key='{name}']")


def test_a_run_is_seen_live_to_its_end(site: Server, tab: Any, tmp_path: Path) -> None:
    runs = Runs(site, tmp_path, "live")
    run_id = runs.start()
    tab.goto(f"/#/runs/{run_id}")
    expect(node(tab, "train")).to_have_class(re.compile("running"))
    expect(node(tab, "report")).to_have_class(re.compile("waiting"))  # all of it from the start
    expect(tab.locator(".gantt .row")).to_have_count(3)
    expect(tab.locator(".gantt .row[data-key=report] .blocked")).to_have_count(1)
    expect(tab).to_have_title(re.compile("^▶ 1/3 live"))
    icon = tab.locator("link[rel=icon]")
    expect(icon).to_have_attribute("href", re.compile("^data:image/svg"))
    icon_while_running = icon.get_attribute("href")
    tab.get_by_role("button", name="Larger").click()
    tab.mouse.move(700, 300)
    zoomed = tab.locator(".canvas > g").get_attribute("transform")
    running = tab.locator(".gantt .row[data-key=train] .ran")
    wide = running.get_attribute("aria-label")
    expect(running).not_to_have_attribute("aria-label", wide or "")  # it grows
    runs.let_end()
    expect(node(tab, "report")).to_have_class(re.compile("done"))
    expect(tab.get_by_text("3 of 3 jobs done", exact=True)).to_be_visible()
    expect(tab).to_have_title(re.compile("^✓ 3/3 live"))
    expect(icon).not_to_have_attribute("href", icon_while_running or "")
    assert tab.locator(".canvas > g").get_attribute("transform") == zoomed, "zoom and place survive"
    node(tab, "train").click()
    tab.get_by_role("tab", name="Result").click()
    expect(tab.locator(".job .facts")).to_contain_text("accuracy")


def test_the_run_of_a_simulation_offers_only_what_it_can(site: Server, tab: Any) -> None:
    text = json.dumps({"primaries": 10, "layers": [{"material": "watr", "thickness_cm": 1}]})
    body = {
        "sim_type": "dummy",
        "ntasks": 1,
        "input_type": "files",
        "input_files": {"dummy.json": text},
        "title": "Odd",
    }
    job_id = site.http.post("/jobs/direct", json=body).json()["job_id"]
    ended = lambda: site.http.get("/jobs", params={"job_id": job_id}).json()["job_state"] == "FAILED"  # noqa: E731
    eventually(ended, 30, "the simulation fails")
    tab.goto(f"/#/runs/{job_id[16:52]}?rerun=all")
    expect(tab.get_by_role("heading", name="simulation Odd")).to_be_visible()
    expect(tab.get_by_role("region", name="What failed")).to_contain_text("there is no material watr")
    expect(tab.get_by_role("button", name=re.compile("Re-run|New run"))).to_have_count(0)
    expect(tab.get_by_role("dialog")).to_have_count(0)
    tab.get_by_role("tab", name="Args and facts").click()
    link = tab.get_by_role("link", name="of the simulation, as JSON")
    expect(link).to_have_attribute("href", f"results?job_id={job_id}")


def test_a_failed_run_opens_at_what_failed_and_is_run_again(site: Server, tab: Any, tmp_path: Path) -> None:
    runs = Runs(site, tmp_path, "fails")
    runs.let_fail()
    run_id = runs.start(lr=0.5)
    runs.await_end(run_id)
    tab.goto(f"/#/runs/{run_id}")
    failure = tab.get_by_role("region", name="What failed")
    expect(failure).to_contain_text("1 job failed")
    expect(failure).to_contain_text("It failed with exit code 137 (SIGKILL: it was killed at once")
    expect(failure.locator("pre")).to_contain_text("Traceback: no well for 0.5")
    expect(tab.locator(".job h2")).to_have_text("train")
    expect(tab).to_have_title(re.compile("^✗ 1/3 fails"))
    (tmp_path / "well").touch()
    failure.get_by_role("button", name="Re-run what did not complete (2 jobs)").click()
    expect(tab.get_by_label("What is sent")).to_contain_text('"only": "failed"')
    tab.get_by_role("button", name="Run again").dblclick()
    expect(tab.get_by_text("3 of 3 jobs done", exact=True)).to_be_visible()
    expect(failure).to_be_hidden()
    attempts = {job["name"]: len(job["attempts"]) for job in runs.get(run_id)["jobs"]}
    assert attempts["prepare"] == 1 and attempts["train"] == 2
    expect(tab.locator(".gantt .row[data-key=train] .ran")).to_have_count(2)  # every attempt has its bar
    tab.get_by_role("button", name="Re-run this job").click()
    expect(tab.get_by_label("What is sent")).to_contain_text('"jobs": [\n    "train"\n  ]')


def test_a_new_run_is_sent_as_it_is_shown(site: Server, tab: Any, tmp_path: Path) -> None:
    runs = Runs(site, tmp_path, "again")
    runs.let_end()
    run_id = runs.start(lr=0.25)
    runs.await_end(run_id)
    tab.goto(f'/#/runs/{run_id}?rerun=new&args={{"seed":7}}')
    dialog = tab.get_by_role("dialog")
    expect(dialog.get_by_label("lr")).to_have_value("0.25")
    expect(dialog.locator(".field.changed")).to_have_count(1)
    expect(dialog.locator(".field.changed small")).to_have_text("Changed; the old run had 3")
    dialog.get_by_label("note").fill("3")
    dialog.get_by_label("fast").select_option("false")
    dialog.get_by_text("As JSON", exact=True).click()
    previewed = json.loads(dialog.get_by_label("The same as JSON").input_value())
    sent: list[Any] = []
    tab.on("request", lambda asked: asked.method == "POST" and sent.append((asked.post_data, asked.headers)))
    dialog.get_by_role("button", name="Start", exact=True).dblclick()
    expect(tab).not_to_have_url(re.compile(run_id))
    (body, headers), *others = sent
    assert others == [] and headers["idempotency-key"]
    assert json.loads(body) == previewed
    new = tab.url.rpartition("/")[2].partition("?")[0]
    assert runs.await_end(new)["args"] == {"lr": 0.25, "seed": 7, "note": "3", "fast": False}


def test_an_answer_that_is_lost_runs_it_again_once(site: Server, tab: Any, tmp_path: Path) -> None:
    runs = Runs(site, tmp_path, "lost", QUICK)
    run_id = runs.start()
    runs.await_end(run_id)
    tab.goto(f"/#/runs/{run_id}")

    def lose(route: Any) -> None:
        route.fetch()
        runs.await_end(run_id)
        route.abort()

    tab.route("**/rerun", lose, times=1)
    tab.get_by_role("button", name="Re-run…").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_label("All of it").check()
    dialog.get_by_role("button", name="Run again").click()
    expect(dialog.get_by_role("alert")).to_have_text("The server gave no answer")
    dialog.get_by_role("button", name="Run again").click()
    expect(tab.get_by_text("The run has begun again.")).to_be_visible()
    assert len(runs.get(run_id)["jobs"][0]["attempts"]) == 2
    tab.troubles.expect("ERR_FAILED")


def test_a_run_in_the_archive_only_begins_anew(site: Server, tab: Any, tmp_path: Path) -> None:
    runs = Runs(site, tmp_path, "old")
    runs.let_fail()
    run = runs.await_end(runs.start())
    tab.route(f"**/runs/{run['id']}", lambda route: route.fulfill(json=run | {"archived": True}))
    tab.goto(f"/#/runs/{run['id']}?below=given")
    expect(tab.get_by_text("A run in the archive does not change")).to_be_visible()
    expect(tab.get_by_role("button", name=re.compile("Re-run"))).to_have_count(0)
    tab.get_by_role("button", name="New run…").click()
    expect(tab.get_by_role("dialog").get_by_label("lr")).to_have_value("0.1")


def test_what_ends_is_said_once_and_told_once_over_two_tabs(site: Server, browser: Any, tmp_path: Path) -> None:
    """A browser that may notify; its notes are written down, since a headless one shows none."""
    runs = Runs(site, tmp_path, "said")
    run_id = runs.start()
    with watching(browser, site.url, permissions=["notifications"]) as tab:
        other = tab.context.new_page()
        for each in (tab, other):
            each.add_init_script(NOTES)
            each.goto(f"/#/runs/{run_id}")
            expect(node(each, "train")).to_have_class(re.compile("running"))
            expect(each.locator(".unseen[aria-live]")).to_have_text("")
        tab.get_by_role("button", name="Tell me when it ends").click()
        expect(tab.get_by_role("button", name="Will tell you")).to_have_attribute("aria-pressed", "true")
        other.reload()
        tab.bring_to_front()
        runs.let_fail()
        expect(tab.locator(".unseen[aria-live]")).to_have_text(re.compile("^train failed"))
        expect(tab.get_by_text("1 job failed")).to_be_visible()
        eventually(lambda: [*tab.evaluate("notes"), *other.evaluate("notes")] == ["said: failed"])


def test_without_the_scope_nothing_is_offered(site: Server, open_tab: Callable[..., Any], tmp_path: Path) -> None:
    runs = Runs(site, tmp_path, "read")
    runs.let_fail()
    run_id = runs.start()
    runs.await_end(run_id)
    headers = {"Authorization": f"Bearer {site.tokens['read']}"}
    tab = open_tab(f"#/runs/{run_id}", extra_http_headers=headers)
    expect(tab.locator(".failure pre")).to_contain_text("Traceback")
    buttons = tab.get_by_role("button", name=re.compile("Re-run|New run"))
    expect(buttons).to_have_count(5)
    for button in buttons.all():
        expect(button).to_be_disabled()
        expect(button).to_have_attribute("title", re.compile("needs the scope write"))


def test_one_selection_in_graph_timeline_list_and_log(site: Server, tab: Any, tmp_path: Path) -> None:
    runs = Runs(site, tmp_path, "chosen")
    runs.let_end()
    run_id = runs.start()
    runs.await_end(run_id)
    tab.goto(f"/#/runs/{run_id}?job=prepare")
    expect(node(tab, "prepare")).to_have_attribute("aria-pressed", "true")
    expect(tab.locator(".log-text").get_by_text("ready", exact=True)).to_be_visible()
    tab.locator(".gantt .row[data-key=train] .label").click()
    expect(node(tab, "train")).to_have_class(re.compile("selected"))
    expect(tab.locator(".log-text").get_by_text("began", exact=True)).to_be_visible()
    expect(tab).to_have_url(re.compile("job=train"))
    tab.get_by_role("tab", name="Jobs", exact=True).click()
    table = tab.get_by_role("table", name="Jobs of the run")
    expect(table.get_by_role("button", name="train", exact=True)).to_have_attribute("aria-pressed", "true")
    table.get_by_role("button", name="report", exact=True).click()
    expect(node(tab, "report")).to_have_class(re.compile("selected"))
    tab.get_by_role("tab", name="Script").click()
    expect(tab.get_by_label("Script of report")).to_contain_text("echo done")
    address = tab.url
    tab.goto("/#/jobs")
    tab.goto(address)
    tab.reload()
    expect(node(tab, "report")).to_have_class(re.compile("selected"))
    expect(tab.get_by_label("Script of report")).to_contain_text("echo done")


def test_cancelling_asks_with_the_numbers(site: Server, tab: Any, tmp_path: Path) -> None:
    runs = Runs(site, tmp_path, "stopped")
    run_id = runs.start()
    tab.goto(f"/#/runs/{run_id}")
    expect(node(tab, "train")).to_have_class(re.compile("running"))
    tab.get_by_role("button", name="Cancel", exact=True).click()
    expect(tab.get_by_text("Cancel this run of stopped, with 1 running and 1 waiting job?")).to_be_visible()
    expect(tab.get_by_role("button", name="Keep")).to_be_focused()
    tab.get_by_role("button", name="Cancel", exact=True).click()
    expect(tab.locator(".view > .bar .state")).to_contain_text("cancelled")
    assert runs.get(run_id)["status"] == "cancelled"


def test_a_pane_that_fails_leaves_the_others(site: Server, tab: Any, tmp_path: Path) -> None:
    runs = Runs(site, tmp_path, "panes")
    runs.let_end()
    run_id = runs.start()
    runs.await_end(run_id)
    tab.route("**/runs/*/jobs", lambda route: route.fulfill(status=500, json={"detail": "the disk is away"}))
    tab.goto(f"/#/runs/{run_id}?tab=script")
    problem = tab.get_by_text("Script could not be loaded. the disk is away")
    expect(problem).to_be_visible()
    expect(node(tab, "report")).to_be_visible()
    tab.unroute("**/runs/*/jobs")
    tab.get_by_role("button", name="Try again").click()
    expect(tab.get_by_label(re.compile("^Script of"))).to_contain_text("#!/bin/bash")
    tab.troubles.expect("500")


def test_nothing_waits_for_a_log(site: Server, tab: Any, tmp_path: Path) -> None:
    runs = Runs(site, tmp_path, "slow")
    runs.let_fail()
    run_id = runs.start()
    runs.await_end(run_id)
    held: list[Any] = []
    tab.route("**/logs/**", lambda route: held.append(route))
    tab.goto(f"/#/runs/{run_id}")
    expect(node(tab, "report")).to_be_visible()
    expect(tab.locator(".gantt .row")).to_have_count(3)
    expect(tab.get_by_role("region", name="What failed")).to_contain_text("1 job failed")
    eventually(lambda: held)
    expect(tab.locator(".log-text")).to_have_count(0)
    for route in held:
        route.continue_()
    tab.unroute_all(behavior="ignoreErrors")
    expect(tab.locator(".log-text").get_by_text("began", exact=True)).to_be_visible()


def test_a_run_that_is_not_there(tab: Any) -> None:
    tab.goto("/#/runs/00000000-0000-4000-8000-000000000000")
    expect(tab.get_by_text("There is no run with this id.")).to_be_visible()
    tab.troubles.expect("404")


def test_notifications_are_asked_for_by_a_click_and_say_why_not(
    site: Server, open_tab: Callable[..., Any], tmp_path: Path
) -> None:
    runs = Runs(site, tmp_path, "told")
    run_id = runs.start()
    tab = open_tab(f"#/runs/{run_id}", url=site.url.replace("127.0.0.1", "sluice.test"))
    tab.get_by_role("button", name="Tell me when it ends").click()
    expect(tab.get_by_text("Browsers notify only where the page comes over https. A webhook works")).to_be_visible()
    runs.let_end()
    runs.await_end(run_id)


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False)])
def test_how_it_looks(site: Server, open_tab: Callable[..., Any], tmp_path: Path, width: int, dark: bool) -> None:
    runs = Runs(site, tmp_path, f"looks-{width}-{dark}".lower(), GATED.replace("train", "a_very_" * 8 + "long_name"))
    runs.let_fail()
    run_id = runs.start()
    runs.await_end(run_id)
    tab = open_tab(f"#/runs/{run_id}", width=width, dark=dark)
    expect(tab.locator(".failure pre")).to_contain_text("Traceback")
    expect(tab.locator(".log-text").first).to_be_visible()
    check_looks(tab, width)

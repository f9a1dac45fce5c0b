"""Nodes and partitions: what is used of them, draining and giving back, a thousand of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.app_server import Server
from tests.page.looks import check_looks, pick_theme

pytestmark = pytest.mark.browser
HELD = {"job_name": "waits", "script": "#!/bin/bash\n#SBATCH -H\ntrue\n"}


def test_a_node_is_drained_with_a_reason_and_given_back(site: Server, open_tab: Callable[..., Any]) -> None:
    table = open_tab("#/nodes")
    row = table.get_by_role("table", name="Nodes").get_by_role("row").filter(has_text="node02")
    row.get_by_text("idle").wait_for()
    tab = open_tab("#/nodes/node02")
    tab.get_by_role("button", name="Drain…").click()
    dialog = tab.get_by_role("dialog", name="Drain node02")
    tab.keyboard.press("Enter")  # without the reason that SLURM demands
    dialog.locator(".field.wrong").wait_for()
    dialog.get_by_label("Reason").fill("fan <b>loud</b>")
    dialog.get_by_role("button", name="Drain node02").click()
    tab.get_by_text("fan <b>loud</b> (").wait_for()
    row.get_by_text("drain", exact=True).wait_for()
    row.get_by_text("fan <b>loud</b>").wait_for()
    tab.get_by_role("button", name="Resume").click()
    keep = tab.get_by_role("button", name="Keep")
    assert keep.evaluate("node => node === document.activeElement")
    tab.get_by_text("Give node02 back to SLURM?").wait_for()
    tab.get_by_role("group").get_by_role("button", name="Resume").click()
    row.get_by_text("idle").wait_for()
    tab.troubles.expect("400")


def test_a_node_tells_what_runs_there_before_what_ended(site: Server, open_tab: Callable[..., Any]) -> None:
    scripts = {"goes-on": "sleep 900", "is-over": "true"}
    made = {
        name: site.http.post(
            "/api/v1/jobs", json={"job_name": name, "script": f"#!/bin/bash\n#SBATCH -w node02\n{act}\n"}
        )
        for name, act in scripts.items()
    }
    tab = open_tab("#/nodes/node02")
    for name, title in (("goes-on", "Jobs here now"), ("is-over", "Jobs that ended here in the last day")):
        rows = tab.locator(".pane").filter(has=tab.get_by_role("heading", name=title)).locator("tbody tr")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text(name)
    site.http.delete(f"/api/v1/jobs/{made['goes-on'].json()['job_id']}")
    tab.get_by_text("No job runs here now.").wait_for()


def test_a_partition_tells_its_limits_and_what_waits(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/partitions/main")
    tab.get_by_text("Nothing waits for main").wait_for()
    made = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    tab.get_by_role("region", name="Jobs that wait for main").get_by_role("link", name=made, exact=True).wait_for()
    tab.get_by_role("link", name="node01").wait_for()
    tab.get_by_text("Longest time").wait_for()
    site.http.delete(f"/api/v1/jobs/{made}")
    tab.get_by_text("Nothing waits for main").wait_for()


def test_a_filter_is_in_the_address_and_none_that_fits_can_be_cleared(
    site: Server, open_tab: Callable[..., Any]
) -> None:
    tab = open_tab("#/nodes")
    tab.get_by_role("link", name="node02").wait_for()
    tab.get_by_role("searchbox", name="Filter nodes").fill("NODE01 idle")
    tab.get_by_role("link", name="node02").wait_for(state="hidden")
    assert tab.evaluate("location.hash") == "#/nodes?q=NODE01+idle"
    again = open_tab("#/nodes?q=none-such")
    again.get_by_text("None of 2 nodes fits the filter").wait_for()
    again.get_by_role("button", name="Clear the filter").click()
    again.get_by_role("link", name="node02").wait_for()
    assert again.evaluate("location.hash") == "#/nodes"


def test_a_node_that_is_not_there(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/nodes/none%3Cb%3E")
    tab.get_by_text("State could not be loaded").wait_for()
    tab.troubles.expect("400")


def test_a_thousand_nodes_are_counted_and_told(site: Server, open_tab: Callable[..., Any]) -> None:
    (row, _) = site.http.get("/api/v1/nodes").json()["nodes"]
    many = [row | {"node_name": f"gpu{number:04}", "state": "DOWN", "reason": f"r{number}"} for number in range(1000)]
    tab = open_tab("#/settings/page")
    tab.get_by_role("heading", name="Times").wait_for()
    tab.route("**/api/v1/nodes", lambda route: route.fulfill(body=json.dumps({"nodes": many}), headers={
        "content-type": "application/json", "x-change": "zz-1"}))  # fmt: skip
    tab.goto("/#/nodes")
    tab.get_by_text("1,000 nodes").wait_for()
    tab.get_by_role("link", name="gpu0000").wait_for()
    table = tab.get_by_role("table", name="Nodes")
    assert table.get_attribute("aria-rowcount") == "1001"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1440, 400])
@pytest.mark.parametrize("address", ["#/nodes", "#/nodes/node01", "#/partitions/main"])
def test_it_looks_right(open_tab: Callable[..., Any], address: str, width: int, dark: bool) -> None:
    tab = open_tab(address, width=width, dark=dark)
    tab.get_by_text("node01").first.wait_for()
    tab.get_by_text("Loading…").first.wait_for(state="hidden")
    pick_theme(tab, dark)
    check_looks(tab, width)

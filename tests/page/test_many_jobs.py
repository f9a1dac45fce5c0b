"""Ten thousand jobs: few rows in the document, all of them counted, and none that moves under the hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app_server import Server
from tests.bench.queue import CONFIG, NONCE, build_queue
from tests.slurm_programs import Programs

pytestmark = pytest.mark.browser
JOBS = 10_000
FIRST_IN_SIGHT = """() => {
  const top = document.querySelector(".table").getBoundingClientRect().top + 30;
  const found = [...document.querySelectorAll(".tbody [role=row]")];
  const rows = found.map((row) => [row.dataset.key, row.getBoundingClientRect().top]);
  return rows.filter(([, at]) => at >= top).sort((one, other) => one[1] - other[1])[0];
}"""


class Queue:
    """What squeue prints: so many jobs, some of which change when they are told to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "queue"
        self.lines = build_queue(JOBS).splitlines(keepends=True)
        self.write()

    def write(self) -> None:
        """Let squeue print the jobs as they are now."""
        made = self.path.with_suffix(".new")
        made.write_text("".join(self.lines))
        made.rename(self.path)

    def change(self, numbers: range) -> None:
        """Let waiting jobs run and running ones wait."""
        for number in numbers:
            line = self.lines[number % JOBS]
            words = ("PENDING", "RUNNING") if "PENDING" in line else ("RUNNING", "PENDING")
            self.lines[number % JOBS] = line.replace(*words)
        self.write()


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Queue, Server]]:
    """A server on pretended programs of SLURM with ten thousand jobs."""
    folder = tmp_path_factory.mktemp("many")
    programs, made = Programs(folder), Queue(folder)
    (folder / "config").write_text(CONFIG)
    programs.write("squeue", f'n=${{SQUEUE_FORMAT2#*:}}; n=${{n%%,*}}; sed "s/{NONCE}/$n/g" {made.path}')
    config = f'*"show config") cat {folder}/config;;'
    programs.write("scontrol", f'case "$*" in {config} ping) echo "Slurmctld(primary) at a is UP";; esac')
    programs.write("sbatch")
    server = Server(folder / "store", "slurm", PATH=f"{programs.bin}:{os.environ['PATH']}", SLURM_CONF="/dev/null")
    (server.store / "config.yaml").write_text("poll: {min_s: 1, max_s: 1}\n")
    try:
        yield made, server.start()
    finally:
        server.end()
        server.http.close()


def test_ten_thousand_jobs_hold_still_under_changes(queue: tuple[Queue, Server], open_tab: Callable[..., Any]) -> None:
    lines, server = queue
    tab = open_tab("#/jobs?who=all&since=now", url=server.url)
    tab.get_by_text("2,000 running, 8,000 waiting").wait_for()
    table = tab.get_by_role("table", name="Jobs")
    assert table.get_attribute("aria-rowcount") == str(JOBS + 1)
    assert tab.locator(".tbody [role=row]").count() < 200
    table.evaluate("node => { node.scrollTop = 100_003; }")
    tab.wait_for_function("() => document.querySelector('.tbody [aria-rowindex=\"3580\"]')")
    first = tab.evaluate(FIRST_IN_SIGHT)
    sorted_by_state = open_tab("#/jobs?who=all&since=now&sort=state", url=server.url)
    sorted_by_state.get_by_text("2,000 running").wait_for()
    moved = sorted_by_state.get_by_role("table", name="Jobs")
    moved.evaluate("node => { node.scrollTop = 50_000; }")
    sorted_by_state.wait_for_function("() => document.querySelector('.tbody [aria-rowindex=\"1790\"]')")
    anchor = sorted_by_state.evaluate(FIRST_IN_SIGHT)
    lines.change(range(170))
    # Of 170 jobs every fifth ran: 34 wait now, and 136 run.
    tab.get_by_text("2,102 running, 7,898 waiting").wait_for()
    sorted_by_state.get_by_text("2,102 running, 7,898 waiting").wait_for()
    assert tab.evaluate(FIRST_IN_SIGHT) == first
    key, top = sorted_by_state.evaluate(FIRST_IN_SIGHT)
    assert key == anchor[0] and abs(top - anchor[1]) < 1.5


def test_mine_come_first_and_others_only_when_they_are_wanted(
    queue: tuple[Queue, Server], open_tab: Callable[..., Any]
) -> None:
    tab = open_tab("#/jobs", url=queue[1].url)
    tab.get_by_text("You have no jobs").wait_for()
    assert tab.locator(".tbody [role=row]").count() == 0
    tab.get_by_role("button", name="Show the jobs of all users").click()
    tab.get_by_text("10,000 jobs:").wait_for()


def test_back_leads_to_the_same_row(queue: tuple[Queue, Server], open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs?who=all&since=now&sort=job_id", url=queue[1].url)
    tab.get_by_text("10,000 jobs:").wait_for()
    tab.get_by_role("table", name="Jobs").evaluate("node => { node.scrollTop = 70_011; }")
    tab.wait_for_function("() => document.querySelector('.tbody [aria-rowindex=\"2510\"]')")
    first = tab.evaluate(FIRST_IN_SIGHT)
    tab.get_by_role("link", name="Runs", exact=True).click()
    tab.get_by_role("heading", name="Runs", exact=True).wait_for()
    tab.go_back()
    tab.get_by_text("10,000 jobs:").wait_for()
    tab.wait_for_function(f"key => ({FIRST_IN_SIGHT})()?.[0] === key", arg=first[0])


def test_a_filter_and_a_choice_are_of_all_of_them(queue: tuple[Queue, Server], open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs?who=all&since=now", url=queue[1].url)
    tab.get_by_text("10,000 jobs:").wait_for()
    tab.get_by_role("combobox", name="Filter").fill("job_name=sim_9999")
    tab.get_by_text("1 of 10,000 jobs:").wait_for()
    tab.get_by_role("combobox", name="Filter").fill("user=user3")
    tab.get_by_text("200 of 10,000 jobs:").wait_for()
    tab.get_by_role("checkbox", name="Select all rows").click()
    tab.get_by_text("200 jobs chosen").wait_for()
    tab.get_by_role("button", name="Cancel 200", exact=True).wait_for()

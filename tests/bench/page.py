"""The page in a headless Chromium: how fast it is there, changes, scrolls, and what it costs when nothing is done.

`just bench page [--minutes 5] [--jobs 10000] [--changes 1000] [--only log,dag] [--check]` prints for each row what was
measured, the target, and whether it was met; a row whose view is not there is told as missing. The exit status is 1
with `--check` where a target was missed. Times are those of the browser's own clock. SLURM's programs are small scripts
that print a queue of so many jobs, of which so many change in each minute; runs and sweeps are those of an embedded
cluster that begins no job.
"""

from __future__ import annotations

import argparse
import getpass
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm_shim import parse
from tests import ROOT
from tests.app_server import Server
from tests.bench.processes import read_cpu_s, read_stat
from tests.bench.queue import CONFIG, NONCE, build_queue
from tests.slurm_programs import Programs

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info", "--js-flags=--expose-gc"]
TABS, SCROLL_S, COUNTED_CHANGES, IDLE_S = 9, 3.0, 20, 20.0
LOG_GB, LOG_BLOCK_LINES = 2, 500_000
# A workflow may have so many jobs; the graph alone is measured with more.
DAG_JOBS, DAG_MORE_JOBS, DAG_LAYER = 1000, 2000, 50
CELLS_A_SIDE = 100
WAIT_MS = 30_000
PARTS = ("open", "log", "scroll", "changes", "filter", "rest", "dag", "grid")
ROW = ".tbody .tr"
LAST_LINE = "the end of the log"
# When the first row of the table was painted; a frame has passed after it stood in the document.
WATCH_FIRST = """
new MutationObserver((_, watcher) => {
  if (window.firstRow || !document.querySelector(window.wantedFirst ?? ".tbody .tr")) return;
  watcher.disconnect();
  requestAnimationFrame(() => setTimeout(() => (window.firstRow = performance.now())));
}).observe(document, { childList: true, subtree: true });
"""


@dataclass(frozen=True)
class Row:
    """What was measured, and how much it may be; no number means that the view is missing."""

    what: str
    number: float | None
    most: float
    unit: str
    more: str = ""

    @property
    def verdict(self) -> str:
        """Whether the target was met."""
        return "missing" if self.number is None else "ok" if self.number <= self.most else "MISSED"

    def __str__(self) -> str:
        number = "" if self.number is None else f"{self.number:,.1f}" if self.number < 100 else f"{self.number:,.0f}"
        return f"{self.what:<44} {number:>9} {self.unit:<5} of {self.most:>7,g}  {self.verdict:<8}{self.more}"


# --- a queue that changes --------------------------------------------------------------------------------------------


class Queue:
    """What squeue prints: so many jobs, of which some change in each second."""

    def __init__(self, path: Path, count: int, changes_a_minute: int, log: Path) -> None:
        self.path, self.changes_a_minute, self.random = path, changes_a_minute, random.Random(1)
        self.rows = [line.split(NONCE) for line in build_queue(count).splitlines()]
        self.field = {name: number for number, name in enumerate(parse.JOB_FIELDS)}
        for row in self.rows:
            row[self.field["UserName"]] = getpass.getuser()
            row[self.field["UserID"]] = str(os.getuid())
        for row in self.rows[:1]:  # its log is the large one
            row[self.field["STDOUT"]] = str(log)
            row[self.field["State"]], row[self.field["Reason"]] = "RUNNING", "None"
            row[self.field["StartTime"]] = row[self.field["SubmitTime"]]
        by_time = sorted(self.rows[1:], key=lambda row: row[self.field["SubmitTime"]])
        self.newest = by_time[-15:]  # these are in sight
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._change_forever, daemon=True)
        self.write()

    def write(self) -> None:
        """Let the next squeue print the rows as they are now."""
        new = self.path.with_suffix(".new")
        new.write_text("".join(NONCE.join(row) + "\n" for row in self.rows))
        new.replace(self.path)

    def _change_forever(self) -> None:
        while not self.ended.wait(1.0):
            count = self.changes_a_minute // 60
            for row in [self.random.choice(self.newest), *self.random.choices(self.rows[1:], k=count)]:
                runs = row[self.field["State"]] == "PENDING"
                row[self.field["State"]], row[self.field["Reason"]] = (
                    ("RUNNING", "None") if runs else ("PENDING", "Priority")
                )
                row[self.field["StartTime"]] = str(int(time.time())) if runs else "N/A"
                row[self.field["NodeList"]] = "node01" if runs else ""
            self.write()

    def end(self) -> None:
        """Change nothing any more."""
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join()


@contextmanager
def serving_queue(folder: Path, jobs: int, changes: int, log: Path) -> Iterator[tuple[Server, Queue]]:
    """A server over the pretended queue, which begins to change when it is told to."""
    folder.mkdir()
    programs, queue = Programs(folder), Queue(folder / "queue", jobs, changes, log)
    (folder / "config").write_text(CONFIG)
    programs.write("squeue", f'n=${{SQUEUE_FORMAT2#*:}}; n=${{n%%,*}}; sed "s/{NONCE}/$n/g" {folder}/queue')
    programs.write(
        "scontrol", f'case "$*" in *"show config") cat {folder}/config;; ping) echo "Slurmctld(primary) is UP";; esac'
    )
    programs.write("sbatch")
    server = Server(folder / "store", "slurm", PATH=f"{programs.bin}:{os.environ['PATH']}", SLURM_CONF="/dev/null")
    (server.store / "config.yaml").write_text("poll: {min_s: 1, max_s: 1}\n")
    try:
        server.start()
        assert server.http.get("/api/v1/jobs?limit=1").json()["total"] == jobs
        yield server, queue
    finally:
        queue.end()
        end_server(server)


def end_server(server: Server) -> None:
    """End the server; none of its jobs runs."""
    server.end_alone()


@contextmanager
def serving_embedded(folder: Path) -> Iterator[Server]:
    """A server on the embedded cluster, which begins no job."""
    server = Server(folder / "embedded", "embedded")
    (server.store / "config.yaml").write_text("cluster: {execute: false}\npoll: {min_s: 1, max_s: 1}\n")
    try:
        yield server.start()
    finally:
        end_server(server)


def write_large_log(path: Path) -> None:
    """Write a log of two gigabytes, or a little less."""
    block = b"".join(
        b"step %08d loss 0.123456789 of the %4d-th part\n" % (step, step % 1000) for step in range(LOG_BLOCK_LINES)
    )
    with path.open("wb") as file:
        for _ in range(LOG_GB * 10**9 // len(block)):
            file.write(block)
        file.write(f"{LAST_LINE}\n".encode())


# --- the browser -----------------------------------------------------------------------------------------------------


@contextmanager
def open_browser() -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def open_tab(browser: Any, url: str) -> Iterator[Any]:
    """A tab of a browser that knows nothing yet."""
    context = browser.new_context(base_url=url, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(WAIT_MS)
    context.add_init_script(WATCH_FIRST)
    try:
        yield context.new_page()
    finally:
        context.close()


# Nothing but an expression: the page's policy forbids what would have to be evaluated again and again.
AWAIT_FIRST = """
(most_ms) => new Promise((resolve) => {
  const missing = /could not be loaded: the server|There is nothing at/;
  const timer = setInterval(() => {
    if (!window.firstRow && !missing.test(document.body?.innerText) && performance.now() < most_ms) return;
    clearInterval(timer);
    resolve(window.firstRow ?? null);
  }, 50);
})
"""


def time_first(tab: Any, address: str, wanted: str = ROW) -> float | None:
    """Time from the navigation to what is wanted, painted, in ms; None where the view is missing."""
    tab.add_init_script(f"window.wantedFirst = {wanted!r}")
    tab.goto("about:blank")
    tab.goto(f"/{address}")
    found: float | None = tab.evaluate(AWAIT_FIRST, WAIT_MS)
    return found


def list_renderers(browser_pid: int) -> list[int]:
    """List the processes that show pages of the browser."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if b"--type=renderer" in line and is_below(int(path.name), browser_pid):
            found.append(int(path.name))
    return found


def is_below(pid: int, top: int) -> bool:
    """Return whether a process descends from another."""
    while pid > 1 and pid != top:
        stat = read_stat(pid)
        pid = int(stat[1]) if stat else 0
    return pid == top


def read_heap_mb(tab: Any) -> float:
    """Memory of the page's objects, after what is garbage has been collected."""
    session = tab.context.new_cdp_session(tab)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return float(metrics["JSHeapUsedSize"]) / 1e6


def read_private_mb(pids: list[int]) -> float:
    """Memory that the processes share with no other."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_"):
                total += int(line.split()[1])
    return total / 1024


# --- rows ------------------------------------------------------------------------------------------------------------


def measure_opening(browser: Any, server: Server) -> Iterator[Row]:
    """First content, and nine tabs with one stream."""
    with open_tab(browser, server.url) as tab:
        yield Row("first content of the jobs", time_first(tab, "#/jobs"), 1000, "ms")
        times = [time_first(tab, "#/jobs")]
        for _ in range(TABS - 1):
            times.append(time_first(tab.context.new_page(), "#/jobs"))
        yield Row(f"the slowest of {TABS} tabs", max(time or 0 for time in times), 1000, "ms")
        lines = server.http.get("/metrics").text.splitlines()
        streams = sum(float(line.split()[-1]) for line in lines if line.startswith("sluice_event_readers"))
        yield Row(f"streams of {TABS} tabs", streams, 1, "")


PAINTED = """
async (wanted) => {
  const live = await import(new URL("core/live.js", document.querySelector("script[type=module]").src).href);
  const came = new Map(), late = [];
  const abort = new AbortController();
  const answer = await fetch("api/events?view=s9s&kinds=job", { signal: abort.signal });
  (async () => {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const now = performance.now();
      for (const [, id] of value.matchAll(/^id: ?(\\S+)/gm)) came.set(id, now);
    }
  })().catch(() => {});
  await new Promise((resolve) => {
    const watcher = new MutationObserver(() => (watcher.changed = true));
    const all = { subtree: true, childList: true, characterData: true, attributes: true };
    watcher.observe(document.querySelector(".tbody"), all);
    live.hearChanges(["job"], (changes) => {
      const first = Math.min(...changes.map((change) => came.get(change.position) ?? performance.now()));
      watcher.changed = false;
      requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => {
        if (watcher.changed) late.push(performance.now() - first);
        if (late.length >= wanted) resolve();
      })));
    });
  });
  abort.abort();
  return late;
}
"""


def measure_changes(browser: Any, server: Server) -> Iterator[Row]:
    """How late a change is painted after its event came to the browser."""
    with open_tab(browser, server.url) as tab:
        time_first(tab, "#/jobs")
        late = sorted(tab.evaluate(PAINTED, COUNTED_CHANGES))
        yield Row(
            "a change painted after its event (slowest)", late[-1], 200, "ms", f"  middle {late[len(late) // 2]:.0f}"
        )


KEYSTROKES = """
() => {
  window.slowest = 0;
  new PerformanceObserver((list) => {
    const typed = list.getEntries().filter((entry) => /key|input/.test(entry.name));
    window.slowest = Math.max(window.slowest, ...typed.map((entry) => entry.duration));
  }).observe({ type: "event", durationThreshold: 16, buffered: true });
}
"""


def measure_filter(browser: Any, server: Server) -> Iterator[Row]:
    """How late a key in the filter is painted; the browser tells it in steps of 8 ms, and nothing below 16."""
    what = "a key in the filter painted (slowest)"
    with open_tab(browser, server.url) as tab:
        time_first(tab, "#/jobs")
        box = tab.locator("main input[type=search], main input[role=combobox]").first
        if not box.count():
            yield Row(what, None, 50, "ms")
            return
        box.focus()
        tab.evaluate(KEYSTROKES)
        tab.keyboard.type("name ~ sim_77", delay=80)
        tab.wait_for_timeout(1000)
        yield Row(what, tab.evaluate("window.slowest"), 50, "ms")


SCROLL = """
(seconds) => new Promise((resolve) => {
  const table = document.querySelector(".table"), frames = [];
  const end = performance.now() + 1000 * seconds;
  let last = performance.now(), way = 700;
  const step = () => {
    const now = performance.now();
    frames.push(now - last);
    last = now;
    if (now > end) return resolve(frames.slice(2));
    if (table.scrollTop + table.clientHeight >= table.scrollHeight - 1) way = -700;
    if (table.scrollTop === 0) way = 700;
    table.scrollTop += way;
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})
"""


def measure_scrolling(browser: Any, server: Server) -> Iterator[Row]:
    """The longest frame while the table is scrolled, 700 pixels in each frame."""
    with open_tab(browser, server.url) as tab:
        time_first(tab, "#/jobs")
        frames = sorted(tab.evaluate(SCROLL, SCROLL_S))
        slow = sum(frame > 50 for frame in frames)
        more = f"  middle {frames[len(frames) // 2]:.0f}, {slow} of {len(frames)} over 50"
        yield Row("scrolling: the longest frame", frames[-1], 50, "ms", more)


def measure_log(browser: Any, server: Server, job: str) -> Iterator[Row]:
    """How soon the end of a log of two gigabytes stands there."""
    with open_tab(browser, server.url) as tab:
        found = time_first(tab, f"#/jobs/{job}?tab=log", ".log-viewer, .empty.failed")
        if found is not None:
            began = time.monotonic()
            try:
                tab.get_by_text(LAST_LINE).wait_for()
                found += 1000 * (time.monotonic() - began)
            except Exception as problem:  # what cannot be measured is told
                yield Row("the end of a log of 2 GB", None, 1000, "ms", f"  {str(problem).splitlines()[0]}")
                return
        yield Row("the end of a log of 2 GB", found, 1000, "ms")


GRAPH = """
async (jobs) => {
  const source = document.querySelector("script[type=module]").src;
  const { makeGraph } = await import(new URL("parts/graph.js", source).href);
  const graph = makeGraph({ label: "Jobs" });
  document.querySelector("main").replaceChildren(graph.node);
  const began = performance.now();
  await graph.setJobs(jobs);
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  return document.querySelector(".canvas .node") ? performance.now() - began : null;
}
"""


def build_jobs(count: int) -> list[dict[str, Any]]:
    """Build jobs in layers, each of which needs two of the layer before it."""
    jobs = []
    for number in range(count):
        needs = [number - DAG_LAYER, max(0, number - DAG_LAYER - number % 7)] if number >= DAG_LAYER else []
        jobs.append({"name": f"j{number}", "depends_on": [f"j{each}" for each in dict.fromkeys(needs)]})
    return jobs


def measure_graph(browser: Any, server: Server) -> Iterator[Row]:
    """How soon a run with many jobs stands there, and how long its graph alone takes."""
    lines = [
        f"  - {{name: {job['name']}, command: [hostname], depends_on: [{', '.join(job['depends_on'])}]}}\n"
        for job in build_jobs(DAG_JOBS)
    ]
    (server.store / "workflows" / "large.yaml").write_text("name: large\njobs:\n" + "".join(lines))
    run = start(server, "large", {})
    with open_tab(browser, server.url) as tab:
        yield Row(f"a run of {DAG_JOBS:,} jobs", time_first(tab, f"#/runs/{run['id']}", ".canvas .node"), 1000, "ms")
        jobs = [{**job, "status": "PENDING"} for job in build_jobs(DAG_MORE_JOBS)]
        yield Row(f"a graph of {DAG_MORE_JOBS:,} nodes", tab.evaluate(GRAPH, jobs), 1000, "ms")


def measure_grid(browser: Any, server: Server) -> Iterator[Row]:
    """How soon a grid of 10,000 cells stands there."""
    text = "name: grid\nargs: {x: 1, y: 1}\njobs:\n  - {name: cell, command: [echo, '{{ x }}', '{{ y }}']}\n"
    (server.store / "workflows" / "grid.yaml").write_text(text)
    axis = {"range": [0, CELLS_A_SIDE, 1]}
    sweep = start(server, "grid", {"sweep": {"matrix": {"x": axis, "y": axis}, "max_parallel": 1}})
    wanted = ".cells rect, .cells canvas, .grid rect, .grid canvas, [role=grid], main canvas"
    with open_tab(browser, server.url) as tab:
        found = time_first(tab, f"#/sweeps/{sweep['sweep_run_id']}", wanted)
        yield Row(f"a grid of {CELLS_A_SIDE**2:,} cells", found, 1000, "ms")


def start(server: Server, workflow: str, body: dict[str, Any]) -> Any:
    """Start a run or a sweep of a workflow that was written just now."""
    until = time.monotonic() + 20
    while True:
        answer = server.http.post(f"/api/workflows/{workflow}/run", json=body)
        if answer.status_code < 300 or time.monotonic() > until:
            assert answer.status_code < 300, answer.text[:500]
            return answer.json()
        time.sleep(0.2)


HIDE = """
(hidden) => {
  Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
  const state = hidden ? "hidden" : "visible";
  Object.defineProperty(document, "visibilityState", { get: () => state, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


def measure_rest(browser: Any, server: Server, minutes: float) -> Iterator[Row]:
    """What a tab costs that nobody touches, and whether that grows."""
    with open_tab(browser, server.url) as tab:
        time_first(tab, "#/jobs")
        troubles: list[str] = []
        tab.on("pageerror", lambda problem: troubles.append(str(problem)))
        tab.on("console", lambda message: message.type == "error" and troubles.append(message.text))
        renderers = list_renderers(os.getpid())
        tab.wait_for_timeout(5000)
        first_mb = read_heap_mb(tab)
        yield Row("idle visible tab: CPU", idle(tab, renderers, IDLE_S), 10, "%")
        tab.evaluate(HIDE, True)
        yield Row("idle hidden tab (told so): CPU", idle(tab, renderers, IDLE_S), 1, "%")
        tab.evaluate(HIDE, False)
        idle(tab, renderers, max(0.0, 60 * minutes - 2 * IDLE_S))
        last_mb = read_heap_mb(tab)
        more = f"  its process alone {read_private_mb(renderers):.0f}"
        yield Row("memory: objects of the page", last_mb, 150, "MB", more)
        yield Row(f"memory that came in {minutes:g} minutes", last_mb - first_mb, 10, "MB")
        yield Row("errors in that time", len(troubles), 0, "", f"  {troubles[:2]}" if troubles else "")


def idle(tab: Any, pids: list[int], seconds: float) -> float:
    """Leave the tab alone; return which part of a core its processes used, in percent."""
    began_s, began = sum(map(read_cpu_s, pids)), time.monotonic()
    tab.wait_for_timeout(1000 * seconds)
    return 100 * (sum(map(read_cpu_s, pids)) - began_s) / max(time.monotonic() - began, 0.001)


def measure_size() -> Row:
    """The bytes of all files of the page."""
    ui = ROOT / "web" / "ui"
    files = [ROOT / "web" / "index.html", *(path for path in ui.rglob("*") if path.is_file())]
    return Row("all of the page, raw", sum(path.stat().st_size for path in files) / 1000, 300, "kB")


def measure(folder: Path, given: argparse.Namespace) -> Iterator[Row]:
    """Yield all rows that are asked for."""
    only = set(given.only.split(",")) if given.only else set()

    def wants(name: str) -> bool:
        return not only or name in only

    yield measure_size()
    log = folder / "large.log"
    if wants("log"):
        write_large_log(log)
    with open_browser() as browser:
        with serving_queue(folder / "queue", given.jobs, given.changes, log) as (server, queue):
            parts: dict[str, Callable[[], Iterator[Row]]] = {
                "open": lambda: measure_opening(browser, server),
                "log": lambda: measure_log(browser, server, "1"),
                "scroll": lambda: measure_scrolling(browser, server),
                "changes": lambda: measure_changes(browser, server),
                "filter": lambda: measure_filter(browser, server),
                "rest": lambda: measure_rest(browser, server, given.minutes),
            }
            queue.thread.start()
            for name, part in parts.items():
                if wants(name):
                    yield from part()
        if wants("dag") or wants("grid"):
            with serving_embedded(folder) as server:
                if wants("dag"):
                    yield from measure_graph(browser, server)
                if wants("grid"):
                    yield from measure_grid(browser, server)


def main(words: list[str]) -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="just bench page", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=1000, help="in a minute")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long the page is left alone")
    parser.add_argument("--only", default="", help=f"{','.join(PARTS)}: some of these")
    parser.add_argument("--check", action="store_true", help="fail where a target is missed")
    given = parser.parse_args(words)
    unknown = set(filter(None, given.only.split(","))).difference(PARTS)
    if unknown:
        parser.error(f"--only takes {','.join(PARTS)}, not {','.join(sorted(unknown))}")
    if BROWSER is None:
        sys.exit("Chromium is not installed")
    missed = 0
    print(f"{given.jobs:,} jobs, {given.changes:,} changes a minute, {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as folder:
        for row in measure(Path(folder), given):
            missed += row.verdict == "MISSED"
            print(row, flush=True)
    if missed and given.check:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])

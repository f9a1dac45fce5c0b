"""Make the pictures of the README anew: jobs, a run with its graph, a sweep.

`just screenshots` writes docs/pictures/*.png from a scene that is always the same, on an embedded cluster of its own;
only the times in it are those of the day. A picture that would be larger than 200 kB is an error.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import ROOT
from tests.app_server import Server
from tests.page.conftest import FLAGS
from tests.waiting import eventually

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FOLDER = ROOT / "docs" / "pictures"
MOST_BYTES = 200_000
SIZE = {"width": 1440, "height": 644}
CONFIG = """\
cluster:
  nodes: 4
  cpus: 32
  memory_mb: 256000
  gpus: 4
  partitions: [{name: gpu, default: true, max_time: 2-00:00:00}, {name: cpu, max_time: 7-00:00:00}]
"""
# Name, options of sbatch, and what it does.
JOBS = (
    ("download-shards", "-p cpu -c 4 --mem=8G -t 2:00:00", "true"),
    ("preprocess-imagenet", "-p cpu -c 16 --mem=64G -t 4:00:00", "true"),
    ("tokenise", "-p cpu -c 8 --mem=16G -t 30:00", "true"),
    ("count-tokens", "-p cpu -c 1 --mem=2G -t 10:00", "true"),
    ("export-onnx", "-c 2 --mem=8G -t 10:00", "echo 'operator Resize is not supported' >&2; exit 2"),
    ("train-resnet50", "-c 8 --mem=48G --gpus=4 -t 1-00:00:00", "sleep 900"),
    ("train-vit-base", "-c 8 --mem=48G --gpus=4 -t 1-12:00:00", "sleep 900"),
    ("finetune-llm-7b", "-c 16 --mem=96G --gpus=4 -t 12:00:00", "sleep 900"),
    ("evaluate-resnet50", "-c 4 --mem=16G --gpus=1 -t 1:00:00 -d afterok:6", "true"),
    ("evaluate-vit-base", "-c 4 --mem=16G --gpus=1 -t 1:00:00 -d afterok:7", "true"),
    ("bootstrap", "-p cpu --array=0-31%4 -c 2 --mem=4G -t 20:00", "sleep 900"),
    ("pretrain-large", "-N 2 -c 16 --mem=200G --gpus-per-node=4 -t 2-00:00:00", "sleep 900"),
    ("nightly-report", "-p cpu -c 1 --mem=2G -t 5:00 -H", "true"),
)
# Without a limit its jobs would wait behind pretrain-large, as on any cluster.
WORKFLOW = """\
name: train-and-compare
args: {epochs: 90}
jobs:
  - name: fetch
    command: "true"
    resources: &cpu {partition: cpu, gpus_per_node: 0, cpus_per_task: 1, time_limit: "1:00:00"}
  - {name: clean, command: "true", depends_on: [fetch], resources: *cpu}
  - {name: split, command: "true", depends_on: [clean], resources: *cpu}
  - {name: check_data, command: "true", depends_on: [clean], resources: *cpu}
  - {name: baseline, command: "true", depends_on: [split], resources: *cpu}
  - {name: train_small, command: "true", depends_on: [split], resources: *cpu}
  - name: train_base
    command: |
      for epoch in $(seq 1 16); do
        loss=$((9000 / (epoch + 1))) accuracy=$((90 - 45 / epoch))
        printf 'epoch %2d of {{ epochs }}   loss 0.%04d   accuracy 0.%d\\n' $epoch $loss $accuracy
      done
      sleep 900
    depends_on: [split]
    resources: *cpu
  - {name: train_large, command: "sleep 900", depends_on: [split], resources: *cpu}
  - {name: evaluate, command: "true", depends_on: [baseline, train_small, train_base, train_large], resources: *cpu}
  - {name: plot, command: "true", depends_on: [evaluate], resources: *cpu}
  - {name: report, command: "true", depends_on: [plot, check_data], resources: *cpu}
"""
SWEEP = """\
name: tune
args: {lr: 0.001, batch: 64}
jobs:
  - name: train
    resources: {partition: cpu, gpus_per_node: 0, cpus_per_task: 1, time_limit: "1:00:00"}
    command:
      - python3
      - -c
      - |
        import json, math, os, sys
        lr, batch = {{ lr }}, {{ batch }}
        if lr > 0.09 and batch < 32:
            sys.exit("the loss is not a number any more")
        loss = 0.21 + 0.08 * (math.log10(lr) + 2.5) ** 2 + 0.03 * (math.log2(batch) - 6) ** 2
        json.dump({"loss": round(loss, 4), "accuracy": round(1 - loss / 2, 4)}, open(os.environ["SLUICE_RESULT"], "w"))
"""
MATRIX = {"lr": {"logspace": [0.0001, 0.1, 7]}, "batch": [16, 32, 64, 128, 256]}


def submit_jobs(server: Server) -> None:
    """Submit the jobs, and wait until all do what they do in the picture."""
    for name, options, act in JOBS:
        made = server.http.post(
            "/api/v1/jobs", json={"job_name": name, "script": f"#!/bin/bash\n#SBATCH {options}\n{act}\n"}
        )
        assert made.status_code == 201, made.text
        if name == "export-onnx":
            eventually(lambda: count(server, "RUNNING") == count(server, "PENDING") == 0, 60)
    eventually(lambda: count(server, "RUNNING") == 7, 60)


def count(server: Server, state: str) -> int:
    """Count the rows of jobs in a state."""
    return int(server.http.get("/api/v1/jobs", params={"state": state, "limit": 1}).json()["total"])


def start_run(server: Server) -> str:
    """Start the run, and wait until two of its jobs go on and all before them are done."""
    run: str = start(server, "train-and-compare", {})["id"]

    def is_there() -> bool:
        states = list(server.http.get(f"/api/workflows/runs/{run}").json()["job_statuses"].values())
        return states.count("RUNNING") == 2 and states.count("COMPLETED") == 6

    eventually(is_there, 20, "two jobs of the run go on, six are done")
    return run


def run_sweep(server: Server) -> str:
    """Run the sweep to its end."""
    sweep = str(start(server, "tune", {"sweep": {"matrix": MATRIX, "max_parallel": 8}})["sweep_run_id"])
    ended = ("completed", "failed")
    eventually(lambda: server.http.get(f"/api/sweep_runs/{sweep}").json()["status"] in ended, 300)
    return sweep


def start(server: Server, workflow: str, body: dict[str, Any]) -> Any:
    """Start a workflow."""
    answer = server.http.post(f"/api/workflows/{workflow}/run", json=body)
    assert answer.status_code < 300, answer.text
    return answer.json()


def take(tab: Any, name: str, address: str, wanted: str, top: str) -> None:
    """Take the picture of a view as soon as it shows what is wanted, scrolled until `top` is at its upper edge."""
    tab.goto(f"/{address}")
    tab.locator(wanted).first.wait_for()
    tab.evaluate("document.fonts.ready")
    tab.wait_for_timeout(500)  # what comes late moves what is below it
    tab.locator(top).first.evaluate("(node) => scrollTo(0, node.getBoundingClientRect().top + scrollY - 8)")
    tab.wait_for_timeout(1000)  # nobody waits for a picture: what comes late is on it
    path = FOLDER / f"{name}.png"
    tab.screenshot(path=path, animations="disabled", caret="hide")
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size / 1000:.0f} kB")
    assert size <= MOST_BYTES, f"{path} is larger than {MOST_BYTES} bytes"


def make_pictures(server: Server, tab: Any, only: str) -> None:
    """Make the pictures one after the other; each scene is added to the one before."""
    scenes: dict[str, Callable[[], tuple[str, str, str]]] = {
        "jobs": lambda: (submit_jobs(server), ("#/jobs", ".tbody .tr", "body"))[1],
        "run": lambda: (f"#/runs/{start_run(server)}", ".canvas .node", "body"),
        "sweep": lambda: (f"#/sweeps/{run_sweep(server)}", "h1", ".sweep-main"),
    }
    for name, prepare in scenes.items():
        if only in ("", name):
            take(tab, name, *prepare())


def main() -> None:
    """Make the pictures that the command line asks for."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(prog="just screenshots", description=__doc__)
    parser.add_argument("only", nargs="?", default="", choices=["", "jobs", "run", "sweep"], help="make one of them")
    given = parser.parse_args()
    if BROWSER is None:
        sys.exit("Chromium is not installed")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder) / "store", "embedded")
        (server.store / "config.yaml").write_text(CONFIG)
        (server.store / "workflows").mkdir(exist_ok=True)
        (server.store / "workflows" / "train-and-compare.yaml").write_text(WORKFLOW)
        (server.store / "workflows" / "tune.yaml").write_text(SWEEP)
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        try:
            server.start()
            context = browser.new_context(base_url=server.url, viewport=SIZE, color_scheme="light", timezone_id="UTC")
            make_pictures(server, context.new_page(), given.only)
        finally:
            browser.close()
            server.close()


if __name__ == "__main__":
    main()

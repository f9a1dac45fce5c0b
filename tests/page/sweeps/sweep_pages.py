"""Sweeps to look at: a workflow whose cells end in every way, and one whose cells wait."""

from __future__ import annotations

import json
from typing import Any

from tests.app_server import Server
from tests.waiting import eventually

TRAIN = """\
name: fit
args: {lr: 0.1, seed: 1, opt: adam}
jobs:
  - name: train
    command:
      - python3
      - -c
      - >-
        import json, math, os, sys; lr, seed, opt = {{ lr }}, {{ seed }}, '{{ opt }}';
        print('no room for', lr, seed) or sys.exit(3) if (lr, seed) == (1, 2) else 0;
        loss = (math.log10(lr) + 2) ** 2 + seed / 7 + (opt == 'sgd') / 3; print('loss', loss);
        found = {'loss': math.nan if lr == 1 else loss, 'acc': 1 / (1 + loss), 'same': 5};
        json.dump(found, open(os.environ['SLUICE_RESULT'], 'w'))
    resources: {time_limit: "5"}
"""
HOLD = """\
name: hold
args: {lr: 0.1, seed: 1}
jobs:
  - {name: wait, command: [sleep, "600", "{{ lr }}", "{{ seed }}"], resources: {time_limit: "60"}}
"""
SAY = """\
name: say
args: {word: a}
jobs:
  - name: speak
    command: [sh, -c, 'printf "{\\"length\\": %d}" "$(printf %s "$0" | wc -c)" > "$SLUICE_RESULT"', "{{ word }}"]
    resources: {time_limit: "5"}
"""
MATRIX = {"lr": [0.001, 0.01, 0.1, 1], "seed": [1, 2, 3]}


def start(site: Server, workflow: str, matrix: dict[str, Any], **more: Any) -> int:
    """Start a sweep of one of the workflows; return its number."""
    text = {"fit": TRAIN, "hold": HOLD, "say": SAY}[workflow]
    path = site.store / "workflows" / f"{workflow}.yaml"
    if not path.exists():
        path.write_text(text)
        eventually(lambda: site.http.get(f"/api/workflows/{workflow}").status_code == 200, 20)
    answer = site.http.post(f"/api/workflows/{workflow}/run", json={"sweep": {"matrix": matrix, **more}})
    assert answer.status_code == 202, answer.text
    number: int = answer.json()["sweep_run_id"]
    return number


def finish(site: Server, number: int) -> dict[str, Any]:
    """Await the end of a sweep; return it."""
    for _ in range(3):
        row: dict[str, Any] = site.http.get(f"/api/sweep_runs/{number}?wait=60").json()
        if row["completed_at"]:
            return row
    raise AssertionError(row)


def pretend_cells(tab: Any, number: int, rows: list[dict[str, Any]]) -> None:
    """Let the page read these cells of a sweep in place of its own."""
    body = json.dumps(rows)
    tab.route(
        f"**/api/sweep_runs/{number}/cells",
        lambda route: route.fulfill(body=body, content_type="application/json", headers={"x-change": "1-1"}),
    )

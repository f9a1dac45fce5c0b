"""Runs for the tests of the page: workflows that end as a test wants it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.app_server import Server
from tests.waiting import eventually

ENDED = ("completed", "failed", "cancelled")
# `train` waits until the file `go` is there, and fails unless there is also `well`.
GATED = """\
name: {name}
args: {{lr: 0.1, seed: 3, note: plain, fast: true}}
jobs:
  - {{name: prepare, command: "echo ready"}}
  - name: train
    depends_on: [prepare]
    command: |
      echo began
      until test -e {gate}/go; do sleep 0.1; done
      test -e {gate}/well || {{ echo "Traceback: no well for {{{{ lr }}}}" >&2; exit 137; }}
      echo '{{"accuracy": {{{{ lr }}}}}}' > "$SLUICE_RESULT"
  - {{name: report, depends_on: [train], command: "echo done"}}
"""
QUICK = """\
name: {name}
args: {{lr: 0.1, word: "<b>&amp;"}}
jobs:
  - name: train
    command: "echo {{{{ lr }}}}; echo '{{\\"accuracy\\": {{{{ lr }}}}}}' > $SLUICE_RESULT"
    environment: {{env_vars: {{RATE: "{{{{ lr }}}}"}}}}
"""


class Runs:
    """Starts runs of one workflow on a server, and says when they go on."""

    def __init__(self, site: Server, gate: Path, name: str, text: str = GATED) -> None:
        self.site, self.gate, self.name = site, gate, name
        path = site.store / "workflows" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.format(name=name, gate=gate))
        eventually(lambda: site.http.get(f"/api/workflows/{name}").status_code == 200)

    def start(self, **args: Any) -> str:
        """Start a run; return its id."""
        answer = self.site.http.post(f"/api/workflows/{self.name}/run", json={"args_override": args})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def get(self, run_id: str) -> Any:
        """The run as it is now."""
        return self.site.http.get(f"/api/workflows/runs/{run_id}").json()

    def await_end(self, run_id: str) -> Any:
        """The run, once it has ended."""
        eventually(lambda: self.get(run_id)["status"] in ENDED, 60)
        return self.get(run_id)

    def let_fail(self) -> None:
        """Let what waits go on, and fail."""
        (self.gate / "go").touch()

    def let_end(self) -> None:
        """Let what waits go on, and end well."""
        (self.gate / "well").touch()
        (self.gate / "go").touch()

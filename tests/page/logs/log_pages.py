"""Jobs whose logs a test writes, and the viewer of a log in a tab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.app_server import Server
from tests.waiting import eventually

# The way of a view: it imports the viewer from beside it, puts it into the page and closes it.
MOUNT = """async ([job, options]) => {
  const place = document.querySelector("main");
  const { src } = document.querySelector("script[type=module]");
  const { makeLogViewer } = await import(src.replace("app.js", "log/viewer.js"));
  globalThis.viewer?.close();
  globalThis.viewer = makeLogViewer({ job, ...options });
  const title = Object.assign(document.createElement("h1"), { textContent: "A log" });
  place.replaceChildren(title, globalThis.viewer.node);
}"""


class LogJob:
    """A job, and the files that it writes into; it runs until `end`, or has ended at once."""

    def __init__(self, site: Server, folder: Path, *, runs: bool = False, merged: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.site, self.stdout, self.stderr, self.stop = site, folder / "out", folder / "err", folder / "stop"
        wait = f"while [ ! -e {self.stop} ]; do sleep 0.1; done" if runs else "true"
        body = {"script": f"#!/bin/bash\necho begun; echo oops >&2\n{wait}\n", "standard_output": str(self.stdout)}
        if not merged:
            body["standard_error"] = str(self.stderr)
        self.id = str(site.http.post("/api/v1/jobs", json=body).json()["job_id"])
        if runs:
            eventually(lambda: site.http.get(f"/api/jobs/{self.id}/logs/stdout").json()["lines"])
        else:
            eventually(lambda: site.http.get(f"/api/v1/jobs/{self.id}/output").json()["complete"])

    def write(self, text: str | bytes) -> LogJob:
        """Write its output anew."""
        self.stdout.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self

    def append(self, text: str) -> None:
        """Write more of its output."""
        with self.stdout.open("ab") as file:
            file.write(text.encode())

    def end(self) -> None:
        """Let it end."""
        self.stop.touch()
        eventually(lambda: self.site.http.get(f"/api/jobs/{self.id}/logs/stdout").json()["ended"])


def show_log(tab: Any, job: LogJob, **options: Any) -> Any:
    """Show the log of a job in a tab; return the box that scrolls."""
    tab.locator("main h1").first.wait_for()
    tab.evaluate(MOUNT, [job.id, options])
    return tab.locator(".log")


def number_lines(first: int, last: int, more: str = "") -> str:
    """Lines with their numbers."""
    return "".join(f"line {number}{more}\n" for number in range(first, last + 1))


def find_first(log: Any) -> int:
    """The number of the first line in sight."""
    return int(
        log.evaluate("""(log) => {
      const top = log.getBoundingClientRect().top;
      const rows = [...log.querySelectorAll(".log-row")];
      return Number(rows.find((row) => row.getBoundingClientRect().bottom > top + 1).dataset.key);
    }""")
    )

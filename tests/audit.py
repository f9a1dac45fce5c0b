"""`just audit`: known vulnerabilities of the packages in constraints.txt, where advisories can be reached."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from tests import ROOT

# An environment of its own: what pip-audit needs is nothing that Sluice needs.
OWN = ROOT / ".venv" / "audit"
NOTHING = "nothing was audited: the advisories cannot be reached from here"


def find_program() -> Path:
    """pip-audit of this environment, or else of one that is made for it."""
    for folder in (Path(sys.executable).parent, OWN / "bin"):
        if (folder / "pip-audit").exists():
            return folder / "pip-audit"
    venv.create(OWN, with_pip=True)
    subprocess.run([OWN / "bin" / "python", "-m", "pip", "install", "-qq", "pip-audit"], check=True)
    return OWN / "bin" / "pip-audit"


def summarize(found: dict[str, Any]) -> tuple[int, list[str]]:
    """The exit status, and the lines that say why, from what pip-audit prints as JSON."""
    packages = found["dependencies"]
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        return 0, [NOTHING]
    lines = [
        f"{package['name']} {package['version']}: {known['id']}, mended in {', '.join(known['fix_versions']) or 'none'}"
        for package in audited
        for known in package["vulns"]
    ]
    left = [package["name"] for package in packages if "skip_reason" in package]
    return (1 if lines else 0), [
        *lines,
        f"{len(audited)} packages audited, {len(lines)} known vulnerabilities",
        *([f"not audited: {', '.join(left)}"] if left else []),
    ]


def main() -> int:
    """Audit, and say what was found."""
    try:
        command = [find_program(), "--requirement", ROOT / "constraints.txt", "--no-deps", "--disable-pip"]
        done = subprocess.run(
            [*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True, check=False
        )
        status, lines = summarize(json.loads(done.stdout))
    except (subprocess.CalledProcessError, json.JSONDecodeError):
        status, lines = 0, [NOTHING]
    print(*lines, sep="\n")
    return status


if __name__ == "__main__":
    sys.exit(main())

"""An embedded cluster behind programs that write down when they are called."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.behaviour.clusters import start_embedded

WATCHED = """\
#!/bin/sh
echo "+ {name}" >> {log}
{trick}
{real} "$@"
status=$?
echo "- {name}" >> {log}
exit $status
"""


class Watched:
    """An embedded cluster behind programs that write down when they are called, and when they are done."""

    def __init__(self, folder: Path, trick: str = "") -> None:
        behind = start_embedded(folder / "behind")
        self.log = folder / "calls"
        self.log.touch()
        shims = folder / "watched"
        shims.mkdir()
        first = behind.env["PATH"].partition(":")[0]
        for program in Path(first).iterdir():
            own = trick.format(real=program, folder=folder) if program.name == "sbatch" else ""
            text = WATCHED.format(name=program.name, log=self.log, real=program, trick=own)
            (shims / program.name).write_text(text)
            (shims / program.name).chmod(0o755)
        self.environment = {"PATH": f"{shims}:{behind.env['PATH']}", "SLURM_CONF": behind.env["SLURM_CONF"]}

    def calls(self) -> Counter[str]:
        return Counter(line[2:] for line in self.log.read_text().splitlines() if line.startswith("+"))

    def most_at_once(self, name: str) -> int:
        now = most = 0
        for line in self.log.read_text().splitlines():
            if line[2:] == name:
                now += 1 if line.startswith("+") else -1
                most = max(most, now)
        return most

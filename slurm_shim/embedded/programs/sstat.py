"""sstat(1): what the running steps of a job use just now, read from /proc."""

# A long list of words reads better as a text.
# ruff: noqa: SIM905

from __future__ import annotations

import os
import sys

from .. import cluster, procs, times
from ..states import Refused
from ..units import is_number
from .options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS = Options(
    "sstat",
    """allsteps/a fields= format/o= help/h helpformat/e jobs/j= noconvert noheader/n parsable/p parsable2/P pidformat/i
    usage version/V""",
    without_effect="verbose/v",
    same={"fields": "format"},
)
RUNNING_STEPS = "SELECT * FROM steps WHERE raw_id = ? AND end_time IS NULL ORDER BY step != 'batch', CAST(step AS INT)"
FIELDS = """JobID MaxVMSize MaxVMSizeNode MaxVMSizeTask AveVMSize MaxRSS MaxRSSNode MaxRSSTask AveRSS MaxPages
MaxPagesNode MaxPagesTask AvePages MinCPU MinCPUNode MinCPUTask AveCPU NTasks AveCPUFreq ReqCPUFreqMin ReqCPUFreqMax
ReqCPUFreqGov
ConsumedEnergy MaxDiskRead MaxDiskReadNode MaxDiskReadTask AveDiskRead MaxDiskWrite MaxDiskWriteNode MaxDiskWriteTask
AveDiskWrite TRESUsageInAve TRESUsageInMax TRESUsageInMaxNode TRESUsageInMaxTask TRESUsageInMin TRESUsageInMinNode
TRESUsageInMinTask TRESUsageInTot TRESUsageOutAve TRESUsageOutMax TRESUsageOutMaxNode TRESUsageOutMaxTask
TRESUsageOutMin TRESUsageOutMinNode TRESUsageOutMinTask TRESUsageOutTot Nodelist Pids""".split()


def main(conf: dict[str, Any], argv: list[str]) -> int:
    """Run sstat; return its exit status.

    0 also for jobs that do not run, as in SLURM.
    """
    asked, _ = OPTIONS.gather(argv)
    if "helpformat" in asked:
        names = sorted(FIELDS)
        for index in range(0, len(names), 4):
            print("".join(f"{name:<20}" for name in names[index : index + 4]))
        return 0
    columns = _parse_columns(asked)
    rows = _build_rows(conf, asked)
    end = "|" if "parsable" in asked else ""
    if "parsable" in asked or "parsable2" in asked:
        lines = [] if "noheader" in asked else [columns]
        lines += [[row.get(name, "") for name in columns] for row in rows]
        sys.stdout.write("".join("|".join(line) + end + "\n" for line in lines))
        return 0
    if "noheader" not in asked:
        print("".join(f"{name[:10]:>10} " for name in columns))
        print("".join("-" * 10 + " " for _ in columns))
    for row in rows:
        print("".join(f"{row.get(name, '')[:10]:>10} " for name in columns))
    return 0


def _parse_columns(asked: dict[str, Any]) -> list[str]:
    known = {name.lower(): name for name in FIELDS}
    text = "JobID,Nodelist,Pids" if "pidformat" in asked else asked.get("format")
    if not text:
        return [name for name in FIELDS if name not in ("Nodelist", "Pids")]
    columns = []
    for word in str(text).split(","):
        key = word.partition("%")[0].lower()
        if key not in known:
            raise Refused(f'sstat: error: Invalid field requested: "{word}"')
        columns.append(known[key])
    return columns


def _build_rows(conf: dict[str, Any], asked: dict[str, Any]) -> list[dict[str, str]]:
    text = str(asked.get("jobs", ""))
    if not text:
        raise Refused("sstat: error: You didn't give me any jobs to stat.")
    rows: list[dict[str, str]] = []
    for word in text.split(","):
        number, _, one_step = word.partition(".")
        if not is_number(number):
            raise Refused(f"sstat: fatal: Bad job/step specified: {word}")
        with cluster.read_state(conf) as state:
            found = [row for row in cluster.find_jobs(state, int(number)) if row["state"] == "RUNNING"]
            steps = [step for row in found for step in state.db.execute(RUNNING_STEPS, (row["raw_id"],))]
        running = bool(steps)
        if one_step:
            steps = [step for step in steps if step["step"] == one_step]
        elif "allsteps" not in asked:
            steps = [step for step in steps if step["step"] != "batch"][:1]  # that of the lowest number
        if not steps and (one_step or not running):
            print(f"sstat: error: couldn't get steps for job {number}", file=sys.stderr)
        for step in steps:
            session = next(row["job_pid"] for row in found if row["raw_id"] == step["raw_id"])
            rows.append(_measure_step(conf, step, session, "noconvert" in asked))
    return rows


def _measure_step(conf: dict[str, Any], step: Any, session: int | None, in_bytes: bool) -> dict[str, str]:
    is_batch = step["step"] == "batch"
    pids = [
        pid for pid, in_step in procs.list_job_processes(step["raw_id"], conf["path"], session) if in_step != is_batch
    ]
    sizes = [_read_sizes(pid) for pid in pids] or [(0, 0, 0)]
    rss, virtual = (str(kb * 1024) if in_bytes else f"{kb}K" for kb in max(sizes)[:2])
    return {
        "JobID": f"{step['raw_id']}.{step['step']}", "MaxRSS": rss, "AveRSS": rss,
        "MaxVMSize": virtual, "AveVMSize": virtual, "MaxRSSNode": step["node_list"], "MaxRSSTask": "0",
        "NTasks": str(step["ntasks"]), "AveCPU": times.format_full(sum(size[2] for size in sizes)),
        "MinCPU": times.format_full(min(size[2] for size in sizes)), "MinCPUNode": step["node_list"], "MinCPUTask": "0",
        "Nodelist": step["node_list"], "Pids": ",".join(map(str, pids)),
    }  # fmt: skip


def _read_sizes(pid: int) -> tuple[int, int, int]:
    """Read resident and virtual kilobytes, and CPU seconds."""
    page_kb = os.sysconf("SC_PAGE_SIZE") // 1024
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            virtual, resident = map(int, file.read().split()[:2])
        with open(f"/proc/{pid}/stat", "rb") as raw:
            fields = raw.read().rpartition(b")")[2].split()
    except OSError:
        return 0, 0, 0  # it ended just now
    ticks = int(fields[11]) + int(fields[12])
    return resident * page_kb, virtual * page_kb, ticks // os.sysconf("SC_CLK_TCK")

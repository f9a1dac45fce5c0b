"""scontrol(1): shows and changes jobs, nodes and partitions."""

from __future__ import annotations

import os
import sys
import time

from .. import cluster
from ..conf import VERSION
from ..states import Refused
from ..units import is_number
from . import show, update
from .options import Options, check_cluster

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Hidden partitions, federations and FUTURE nodes do not exist here.
OPTIONS = Options(
    "scontrol",
    "cluster= clusters/M= help/h oneliner/o quiet/Q usage version/V",
    without_effect="all/a federation future/F hide local sibling verbose/v",
    same={"cluster": "clusters"},
)
DOWN_BANNER = """*****************************************
** RESTORE SLURMCTLD DAEMON TO SERVICE **
*****************************************
"""


def main(conf: dict[str, Any], argv: list[str]) -> int:
    """Run scontrol; return its exit status."""
    asked, words = OPTIONS.gather(argv)
    check_cluster("scontrol", conf, asked.get("clusters"))
    if not words:
        raise Refused("scontrol: error: no command given; the embedded cluster has no interactive mode")
    try:
        return _run_command(conf, words, "oneliner" in asked)
    except Refused as refusal:
        raise Refused([] if "quiet" in asked else refusal.lines, refusal.code) from refusal


def _run_command(conf: dict[str, Any], words: list[str], one_line: bool) -> int:
    verb, rest = words[0].lower(), words[1:]
    if verb == "ping":
        return _print_ping(conf)
    if verb == "version":
        print(f"slurm-wlm {VERSION}")
        return 0
    if verb == "show":
        return show.main(conf, rest, one_line)
    if verb == "write":
        return _write_script(conf, rest)
    if verb in ("update", "hold", "uhold", "release", "requeue", "requeuehold", "suspend", "resume", "top"):
        return update.main(conf, verb, rest)
    if verb in ("reconfigure", "reconfig"):
        return 0  # slurm.conf is read by every command anyway
    if verb == "wait_job":
        return _wait_for_job(conf, rest)
    raise Refused(f"invalid keyword: {words[0]}")


def _print_ping(conf: dict[str, Any]) -> int:
    host = os.uname().nodename.partition(".")[0]
    print(f"Slurmctld(primary) at {host} is {'DOWN' if conf['down'] else 'UP'}")
    if conf["down"]:
        sys.stdout.write(DOWN_BANNER)
    return int(conf["down"])


def _write_script(conf: dict[str, Any], words: list[str]) -> int:
    """Run `write batch_script ID [FILE|-]`."""
    if len(words) < 2 or words[0].lower() != "batch_script":
        raise Refused(f"invalid keyword: {' '.join(words[:1])}")
    number = words[1]
    with cluster.read_state(conf) as state:
        rows = cluster.find_jobs(state, int(number)) if is_number(number) else []
        found = rows and state.db.execute("SELECT text FROM scripts WHERE id = ?", (rows[0]["script_id"],)).fetchone()
    if not found:
        # SLURM says so on stderr and still exits with 0.
        print("job script retrieval failed: Invalid job id specified", file=sys.stderr)
        return 0
    target = words[2] if len(words) > 2 else f"slurm-{number}.sh"
    if target == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(found["text"])
        return 0
    with open(target, "xb") as file:
        file.write(found["text"])
    print(f"batch script for job {number} written to {target}")
    return 0


def _wait_for_job(conf: dict[str, Any], words: list[str]) -> int:
    """Run `wait_job ID`: wait until the job runs.

    SLURM waits until its nodes are ready.
    """
    if not words or not is_number(words[0]):
        raise Refused(f"scontrol: error: Invalid job_id {' '.join(words)}")
    while True:
        with cluster.read_state(conf) as state:
            rows = cluster.find_jobs(state, int(words[0]))
        if not rows:
            raise Refused("slurm_job_node_ready: Invalid job id specified")
        if any(row["state"] != "PENDING" for row in rows):
            return 0
        time.sleep(0.1)

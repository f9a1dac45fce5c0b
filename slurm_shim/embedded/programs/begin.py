"""The beginning and the end of each program, which main.py calls.

SLURM_CONF is in the environment.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROGRAMS = {
    "sbatch": "sbatch", "sbatch-all": "sbatch_all", "squeue": "squeue", "sacct": "sacct", "scancel": "scancel",
    "sinfo": "sinfo", "srun": "srun",
    "scontrol": "scontrol", "sacctmgr": "sacctmgr", "sstat": "sstat", "sdiag": "sdiag",
}  # fmt: skip
NO_SOURCE = (
    "resolve_ctls_from_dns_srv: res_nsearch error: Unknown host",
    "fetch_config: DNS SRV lookup failed",
    "_establish_config_source: failed to fetch config",
)
UNREACHABLE_CODES = {"scancel": 8, "sdiag": 255}


def end_with(argv: list[str]) -> None:
    """Run the program named first, and end the process with its status."""
    if argv[0] in PROGRAMS:
        gc.disable()  # a program that is over so soon leaves nothing that would be worth looking for
    status = main(argv)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)  # there is nothing to clean up, which takes Python 0.5 ms


def main(argv: list[str]) -> int:
    """Run the program named first; return its exit status."""
    program, words = argv[0], argv[1:]
    module = PROGRAMS.get(program, "")
    program = program.removesuffix("-all")  # what many calls are told is what each is told
    conf_module, states = _load("conf"), _load("states")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")  # type: ignore[union-attr]
    path = os.environ.get("SLURM_CONF", "")
    if not path:
        return _print_errors(program, [*NO_SOURCE], "Could not establish a configuration source")
    try:
        conf = conf_module.read_conf(os.path.abspath(path))
    except conf_module.ConfError as error:
        text = [f"{error}, retrying in 1sec up to 60sec", "ClusterName needs to be specified"]
        return _print_errors(program, text, "Unable to process configuration file")
    if program in ("supervise", "wake"):
        conf["down"] = False
        if program == "supervise":
            _load("supervise").main(conf, int(words[0]))
        else:
            _load("cluster").run_pass_at(conf, int(words[0]))
        return 0
    try:
        code = _load(f"programs.{module}").main(conf, words)
        sys.stdout.flush()
        return int(code)
    except states.Refused as refusal:
        sys.stdout.flush()
        for line in refusal.lines:
            print(line, file=sys.stderr)
        return int(refusal.code)
    except states.Unreachable:
        return _print_unreachable(program, words, states.UNREACHABLE)
    except _load("state").Broken as error:
        # A state that cannot be read or written is, for the caller, a controller that does not answer.
        print(f"{program}: error: {conf['folder']}: {error}", file=sys.stderr)
        return _print_unreachable(program, words, states.UNREACHABLE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has closed the pipe
        return 1


def _load(name: str) -> Any:
    """Load a module of the cluster, without importlib's 0.5 ms."""
    __import__(f"embedded.{name}")
    return sys.modules[f"embedded.{name}"]


def _print_errors(program: str, errors: list[str], fatal: str) -> int:
    for line in errors:
        print(f"{program}: error: {line}", file=sys.stderr)
    print(f"{program}: fatal: {fatal}", file=sys.stderr)
    return 1


def _print_unreachable(program: str, words: list[str], text: str) -> int:
    subject = next((word for word in words if not word.startswith("-")), "")
    show = words[1] if words[:1] == ["show"] and len(words) > 1 else "job"
    kind = "jobs" if show.startswith("job") else "node" if show.startswith("node") else "partitions"
    lines = {
        "sbatch": f"sbatch: error: Batch job submission failed: {text}",
        "squeue": f"slurm_load_jobs error: {text}",
        "sinfo": f"slurm_load_partitions: {text}",
        "scontrol": f"slurm_load_{kind} error: {text}",
        "scancel": f"scancel: error: Kill job error on job id {subject}: {text}",
        "sdiag": f"slurm_get_statistics: {text}",
        "srun": f"srun: error: Unable to allocate resources: {text}",
        "sstat": f"sstat: error: slurm_job_step_get_pids: {text}",
    }
    print(lines.get(program, f"{program}: error: {text}"), file=sys.stderr)
    return UNREACHABLE_CODES.get(program, 1)

"""sbatch's options, read into the columns of a job (sbatch(1))."""

# A long list of words reads better as a text.
# ruff: noqa: SIM905

from __future__ import annotations

import os

from . import times, units
from .programs.options import Options
from .states import Refused, parse_signal
from .units import is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

TABLE = """
array/a= account/A= bb= bbf= begin/b= comment= container= cpu-freq= cpus-per-task/c= cpus-per-gpu= dependency/d=
deadline= delay-boot= chdir/D= error/e= export= export-file= get-user-env? gid= gres= gres-flags= hold/H ignore-pbs
input/i= job-name/J= kill-on-invalid-dep= no-kill/k? licenses/L= clusters/M= cluster= distribution/m= mail-type=
mail-user= mcs-label= ntasks/n= nice? no-requeue ntasks-per-node= nodes/N= output/o= open-mode= overcommit/O
partition/p= parsable power= priority= profile= propagate? qos/q= quiet/Q reboot requeue oversubscribe/s core-spec/S=
signal= spread-job switches= thread-spec= time/t= time-min= uid= use-min-nodes verbose/v wait/W wckey= wrap=
cluster-constraint= contiguous constraint/C= nodefile/F= mem= mincpus= reservation= tmp= nodelist/w= exclude/x=
exclusive? mem-per-cpu= mem-bind= sockets-per-node= cores-per-socket= threads-per-core= extra-node-info/B=
ntasks-per-core= ntasks-per-socket= ntasks-per-gpu= hint= gpus/G= gpu-bind= gpu-freq= gpus-per-node= gpus-per-socket=
gpus-per-task= mem-per-gpu= prefer= wait-all-nodes= batch= acctg-freq= burst-buffer= comment= test-only help/h usage
version/V network= sicp tres-per-task=
"""
# They ask for what this cluster has none of; leaving them out silently would be a lie.
UNSUPPORTED = (
    "bb bbf container deadline delay-boot gid uid core-spec thread-spec switches time-min cpus-per-gpu mem-per-gpu "
    "gpus-per-socket reboot nodefile network cluster-constraint burst-buffer prefer batch tres-per-task power "
    "tmp mincpus ntasks-per-gpu get-user-env"
).split()
# They change nothing on one machine: hints, mail (there is no mail program), binding, accounting detail.
WITHOUT_EFFECT = (
    "cpu-freq gres-flags ignore-pbs no-kill distribution mail-user mcs-label overcommit profile propagate "
    "oversubscribe spread-job use-min-nodes verbose wckey contiguous mem-bind sockets-per-node "
    "cores-per-socket threads-per-core extra-node-info ntasks-per-core ntasks-per-socket hint gpu-bind "
    "gpu-freq acctg-freq wait-all-nodes sicp"
).split()
# sbatch itself reads them from `Request.flags`.
FLAGS = "array export-file help parsable quiet test-only usage version wait wrap".split()
ENVIRONMENT = {
    "SBATCH_ACCOUNT": "account", "SBATCH_ARRAY_INX": "array", "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_EXCLUSIVE": "exclusive", "SBATCH_EXPORT": "export", "SBATCH_GPUS": "gpus",
    "SBATCH_GPUS_PER_NODE": "gpus-per-node", "SBATCH_GPUS_PER_TASK": "gpus-per-task", "SBATCH_GRES": "gres",
    "SBATCH_JOB_NAME": "job-name", "SBATCH_MEM_PER_NODE": "mem", "SBATCH_MEM_PER_CPU": "mem-per-cpu",
    "SBATCH_NO_REQUEUE": "no-requeue", "SBATCH_OPEN_MODE": "open-mode", "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos", "SBATCH_REQUEUE": "requeue", "SBATCH_RESERVATION": "reservation",
    "SBATCH_SIGNAL": "signal", "SBATCH_TIMELIMIT": "time", "SBATCH_WAIT": "wait",
}  # fmt: skip
MAIL_TYPES = (
    "NONE BEGIN END FAIL REQUEUE ALL STAGE_OUT INVALID_DEPEND TIME_LIMIT TIME_LIMIT_50 TIME_LIMIT_80 TIME_LIMIT_90 "
    "ARRAY_TASKS"
).split()


class Request:
    """The options of one submission, later ones winning.

    `job` holds the columns of the new job.
    """

    def __init__(self, program: str, now: int) -> None:
        self.program, self.now = program, now
        self.options = Options(program, TABLE, 255)
        self.flags: dict[str, Any] = {}
        self.job: dict[str, Any] = {
            "name": None, "account": None, "partition": "", "qos": "normal", "held": "", "nice": 0, "priority": None,
            "begin_time": None, "time_limit_min": -1, "warn": "", "min_nodes": 1, "max_nodes": 0, "nodes_set": 0,
            "ntasks": 1, "ntasks_set": 0, "cpus_per_task": 1, "cpus_set": 0, "ntasks_per_node": 0, "mem_node_mb": 0,
            "mem_cpu_mb": 0, "gpus_total": 0, "gpus_node": 0, "gpus_task": 0, "exclusive": 0, "features": "",
            "req_nodes": "", "exc_nodes": "", "tres_per_node": "", "dependency": "", "dep_kill": 0, "std_in": "",
            "std_out": "", "std_err": "", "open_mode": "", "export": "", "comment": None, "requeue": -1,
        }  # fmt: skip

    def read_words(self, words: list[str]) -> list[str]:
        """Read the options in `words`; return the operands left."""
        found, operands = self.options.parse(words, permute=False)
        for name, value in found:
            self.set_option(name, value)
        return operands

    def read_environment(self, environ: Mapping[str, str]) -> None:
        """Read the options that SBATCH_* variables set."""
        for variable, name in ENVIRONMENT.items():
            if variable in environ:
                self.set_option(name, environ[variable])

    def set_option(self, name: str, value: str | None) -> None:
        """Set one option. Refused with SLURM's text and exit status."""
        if name in UNSUPPORTED:
            raise Refused(
                [
                    f"{self.program}: error: --{name} is not available on the embedded cluster",
                    f"{self.program}: error: Batch job submission failed: Requested operation is presently disabled",
                ]
            )
        if name in WITHOUT_EFFECT:
            return
        method: Callable[[str], None] | None = getattr(self, "_set_" + name.replace("-", "_"), None)
        if method:
            method(value or "")
        elif name in PLAIN:
            self.job[PLAIN[name]] = value or ""
        else:  # one of FLAGS
            self.flags[name] = value if value is not None else True

    def _make_refusal(self, name: str, code: int = 255) -> Refused:
        return Refused(f"{self.program}: error: Invalid --{name} specification", code)

    def _parse_number(self, name: str, text: str, least: int = 1) -> int:
        digits = text.strip()
        if not is_number(digits) or int(digits) < least or len(digits) > 9:
            raise Refused(f'{self.program}: error: Invalid numeric value "{text}" for --{name}.')
        return int(digits)

    def _set_ntasks(self, text: str) -> None:
        self.job |= {"ntasks": self._parse_number("ntasks", text), "ntasks_set": 1}

    def _set_cpus_per_task(self, text: str) -> None:
        self.job |= {"cpus_per_task": self._parse_number("cpus-per-task", text), "cpus_set": 1}

    def _set_ntasks_per_node(self, text: str) -> None:
        self.job["ntasks_per_node"] = self._parse_number("ntasks-per-node", text)

    def _set_nodes(self, text: str) -> None:
        low, dash, high = text.partition("-")
        if text.startswith("-") and is_number(text[1:]):
            return  # accepted and without meaning, as in SLURM
        if not is_number(low) or (dash and not is_number(high)) or len(text) > 15:
            raise Refused(f'{self.program}: error: "{text}" is not a valid node count', 255)
        most = int(high) if dash else int(low)
        if most < int(low):
            text = f"Maximum node count {most} is less than minimum node count {low}"
            raise Refused(f"{self.program}: error: {text}", 255)
        self.job |= {"min_nodes": int(low), "max_nodes": most, "nodes_set": 1}

    def _set_mem(self, text: str) -> None:
        self.job |= {"mem_node_mb": self._parse_memory("mem", text), "mem_cpu_mb": 0}

    def _set_mem_per_cpu(self, text: str) -> None:
        self.job |= {"mem_cpu_mb": self._parse_memory("mem-per-cpu", text), "mem_node_mb": 0}

    def _parse_memory(self, name: str, text: str) -> int:
        try:
            return units.parse_memory_mb(text)
        except ValueError as error:
            raise self._make_refusal(name) from error

    def _set_time(self, text: str) -> None:
        try:
            self.job["time_limit_min"] = times.parse_limit_min(text)
        except ValueError as error:
            raise self._make_refusal("time") from error

    def _set_begin(self, text: str) -> None:
        try:
            self.job["begin_time"] = times.parse_time(text, self.now)
        except times.BadTime as error:
            raise Refused([str(error), f"{self.program}: error: Invalid --begin specification"], 255) from error

    def _set_signal(self, text: str) -> None:
        flags, colon, rest = text.partition(":")
        if not colon or flags.strip("RrBb"):
            flags, rest = "", text
        name, _, before = rest.partition("@")
        number = parse_signal(name)
        if not number or (before and not is_number(before)):
            raise self._make_refusal("signal")
        self.job["warn"] = f"{flags.upper()}:{number}:{before or 60}"

    def _set_gres(self, text: str) -> None:
        total = 0
        for item in text.split(","):
            if item in ("none", ""):
                continue
            kind, _, rest = item.partition(":")
            words = rest.split(":") if rest else ["1"]
            if kind != "gpu" or len(words) > 2 or (len(words) == 2 and not is_number(words[1])):
                raise Refused(f"{self.program}: error: Invalid generic resource (gres) specification")
            total += self._parse_gpu_count(words)
        self.job |= {"gpus_node": total, "tres_per_node": "gres:" + text if total else ""}

    def _parse_gpu_count(self, words: list[str]) -> int:
        """Parse the count of `N`, `TYPE` or `TYPE:N`.

        A type is remembered, to be compared with the nodes'.
        """
        if not is_number(words[0]):
            self.flags["gpu_type"] = words[0]
        return int(words[-1]) if is_number(words[-1]) else 1

    def _set_gpus(self, text: str) -> None:
        self.job["gpus_total"] = self._parse_gpu_count(text.split(":"))

    def _set_gpus_per_node(self, text: str) -> None:
        self.job |= {"gpus_node": self._parse_gpu_count(text.split(":")), "tres_per_node": "gres:gpu:" + text}

    def _set_gpus_per_task(self, text: str) -> None:
        self.job["gpus_task"] = self._parse_gpu_count(text.split(":"))

    def _set_nice(self, text: str) -> None:
        self.job["nice"] = int(text) if is_number(text.removeprefix("-")) else (0 if text else 100)
        if abs(self.job["nice"]) > 2147483645:
            raise Refused(f"{self.program}: error: Invalid --nice value, out of range (+/- 2147483645)", 255)
        if self.job["nice"] < 0 and os.geteuid() != 0:
            raise Refused(f"{self.program}: error: Nice value must be non-negative, value ignored", 255)

    def _set_priority(self, text: str) -> None:
        self.job["priority"] = int(text) if is_number(text) else None

    def _set_hold(self, _: str) -> None:
        self.job["held"] = "user"

    def _set_requeue(self, _: str) -> None:
        self.job["requeue"] = 1

    def _set_no_requeue(self, _: str) -> None:
        self.job["requeue"] = 0

    def _set_exclusive(self, text: str) -> None:
        if text not in ("", "user", "mcs"):
            raise self._make_refusal("exclusive")
        self.job["exclusive"] = 1

    def _set_open_mode(self, text: str) -> None:
        if text[:1].lower() not in ("a", "t"):
            raise self._make_refusal("open-mode")
        self.job["open_mode"] = text[0].lower()

    def _set_kill_on_invalid_dep(self, text: str) -> None:
        if text.lower() not in ("yes", "no"):
            raise self._make_refusal("kill-on-invalid-dep")
        self.job["dep_kill"] = int(text.lower() == "yes")

    def _set_mail_type(self, text: str) -> None:
        if any(word.upper() not in MAIL_TYPES for word in text.split(",")):
            raise self._make_refusal("mail-type")

    def _set_reservation(self, _: str) -> None:
        self.flags["fails"] = "Requested reservation is invalid"

    def _set_licenses(self, _: str) -> None:
        self.flags["fails"] = "Invalid license specification"

    def _set_clusters(self, text: str) -> None:
        self.flags["clusters"] = text

    _set_cluster = _set_clusters


PLAIN = {
    "job-name": "name", "account": "account", "partition": "partition", "qos": "qos", "chdir": "work_dir",
    "output": "std_out", "error": "std_err", "input": "std_in", "comment": "comment", "export": "export",
    "constraint": "features", "nodelist": "req_nodes", "exclude": "exc_nodes", "dependency": "dependency",
}  # fmt: skip

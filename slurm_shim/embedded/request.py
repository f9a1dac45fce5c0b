"""sbatch's options, read into the columns of a job (sbatch(1))."""

# A long list of words reads better as a text.
# ruff: noqa: SIM905

from __future__ import annotations

import grp
import os
import pwd

from . import times, units
from .programs import hints
from .programs.hints import parse_number
from .programs.options import Options
from .states import Refused, parse_signal
from .units import is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

# All that sbatch knows, in the order in which it names options that share a beginning.
TABLE = """
account/A= acctg-freq= array/a= batch= begin/b= bb= bbf= cluster-constraint= chdir/D= cluster= clusters/M= comment=
container= context= contiguous constraint/C= core-spec/S= cores-per-socket= cpu-freq= cpus-per-gpu= cpus-per-task/c=
deadline= delay-boot= dependency/d= distribution/m= error/e= exclude/x= exclusive? export= export-file=
extra-node-info/B= get-user-env? gid= gpu-bind= gpu-freq= gpus/G= gpus-per-node= gpus-per-socket= gpus-per-task= gres=
gres-flags= help/h hint= hold/H ignore-pbs input/i= job-name/J= kill-on-invalid-dep= licenses/L= mail-type= mail-user=
mcs-label= mem= mem-bind= mem-per-cpu= mem-per-gpu= mincpus= network= nice? no-kill/k? no-requeue nodefile/F=
nodelist/w= nodes/N= ntasks/n= ntasks-per-core= ntasks-per-gpu= ntasks-per-node= ntasks-per-socket= ntasks-per-tres=
open-mode= output/o= overcommit/O oversubscribe/s parsable partition/p= power= prefer= priority= profile= propagate?
qos/q= quiet/Q reboot requeue reservation= signal= sockets-per-node= spread-job switches= tasks-per-node= test-only
thread-spec= threads-per-core= time/t= time-min= tmp= uid= usage use-min-nodes verbose/v version/V wait/W
wait-all-nodes= wckey= wrap=
"""
SAME = {"cluster": "clusters", "ntasks-per-tres": "ntasks-per-gpu", "tasks-per-node": "ntasks-per-node"}
# sbatch itself reads them from `Request.flags`.
FLAGS = "array export-file help parsable quiet test-only usage version wait wrap".split()
ENVIRONMENT = {
    "SBATCH_ARRAY_INX": "array", "SBATCH_BURST_BUFFER": "bb", "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_REQ_SWITCH": "switches", "SBATCH_TIMELIMIT": "time", "SLURM_HINT": "hint",
} | {
    f"SBATCH_{name.upper().replace('-', '_')}": name
    for name in (
        "account acctg-freq batch clusters constraint container core-spec cpus-per-gpu delay-boot distribution "
        "error exclusive export get-user-env gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres "
        "gres-flags hint ignore-pbs input job-name mem-bind mem-per-cpu mem-per-gpu network no-kill no-requeue "
        "open-mode output overcommit partition power profile qos requeue reservation signal spread-job thread-spec "
        "threads-per-core use-min-nodes wait wait-all-nodes wckey"
    ).split()
}  # fmt: skip
MEMORY = {"mem": "mem_node_mb", "mem-per-cpu": "mem_cpu_mb", "mem-per-gpu": "mem_gpu_mb"}
NUMBERS = {
    "cpus-per-gpu": "cpus_gpu", "mincpus": "min_cpus", "ntasks-per-gpu": "tasks_gpu",
    "ntasks-per-node": "ntasks_per_node",
}  # fmt: skip
# What the next part of a heterogeneous job does not take over from the one before.
OWN = {
    "min_nodes": 1, "max_nodes": 0, "nodes_set": 0, "ntasks": 1, "ntasks_set": 0,
    "cpus_per_task": 1, "cpus_set": 0, "ntasks_per_node": 0, "mem_cpu_mb": 0, "mem_gpu_mb": 0, "cpus_gpu": 0,
    "tasks_gpu": 0, "min_cpus": 0, "tmp_mb": 0, "gpus_total": 0, "gpus_node": 0, "gpus_task": 0, "exclusive": 0,
    "features": "", "req_nodes": "", "tres_per_node": "", "tres_per_job": "",
    "partition": None,
}  # fmt: skip
KEPT_SHOWN = ("ClusterFeatures", "Container", "DelayBoot", "MailUser", "Reboot", "WCKey")
MOST_PRIORITY = 4294967294


class Request:
    """The options of one submission, later ones winning.

    `job` holds the columns of the new job.
    """

    def __init__(self, program: str, now: int) -> None:
        self.program, self.now = program, now
        self.options = Options(program, TABLE, 255, same=SAME)
        self.flags: dict[str, Any] = {}
        self.shown: dict[str, str] = {}  # what `scontrol show job` shows of options without effect
        self.memory: dict[str, dict[str, int]] = {"given": {}, "environment": {}}
        self.job: dict[str, Any] = {
            "name": None, "account": None, "qos": "normal", "held": "", "nice": 0, "priority": None, "begin_time": None,
            "deadline": None, "time_limit_min": -1, "time_min": None, "warn": "", "mem_node_mb": 0, "exc_nodes": "",
            "dependency": "", "dep_kill": 0, "std_in": "", "std_out": "", "std_err": "", "open_mode": "", "export": "",
            "comment": None, "requeue": -1, **OWN,
        }  # fmt: skip

    def begin_next_part(self) -> None:
        """Forget what the next part of a heterogeneous job does not inherit."""
        self.job |= OWN
        self.shown = {name: value for name, value in self.shown.items() if name in KEPT_SHOWN}
        self.memory["given"] = {name: mb for name, mb in self.memory["given"].items() if name == "mem"}
        self.flags.pop("gpu_type", None)

    def read_words(self, words: list[str]) -> list[str]:
        """Read the options in `words`; return the operands left."""
        found, operands = self.options.parse(words, permute=False)
        for name, value in found:
            self.set_option(SAME.get(name, name), value)
        return operands

    def read_environment(self, environ: Mapping[str, str]) -> None:
        """Read the options that SBATCH_* variables set."""
        for variable, name in ENVIRONMENT.items():
            if variable in environ:
                self.set_option(name, environ[variable], "environment")

    def set_option(self, name: str, value: str | None, source: str = "given") -> None:
        """Set one option. Refused with SLURM's text and exit status."""
        method: Callable[[str], None] | None = getattr(self, "_set_" + name.replace("-", "_"), None)
        if method:
            method(value or "")
        elif name in MEMORY:
            self.memory[source][name] = self._parse_memory(name, value or "")
        elif name in NUMBERS:
            self.job[NUMBERS[name]] = parse_number(f"--{name}", value or "")
        elif name in PLAIN:
            self.job[PLAIN[name]] = value or ""
        elif name in FLAGS:
            self.flags[name] = value if value is not None else True
        else:
            self.shown |= hints.check_option(name, value or "")

    def settle_memory(self) -> None:
        """Choose the kind of memory asked for. Refused when there are two."""
        for source, complaint in (
            ("given", "--mem, --mem-per-cpu, and --mem-per-gpu"),
            ("environment", "SLURM_MEM_PER_CPU, SLURM_MEM_PER_GPU, and SLURM_MEM_PER_NODE"),
        ):
            asked = self.memory[source]
            if len(asked) > 1:
                raise Refused(f"{self.program}: fatal: {complaint} are mutually exclusive.")
            if asked:
                self.job |= dict.fromkeys(MEMORY.values(), 0) | {MEMORY[name]: mb for name, mb in asked.items()}
                return

    def _make_refusal(self, name: str, code: int = 255) -> Refused:
        return hints.make_refusal(f"Invalid --{name} specification", code=code)

    def _set_ntasks(self, text: str) -> None:
        self.job |= {"ntasks": parse_number("--ntasks", text), "ntasks_set": 1}

    def _set_cpus_per_task(self, text: str) -> None:
        self.job |= {"cpus_per_task": parse_number("--cpus-per-task", text), "cpus_set": 1}

    def _set_nodes(self, text: str) -> None:
        low, dash, high = text.partition("-")
        if text.startswith("-") and is_number(text[1:]):
            return  # accepted and without meaning, as in SLURM
        least = self._parse_node_count(low)
        most = self._parse_node_count(high) if dash else least
        if most < least:
            text = f"Maximum node count {most} is less than minimum node count {least}"
            raise Refused(f"{self.program}: error: {text}", 255)
        self.job |= {"min_nodes": least, "max_nodes": most, "nodes_set": 1}

    def _parse_node_count(self, text: str) -> int:
        digits = text[:-1] if text[-1:] in ("k", "K") else text
        if not is_number(digits) or len(text) > 9:
            raise Refused(f'{self.program}: error: "{text}" is not a valid node count', 255)
        return int(digits) * (1 if digits == text else 1024)

    def _set_nodefile(self, path: str) -> None:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                self.job["req_nodes"] = ",".join(file.read().split())
        except OSError as error:
            complaint = f"slurm_allocate_resources error opening file {path}, {error.strerror}"
            raise hints.make_refusal(complaint, "Invalid --nodefile node file") from error

    def _parse_memory(self, name: str, text: str) -> int:
        try:
            return units.parse_memory_mb(text)
        except ValueError as error:
            raise self._make_refusal(name) from error

    def _set_tmp(self, text: str) -> None:
        self.job["tmp_mb"] = self._parse_memory("tmp", text)

    def _set_time(self, text: str) -> None:
        self.job["time_limit_min"] = self._parse_limit_min("time", text)

    def _set_time_min(self, text: str) -> None:
        self.job["time_min"] = self._parse_limit_min("time-min", text) or -1

    def _parse_limit_min(self, name: str, text: str) -> int | None:
        try:
            return times.parse_limit_min(text)
        except ValueError as error:
            raise self._make_refusal(name) from error

    def _set_begin(self, text: str) -> None:
        self.job["begin_time"] = self._parse_time("begin", text)

    def _set_deadline(self, text: str) -> None:
        self.job["deadline"] = self._parse_time("deadline", text)

    def _parse_time(self, name: str, text: str) -> int:
        try:
            return times.parse_time(text, self.now)
        except times.BadTime as error:
            lines = [str(error)] if text else []
            raise Refused([*lines, f"{self.program}: error: Invalid --{name} specification"], 255) from error

    def _set_signal(self, text: str) -> None:
        flags, colon, rest = text.partition(":")
        if not colon or flags.strip("RrBb"):
            flags, rest = "", text
        name, _, before = rest.partition("@")
        number = parse_signal(name)
        if not number or (before and (not is_number(before) or int(before) > 65535)):
            raise self._make_refusal("signal")
        self.job["warn"] = f"{flags.upper()}:{number}:{before or 60}"

    def _set_gres(self, text: str) -> None:
        if text == "help":
            print("Valid gres options are:\ngpu[[:type]:count]")
            raise Refused([], 0)
        if not text:
            self.flags["fails"] = "Invalid Trackable RESource (TRES) specification"
        items = [item for item in text.split(",") if item not in ("none", "")]
        for item in items:
            kind, _, count = item.partition(":")
            if kind != "gpu" or count.count(":") > 1 or (":" in count and not is_number(count.partition(":")[2])):
                raise Refused(f"{self.program}: error: Invalid generic resource (gres) specification")
        # Of a kind that is named twice the last one counts.
        counts = {item.partition(":")[2].rpartition(":")[0]: item for item in items}
        total = sum(self._parse_gpu_count(item.partition(":")[2] or "1") for item in counts.values())
        self.job |= {"gpus_node": total, "tres_per_node": ",".join(f"gres:{item}" for item in items) if total else ""}

    def _parse_gpu_count(self, text: str) -> int:
        """Parse the counts of `N`, `TYPE`, `TYPE:N`, `` and lists of them.

        A type is remembered, to be compared with the nodes'.
        """
        total = 0
        for item in text.split(","):
            kind, _, count = item.rpartition(":")
            if is_number(count):
                total += int(count)
            elif count[:1].isdigit():
                self.flags["fails"] = "Invalid Trackable RESource (TRES) specification"
            elif item:
                kind, total = count, total + 1
            if kind:
                self.flags["gpu_type"] = kind
        return total

    def _set_gpus(self, text: str) -> None:
        self.job |= {"gpus_total": self._parse_gpu_count(text), "tres_per_job": f"gres:gpu:{text}" if text else ""}

    def _set_gpus_per_node(self, text: str) -> None:
        self.job |= {
            "gpus_node": self._parse_gpu_count(text),
            "tres_per_node": ",".join(f"gres:gpu:{item}" for item in text.split(",") if item),
        }

    def _set_gpus_per_task(self, text: str) -> None:
        self.job["gpus_task"] = self._parse_gpu_count(text)

    def _set_gpus_per_socket(self, text: str) -> None:
        self.flags["gpus-per-socket"] = self._parse_gpu_count(text)
        self.shown["TresPerSocket"] = f"gres:gpu:{text}"

    def _set_nice(self, text: str) -> None:
        self.job["nice"] = int(text) if is_number(text.removeprefix("-")) else (0 if text else 100)
        if abs(self.job["nice"]) > 2147483645:
            raise Refused(f"{self.program}: error: Invalid --nice value, out of range (+/- 2147483645)", 255)
        if self.job["nice"] < 0 and os.geteuid() != 0:
            raise Refused(f"{self.program}: error: Nice value must be non-negative, value ignored", 255)

    def _set_priority(self, text: str) -> None:
        if text.startswith("-") and is_number(text[1:]):
            raise hints.make_refusal("Priority must be >= 0")
        if is_number(text) and int(text) >= MOST_PRIORITY:
            raise hints.make_refusal(f"Priority must be < {MOST_PRIORITY}")
        self.job["priority"] = int(text) if is_number(text) else None

    def _set_hold(self, _: str) -> None:
        self.job["held"] = "user"

    def _set_requeue(self, _: str) -> None:
        self.job["requeue"] = 1

    def _set_no_requeue(self, _: str) -> None:
        self.job["requeue"] = 0

    def _set_exclusive(self, text: str) -> None:
        if text.lower() not in ("", "user", "mcs"):
            raise self._make_refusal("exclusive")
        self.job["exclusive"] = 1
        self.shown["OverSubscribe"] = text.upper() or "NO"

    def _set_open_mode(self, text: str) -> None:
        if text[:1].lower() not in ("a", "t"):
            raise self._make_refusal("open-mode")
        self.job["open_mode"] = text[0].lower()

    def _set_kill_on_invalid_dep(self, text: str) -> None:
        if text.lower() not in ("yes", "no"):
            raise self._make_refusal("kill-on-invalid-dep")
        self.job["dep_kill"] = int(text.lower() == "yes")

    def _set_mail_type(self, text: str) -> None:
        self.shown["MailType"] = hints.check_mail_type(text, self.shown.get("MailType", ""))

    def _set_uid(self, text: str) -> None:
        self._check_own("uid", text, pwd.getpwnam, pwd.getpwuid, os.geteuid())

    def _set_gid(self, text: str) -> None:
        self._check_own("gid", text, grp.getgrnam, grp.getgrgid, os.getegid())

    def _check_own(self, name: str, text: str, by_name: Any, by_number: Any, own: int) -> None:
        try:
            number = (by_number(int(text)) if is_number(text) else by_name(text))[2]
        except (KeyError, OverflowError) as error:
            raise self._make_refusal(name) from error
        if number != own:
            self.flags["fails"] = "Access/permission denied"  # jobs run as whoever submits them

    def _set_batch(self, text: str) -> None:
        self.flags["batch"] = text

    def _set_prefer(self, text: str) -> None:
        self.flags["prefer"] = text

    def _set_reservation(self, text: str) -> None:
        self._refuse_later(text, "Requested reservation is invalid")

    def _set_licenses(self, text: str) -> None:
        self._refuse_later(text, "Invalid license specification")

    def _refuse_later(self, text: str, complaint: str) -> None:
        if text:
            self.flags["fails"] = complaint

    def _set_clusters(self, text: str) -> None:
        self.flags["clusters"] = text


PLAIN = {
    "job-name": "name", "account": "account", "partition": "partition", "qos": "qos", "chdir": "work_dir",
    "output": "std_out", "error": "std_err", "input": "std_in", "comment": "comment", "export": "export",
    "constraint": "features", "nodelist": "req_nodes", "exclude": "exc_nodes", "dependency": "dependency",
}  # fmt: skip

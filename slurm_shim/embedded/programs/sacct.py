"""sacct(1): accounting of jobs and steps.

It reads the same state file that the queue lies in.
"""

# A long list of words reads better as a text.
# ruff: noqa: SIM905

from __future__ import annotations

import grp
import os
import pwd
import sys
import time

from .. import cluster, layout, times, units
from ..arrays import unfold_tasks
from ..hosts import expand_hosts
from ..states import BY_NAME, Refused, format_exit_status
from ..units import is_number
from . import views
from .options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from ..state import State

    # Leading id, submission and raw id of a job, by which it is sorted; its table, and its row there.
    Place = tuple[int, int, int, str, int]

# No federations, no jobs of several parts; users are those of this machine; there is no connection for -v to report.
OPTIONS = Options(
    "sacct",
    """allusers/a accounts/A= allocations/X batch-script/B brief/b cluster= clusters/M= delimiter= duplicates/D
    endtime/E= format/o= fields= group/g= gid= help/h helpformat/e jobs/j= long/l name= nodelist/N= noheader/n
    noconvert parsable/p parsable2/P partition/r= qos/q= starttime/S= state/s= uid= usage user/u= version/V""",
    without_effect="federation local use-local-uid verbose/v whole-hetjob?",
    same={"cluster": "clusters", "fields": "format", "gid": "group", "uid": "user"},
)
LONG = """jobid,jobidraw,jobname,partition,maxvmsize,maxvmsizenode,maxvmsizetask,avevmsize,maxrss,maxrssnode,maxrsstask,
averss,maxpages,maxpagesnode,maxpagestask,avepages,mincpu,mincpunode,mincputask,avecpu,ntasks,alloccpus,elapsed,state,
exitcode,avecpufreq,reqcpufreqmin,reqcpufreqmax,reqcpufreqgov,reqmem,consumedenergy,maxdiskread,maxdiskreadnode,
maxdiskreadtask,avediskread,maxdiskwrite,maxdiskwritenode,maxdiskwritetask,avediskwrite,reqtres,alloctres,
tresusageinave,tresusageinmax,tresusageinmaxnode,tresusageinmaxtask,tresusageinmin,tresusageinminnode,
tresusageinmintask,tresusageintot,tresusageoutmax,tresusageoutmaxnode,tresusageoutmaxtask,tresusageoutave,
tresusageouttot""".replace("\n", "")
BRIEF = "jobid,state,exitcode"
DEFAULT = "jobid,jobname,partition,account,alloccpus,state,exitcode"
LOT_JOBS = 500
FILTERS = {"partition": "partition", "accounts": "account", "name": "name", "qos": "qos"}


class Entry:
    """One line: a job's allocation (`step` None), or one of its steps."""

    __slots__ = ("job", "noconvert", "row", "step", "steps")

    def __init__(
        self, job: views.Job, step: Mapping[str, Any] | None, noconvert: bool, steps: Sequence[Any] = ()
    ) -> None:
        self.job, self.row, self.step, self.noconvert, self.steps = job, job.row, step, noconvert, steps

    def format_id(self, job_id: str) -> str:
        """Format the id of a line from the one of its job."""
        return job_id if self.step is None else f"{job_id}.{self.step['step']}"

    @property
    def state(self) -> str:
        """State, with who cancelled the job."""
        if self.step is not None:
            return str(self.step["state"])
        state = "COMPLETING" if self.row["completing"] and self.row["state"] == "RUNNING" else str(self.row["state"])
        if state == "CANCELLED" and self.row["kill_uid"] is not None:
            return f"CANCELLED by {self.row['kill_uid']}"
        return state

    @property
    def exit_code(self) -> str:
        """Exit status as `code:signal`."""
        if self.step is not None:
            return format_exit_status(self.step["exit_raw"])
        return (
            "0:0"
            if self.row["state"] not in ("FAILED", "COMPLETED", "NODE_FAIL")
            else format_exit_status(self.row["exit_raw"])
        )

    @property
    def start(self) -> str:
        """Start time as text."""
        if self.step is not None:
            return times.format_time(self.step["start_time"], "Unknown")
        row = self.row
        ended = row["end_time"] is not None
        waited = row["state"] == "PENDING" or (not self.job.shares and row["held"])
        return times.format_time(None if waited else row["start_time"], "None" if ended else "Unknown")

    @property
    def end(self) -> str:
        """End time as text."""
        return times.format_time((self.step or self.row)["end_time"], "Unknown")

    @property
    def elapsed_s(self) -> int:
        """Seconds that the job or step has run."""
        if self.step is None:
            return self.job.elapsed_s
        return int((self.step["end_time"] or self.job.now) - self.step["start_time"])

    @property
    def cpus(self) -> int:
        """CPUs of the job or step."""
        return int(self.step["ncpus"]) if self.step is not None else self.job.cpu_count

    @property
    def allocated_tres(self) -> str:
        """Allocated trackable resources as text."""
        if not self.job.shares:
            return ""
        if self.step is None:
            return self.job.format_tres(by_name=True, convert=not self.noconvert)
        memory_mb = sum(share[2] for share in self.job.shares[: self.step["nnodes"]])
        text = f"cpu={self.step['ncpus']}," + (
            f"mem={units.format_memory(memory_mb, not self.noconvert)}," if memory_mb else "mem=0,"
        )
        gpus = self.job.gpu_count
        return text.replace("mem=", f"gres/gpu={gpus},mem=" if gpus else "mem=", 1) + f"node={self.step['nnodes']}"

    @property
    def reserved_s(self) -> int:
        """Seconds that the job waited after it was eligible."""
        return max(
            0, int((self.row["start_time"] or self.job.now) - (self.row["eligible_time"] or self.row["submit_time"]))
        )

    def sum_cpu_us(self, kind: str = "") -> int:
        """Sum user and system time in microseconds, a job's over its steps.

        `kind` picks one of them. With -X no steps are read, and a job's is 0, as in SLURM.
        """
        names = [kind] if kind else ["user_us", "sys_us"]
        return sum(int(step[name] or 0) for step in ([self.step] if self.step else self.steps) for name in names)

    @property
    def reason(self) -> str:
        """Reason why the job waited.

        How a job ended is no reason in accounting.
        """
        ended = ("NonZeroExitCode", "JobLaunchFailure", "TimeLimit", "NodeDown")
        return "None" if self.row["reason"] in ended else self.row["reason"] or "None"

    @property
    def submit_time(self) -> int:
        """Submission of the job, or start of the step; epoch seconds."""
        return int(self.step["start_time"] if self.step is not None else self.row["submit_time"])

    @property
    def submit_line(self) -> str:
        """Command line of the submission."""
        return _clean_text((self.step if self.step is not None else self.row)["submit_line"] or "")

    @property
    def time_limit(self) -> str:
        """Time limit as a duration."""
        return times.format_full_limit(
            self.row["time_limit_min"], "UNLIMITED" if self.job.shares else "Partition_Limit"
        )

    @property
    def time_limit_min(self) -> str:
        """Time limit in minutes, as text."""
        if self.row["time_limit_min"] is None:
            return "UNLIMITED" if self.job.shares else "Partition_Limit"
        return str(self.row["time_limit_min"])

    @property
    def max_rss(self) -> str:
        """Largest resident memory of a step; "" for a job."""
        if self.step is None or not self.step["max_rss_kb"]:
            return ""
        return str(self.step["max_rss_kb"] * 1024) if self.noconvert else f"{self.step['max_rss_kb']}K"


def _format_cpu_time(microseconds: int) -> str:
    seconds, rest = divmod(microseconds, 1_000_000)
    if seconds >= 3600:
        return times.format_full(seconds)
    return f"{seconds // 60:02d}:{seconds % 60:02d}.{rest // 1000:03d}"


def _make_job_only(value: Callable[[Entry], object]) -> Callable[[Entry], str]:
    """Make a value that steps do not have."""
    return lambda e: "" if e.step is not None else str(value(e))


def _clean_text(text: str) -> str:
    """Clean text as the accounting database does.

    No double quotes, no bytes that are no UTF-8.
    """
    return text.replace('"', "`").encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\ufffd", "?")


def _get_name(e: Entry) -> str:
    return str(e.step["name"]) if e.step is not None else _clean_text(e.row["name"])[:256] or "allocation"


def _get_group(e: Entry) -> str:
    try:
        return grp.getgrgid(e.row["gid"]).gr_name
    except KeyError:
        return str(e.row["gid"])  # a group without an entry


# name: (title, width of the table, value)
FIELDS: dict[str, tuple[str, int, Callable[[Entry], str]]] = {
    "account": ("Account", 10, lambda e: e.row["account"] or ""),
    "admincomment": ("AdminComment", 19, _make_job_only(lambda e: e.row["admin_comment"] or "")),
    "alloccpus": ("AllocCPUS", 10, lambda e: str(e.cpus) if e.job.shares else "0"),
    "allocnodes": ("AllocNodes", 10, lambda e: str(e.step["nnodes"] if e.step is not None else len(e.job.shares))),
    "alloctres": ("AllocTRES", 10, lambda e: e.allocated_tres),
    "associd": ("AssocID", 10, lambda e: "0"),
    "averss": ("AveRSS", 10, lambda e: e.max_rss),
    "avecpu": ("AveCPU", 10, lambda e: times.format_full(e.sum_cpu_us() // 1_000_000) if e.step is not None else ""),
    "cluster": ("Cluster", 10, lambda e: "embedded"),
    "comment": ("Comment", 14, _make_job_only(lambda e: _clean_text(e.row["comment"] or ""))),
    "constraints": ("Constraints", 19, _make_job_only(lambda e: e.row["features"] or "")),
    "cputime": ("CPUTime", 10, lambda e: times.format_full(e.elapsed_s * e.cpus)),
    "cputimeraw": ("CPUTimeRAW", 10, lambda e: str(e.elapsed_s * e.cpus)),
    "derivedexitcode": ("DerivedExitCode", 15, _make_job_only(lambda e: format_exit_status(e.row["derived_raw"]))),
    "elapsed": ("Elapsed", 10, lambda e: times.format_full(e.elapsed_s)),
    "elapsedraw": ("ElapsedRaw", 10, lambda e: str(e.elapsed_s)),
    "eligible": ("Eligible", 19, lambda e: times.format_time(e.row["eligible_time"], "Unknown")),
    "end": ("End", 19, lambda e: e.end),
    "exitcode": ("ExitCode", 8, lambda e: e.exit_code),
    "flags": ("Flags", 14, _make_job_only(lambda e: "SchedMain" if e.job.shares else "")),
    "gid": ("GID", 6, _make_job_only(lambda e: e.row["gid"])),
    "group": ("Group", 9, _make_job_only(_get_group)),
    "jobid": ("JobID", -12, lambda e: e.format_id(e.job.array_id)),
    "jobidraw": ("JobIDRaw", -12, lambda e: e.format_id(str(e.row["raw_id"]))),
    "jobname": ("JobName", 10, _get_name),
    "maxrss": ("MaxRSS", 10, lambda e: e.max_rss),
    "maxrssnode": ("MaxRSSNode", 10, lambda e: e.step["node_list"] if e.step is not None and e.max_rss else ""),
    "maxrsstask": ("MaxRSSTask", 10, lambda e: "0" if e.max_rss else ""),
    "ncpus": ("NCPUS", 10, lambda e: str(e.cpus)),
    "nnodes": ("NNodes", 8, lambda e: str(e.step["nnodes"] if e.step is not None else e.job.node_count)),
    "nodelist": ("NodeList", 15, lambda e: (e.step or e.row)["node_list"] or "None assigned"),
    "ntasks": ("NTasks", 8, lambda e: str(e.step["ntasks"]) if e.step is not None else ""),
    "partition": ("Partition", 10, _make_job_only(lambda e: e.row["partition"])),
    "priority": ("Priority", 10, _make_job_only(lambda e: e.row["priority"])),
    "qos": ("QOS", 10, _make_job_only(lambda e: e.row["qos"] or "")),
    "reason": ("Reason", 22, _make_job_only(lambda e: e.reason)),
    "reqcpus": ("ReqCPUS", 8, lambda e: str(e.cpus)),
    "reqmem": ("ReqMem", 10, _make_job_only(lambda e: units.format_memory(e.job.memory_mb, not e.noconvert))),
    "reqnodes": ("ReqNodes", 8, lambda e: str(e.step["nnodes"] if e.step is not None else e.row["min_nodes"])),
    "reqtres": ("ReqTRES", 10, _make_job_only(lambda e: e.job.format_requested_tres(not e.noconvert))),
    "reserved": ("Reserved", 10, _make_job_only(lambda e: times.format_full(e.reserved_s))),
    "start": ("Start", 19, lambda e: e.start),
    "state": ("State", 10, lambda e: e.state),
    "submit": ("Submit", 19, lambda e: times.format_time(e.submit_time, "Unknown")),
    "submitline": ("SubmitLine", 20, lambda e: e.submit_line),
    "suspended": ("Suspended", 10, lambda e: times.format_full(e.row["suspended_s"] or 0)),
    "systemcpu": ("SystemCPU", 10, lambda e: _format_cpu_time(e.sum_cpu_us("sys_us"))),
    "timelimit": ("Timelimit", 10, _make_job_only(lambda e: e.time_limit)),
    "timelimitraw": ("TimelimitRaw", 10, _make_job_only(lambda e: e.time_limit_min)),
    "totalcpu": ("TotalCPU", 10, lambda e: _format_cpu_time(e.sum_cpu_us())),
    "uid": ("UID", 6, _make_job_only(lambda e: e.row["uid"])),
    "user": ("User", 9, _make_job_only(lambda e: e.row["user"])),
    "usercpu": ("UserCPU", 10, lambda e: _format_cpu_time(e.sum_cpu_us("user_us"))),
    "workdir": ("WorkDir", 20, _make_job_only(lambda e: e.row["work_dir"])),
}  # fmt: skip
for (
    _word
) in """AllocGRES AveCPUFreq AveDiskRead AveDiskWrite AvePages AveVMSize BlockID ConsumedEnergy ConsumedEnergyRaw
Container DBIndex Layout MaxDiskRead MaxDiskReadNode MaxDiskReadTask MaxDiskWrite MaxDiskWriteNode MaxDiskWriteTask
MaxPages MaxPagesNode MaxPagesTask MaxVMSize MaxVMSizeNode MaxVMSizeTask McsLabel MinCPU MinCPUNode MinCPUTask QOSRAW
ReqCPUFreq
ReqCPUFreqGov ReqCPUFreqMax ReqCPUFreqMin Reservation ReservationId ResvCPU ResvCPURAW SystemComment TRESUsageInAve
TRESUsageInMax TRESUsageInMaxNode TRESUsageInMaxTask TRESUsageInMin TRESUsageInMinNode TRESUsageInMinTask TRESUsageInTot
TRESUsageOutAve TRESUsageOutMax TRESUsageOutMaxNode TRESUsageOutMaxTask TRESUsageOutMin TRESUsageOutMinNode
TRESUsageOutMinTask TRESUsageOutTot WCKey WCKeyID""".split():
    FIELDS.setdefault(_word.lower(), (_word, 10, lambda e: ""))


def main(conf: dict[str, Any], argv: list[str]) -> int:
    """Run sacct; return its exit status."""
    asked, _ = OPTIONS.gather(argv)
    if "helpformat" in asked:
        titles = [FIELDS[name][0] for name in sorted(FIELDS)]
        for index in range(0, len(titles), 4):
            print("".join(f"{title:<20}" for title in titles[index : index + 4]))
        return 0
    columns = _parse_columns(asked)
    entries = _load_entries(conf, asked)
    if "batch-script" in asked:
        return _print_scripts(conf, entries)
    sys.stdout.writelines(_format_lines(asked, columns, entries))
    return 0


def _print_scripts(conf: dict[str, Any], entries: Iterable[Entry]) -> int:
    """Print the script of each job, as far as it is there still."""
    with cluster.read_state({**conf, "down": False}) as state:
        for entry in entries:
            found = state.db.execute("SELECT text FROM scripts WHERE id = ?", (entry.row["script_id"],)).fetchone()
            if entry.step is None:
                print(f"Batch Script for {entry.job.array_id}\n{'-' * 80}", flush=True)
                sys.stdout.buffer.write((found["text"] if found else b"NONE\n") + b"\n")
    return 0


def _parse_columns(asked: dict[str, Any]) -> list[tuple[str, int]]:
    """Parse the format to (field, width); negative widths justify left.

    Refused for a field that does not exist.
    """
    text = asked.get("format")
    text = text or (
        BRIEF if "brief" in asked else LONG if "long" in asked else os.environ.get("SACCT_FORMAT") or DEFAULT
    )
    columns = []
    for word in text.split(","):
        name, percent, width = word.partition("%")
        if not name:
            continue
        key = name.strip().lower()
        if key not in FIELDS:
            near = [known for known in FIELDS if known.startswith(key)]
            if not near:
                raise Refused(f'sacct: error: Invalid field requested: "{name}"')
            key = near[0]
        columns.append((key, int(width) if percent and is_number(width.lstrip("-")) else FIELDS[key][1]))
    return columns


def _format_lines(asked: dict[str, Any], columns: list[tuple[str, int]], entries: Iterable[Entry]) -> Iterator[str]:
    mark = str(asked.get("delimiter") or "|")
    end = (mark if "parsable" in asked else "") + "\n"
    widths = [width for _, width in columns]

    def format_line(cells: list[str]) -> str:
        if "parsable" in asked or "parsable2" in asked:
            return mark.join(cells) + end
        return "".join(_fit_cell(cell, width) + " " for cell, width in zip(cells, widths, strict=True)) + "\n"

    if "noheader" not in asked:
        yield format_line([FIELDS[name][0] for name, _ in columns])
        if "parsable" not in asked and "parsable2" not in asked:
            yield format_line(["-" * abs(width) for width in widths])
    makers = [FIELDS[name][2] for name, _ in columns]
    for entry in entries:
        yield format_line([make(entry) for make in makers])


def _fit_cell(text: str, width: int) -> str:
    if len(text.encode("utf-8", "surrogateescape")) > abs(width):
        return layout.pad_cell(text, abs(width) - 1, False) + "+"
    return layout.pad_cell(text, abs(width), width > 0)


def _load_entries(conf: dict[str, Any], asked: dict[str, Any]) -> Iterator[Entry]:
    """Load the lines that are asked for, in their order.

    Raises Refused at once for what cannot be understood.
    """
    now = int(time.time())
    wanted = _parse_ids(asked.get("jobs"))
    window = _parse_window(asked, now, bool(wanted))
    states = _parse_states(asked)
    users, groups = _parse_users(asked), _parse_groups(asked)
    nodes = _parse_nodes(asked)

    def is_listed(row: Any) -> bool:
        return (
            now - row["submit_time"] >= conf["accounting_lag_s"]
            and _is_wanted(row, asked, wanted, users)
            and (groups is None or row["gid"] in groups)
            and (nodes is None or any(share[0] in nodes for share in views.Job(row, now).shares))
            and ((bool(wanted) and states is None) or _is_in_states(row, states, window))
        )

    if asked.get("clusters") not in (None, "all") and conf["cluster"] not in asked["clusters"].split(","):
        return iter(())  # accounting of a cluster that it does not know is empty
    return _iterate_entries(conf, asked, now, window, is_listed)


def _iterate_entries(
    conf: dict[str, Any], asked: dict[str, Any], now: int, window: tuple[int, int], is_listed: Callable[[Any], bool]
) -> Iterator[Entry]:
    """Yield the lines of the jobs that are listed, in their order.

    A lot of rows is kept at a time, and the state may change meanwhile: who reads what is printed may be slow.
    """
    with cluster.read_state({**conf, "down": False}) as state:
        ended = "(end_time IS NULL OR end_time >= ?) AND submit_time <= ?"
        chosen = list(_find_places(state, "jobs", is_listed, ended, window))
        if "duplicates" in asked:
            chosen += _find_places(state, "past", is_listed)
        chosen.sort()
        for first in range(0, len(chosen), LOT_JOBS):
            lot = chosen[first : first + LOT_JOBS]
            rows = {table: _read_rows(state, table, lot) for table in ("jobs", "past")}
            steps = {} if "allocations" in asked else _read_steps(state, lot)
            for *_, raw_id, table, place in lot:
                if (row := rows[table].get(place)) is not None:  # else it was forgotten meanwhile
                    job, own = views.Job(row, now), steps.get(raw_id, [])
                    yield Entry(job, None, "noconvert" in asked, own)
                    yield from (Entry(job, step, "noconvert" in asked) for step in own)


def _find_places(
    state: State, table: str, is_listed: Callable[[Any], bool], where: str = "1", values: Sequence[int] = ()
) -> Iterator[Place]:
    """Find where the rows are that are listed, with what they are sorted by."""
    for row in state.db.execute(f"SELECT rowid AS place, * FROM {table} WHERE {where}", values):  # noqa: S608
        if is_listed(row):
            leading = row["array_job_id"] or row["het_job_id"] or row["raw_id"]
            yield leading, row["submit_time"], row["raw_id"], table, row["place"]


def _read_rows(state: State, table: str, lot: Sequence[Place]) -> dict[int, Any]:
    places = [place[-1] for place in lot if place[-2] == table]
    query = f"SELECT rowid AS place, * FROM {table} WHERE rowid IN ({','.join('?' * len(places))})"  # noqa: S608
    return {row["place"]: row for row in state.db.execute(query, places)}


def _read_steps(state: State, lot: Sequence[Place]) -> dict[int, list[Any]]:
    """Read the steps of a lot of jobs, the batch step first."""
    ids = [place[2] for place in lot]
    query = f"SELECT * FROM steps WHERE raw_id IN ({','.join('?' * len(ids))})"  # noqa: S608
    found: dict[int, list[Any]] = {}
    for step in state.db.execute(f"{query} ORDER BY raw_id, step = 'batch' DESC, CAST(step AS INT)", ids):
        found.setdefault(step["raw_id"], []).append(step)
    return found


def _parse_ids(text: str | None) -> list[tuple[int, int | None]]:
    wanted = []
    for word in (text or "").split(","):
        if not word:
            continue
        head = word.partition(".")[0]
        number, under, task = head.partition("_")
        digits = number.partition("+")[0]
        plain = digits.partition("-")[0]
        if not is_number(plain) or (under and not is_number(task.strip("[]").replace("-", ""))):
            raise Refused(f"sacct: fatal: Bad job/step specified: {word}")
        # A range is not understood: only its first id counts, as in 22.05. The parts of one job have ids in a row.
        offset = number.partition("+")[2]
        wanted.append((int(plain) + int(offset or 0), int(task) if is_number(task) else None))
    return wanted


def _parse_window(asked: dict[str, Any], now: int, by_id: bool) -> tuple[int, int]:
    """Parse from when to when; by default today, or all if ids are given."""
    try:
        if "starttime" in asked:
            start = times.parse_time(str(asked["starttime"]), now)
        else:
            today = time.localtime(now)[:3]
            start = 0 if by_id else int(time.mktime((*today, 0, 0, 0, 0, 0, -1)))
        end = times.parse_time(str(asked["endtime"]), now) if "endtime" in asked else now
    except times.BadTime as error:
        raise Refused(str(error)) from error
    # A clock time that has passed means today's here, not tomorrow's as in sbatch --begin.
    return (start - 86400 if start > now else start), max(end, now if "endtime" not in asked else end)


def _parse_states(asked: dict[str, Any]) -> set[str] | None:
    text = asked.get("state")
    if not text:
        return None
    chosen = set()
    for word in str(text).split(","):
        if word.upper() not in BY_NAME:
            raise Refused(f"sacct: fatal: unrecognized job state value '{word}'")
        chosen.add(BY_NAME[word.upper()])
    return chosen


def _parse_users(asked: dict[str, Any]) -> set[int] | None:
    text = asked.get("user")
    if not text:
        return None if "allusers" in asked or os.geteuid() == 0 or asked.get("jobs") else {os.geteuid()}
    uids = set()
    for word in str(text).split(","):
        try:
            uids.add(int(word) if is_number(word) else pwd.getpwnam(word).pw_uid)
        except KeyError as error:
            raise Refused(f"sacct: fatal: Invalid user id: {word}") from error
    return uids


def _parse_groups(asked: dict[str, Any]) -> set[int] | None:
    if "group" not in asked:
        return None
    gids = set()
    for word in str(asked["group"]).split(","):
        try:
            gids.add(grp.getgrgid(int(word)).gr_gid if is_number(word) else grp.getgrnam(word).gr_gid)
        except (KeyError, OverflowError) as error:
            raise Refused(f"sacct: error: Invalid group id: {word}") from error
    return gids


def _parse_nodes(asked: dict[str, Any]) -> set[str] | None:
    """Parse the nodes that jobs must have run on one of.

    A list that cannot be read names none, as in SLURM.
    """
    if "nodelist" not in asked:
        return None
    try:
        return set(expand_hosts(str(asked["nodelist"])))
    except ValueError:
        return set()


def _is_wanted(row: Any, asked: dict[str, Any], wanted: list[tuple[int, int | None]], users: set[int] | None) -> bool:
    if wanted and not any(_has_id(row, number, task) for number, task in wanted):
        return False
    if users is not None and row["uid"] not in users:
        return False
    return all(row[column] in str(asked[option]).split(",") for option, column in FILTERS.items() if option in asked)


def _has_id(row: Any, number: int, task: int | None) -> bool:
    if task is not None:
        return row["array_job_id"] == number and (
            row["array_task_id"] == task or task in unfold_tasks(row["array_tasks"] or "")
        )
    return cluster.is_part_of(row, number)


def _is_in_states(row: Any, states: set[str] | None, window: tuple[int, int]) -> bool:
    """Return whether a job belongs into the list by its states.

    By time alone, and among the pending ones in any case, SLURM leaves out what was never eligible (held, waiting for a
    dependency or a time to begin).
    """
    eligible = row["eligible_time"] is not None and row["eligible_time"] <= window[1]
    if states is None:
        return eligible
    return row["state"] in states and (eligible or row["state"] != "PENDING")


__all__ = ["main"]

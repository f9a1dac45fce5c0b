"""SLURM's commands: argv list -> program -> parser.

One method per command. Blocking; call in a thread. `submit` is work that may wait without one (starting/work.py).

Never a shell string: options travel as one token `--name=value`, positionals after `--`. Programs get an environment
that is built here, never the server's own (SQUEUE_*, SBATCH_*, SLURM_* and TZ of the caller change what they print, and
sbatch copies everything it sees into the job). Which SLURM answers is decided by PATH and SLURM_CONF alone.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import secrets
import shutil
import signal as signals
import string
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slurm_shim import parse, programs
from slurm_shim.errors import AccountingOff, JobUnknown, SlurmBusy, SlurmInvalid, SlurmUnreachable, make_error
from slurm_shim.ids import split_job_id, to_argument
from slurm_shim.inventory import nodes
from slurm_shim.past import scripts, usage
from slurm_shim.programs import Answer, Breaker, CallCounts
from slurm_shim.queue.known_rows import KnownRows
from slurm_shim.starting.work import Work, finish_work, make_blocking

_ENDED = "BF,CA,CD,DL,F,NF,OOM,PD,PR,R,RQ,RS,RV,S,TO"  # sacct(1): with -s and -E also jobs that were never eligible
NONCE_LETTERS = string.ascii_letters + string.digits
IDS_A_CALL = 500  # 3,000 ids in one scancel take 3.5 s
DATABASE_PROGRAMS = frozenset(("sacct", "sacctmgr", "sreport"))
_ASKING = DATABASE_PROGRAMS | {"squeue", "sinfo"}
_OPTION = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
NODES, PARTITIONS = ["scontrol", "-o", "-a", "show", "node"], ["scontrol", "-o", "-a", "show", "partition"]
_ESTIMATE = re.compile(r"\bJob \d+ to start at ")  # what --test-only prints
CLOCK_NOISE_S = 3.0  # clocks that differ by less than can be measured count as equal
NO_ACCOUNTING_S = 60.0  # for so long a cluster without accounting is not asked whether it has some
# Some 15,000 jobs: more at once would cost more memory than all the rest. What a few minutes have is taken in any case.
WINDOW_BYTES, FEW_MINUTES_S = 8_000_000, 300
DATABASE_S = 30.0  # lists of users and sums over many jobs take the database longer than usual
_LONGEST_ARGUMENT = 100_000  # bytes; Linux takes 128 KiB in one argument
_MOST_SECRETS = 1_000_000  # characters; Linux takes 2 MiB of arguments and environment
Folders = Mapping[str, str]
Contents = Mapping[str, bytes]

_log = logging.getLogger("sluice.slurm")


@dataclass(frozen=True)
class Needs:
    """What a call needs beside its argv, above all that of a job.

    `folders` are made before it is submitted, each by the field that names it; `files` are written below the folder
    `work_dir` then, for their owner only. `secrets` are variables that only sbatch and the job may see, so they stand
    in no argv. `most_taken_bytes` are taken of what the program prints.
    """

    folders: Folders = field(default_factory=dict)
    files: Contents = field(default_factory=dict, kw_only=True)
    secrets: Mapping[str, str] = field(default_factory=dict)
    most_taken_bytes: int | None = None


NO_NEEDS = Needs()


class Slurm:
    """The cluster behind `path` (a PATH) and `slurm_conf`.

    Without `slurm_conf` SLURM finds its own.

    `hold_fd` is inherited by every sbatch: a flock on it stays held until an sbatch in flight has ended, also when
    this process is killed meanwhile. All methods raise SlurmRefused or one of its kinds, SlurmUnreachable when nobody
    answers within `timeout_s`, Unreadable for an answer of another form, ValueError for arguments that SLURM's programs
    could not be given.
    """

    def __init__(self, path: str, slurm_conf: str | None, timeout_s: float = 5.0, hold_fd: int | None = None) -> None:
        self.path, self.slurm_conf = path, slurm_conf
        self.timeout_s, self.hold_fd = timeout_s, hold_fd
        self.make_folders: Callable[[Folders], None] = _refuse_folders  # set by the owner of the file system
        self.write_files: Callable[[str, Contents], None] = _refuse_files  # likewise
        self.check_ready: Callable[[], None] = lambda: None  # raises SlurmUnreachable while nothing may be asked
        self.can_prefetch = False  # whether announced calls are answered together
        self.squeue_s: float | None = None  # time of the last squeue alone, if it was measured
        self.own_name = ""  # the cluster's own name, once it is known
        self.controller, self.database, self.calls = Breaker(), Breaker(), CallCounts()
        # The same for each squeue, so that rows can be compared as they come: it travels where nobody else can read it.
        self._squeue_nonce = _make_nonce()
        self._known = KnownRows()
        self._known_lock = threading.Lock()
        self._known_nodes = nodes.KnownNodes()
        self._config: dict[str, str] = {}
        self._clock_s: float | None = None  # the controller's time when the monotonic clock was 0
        self._no_accounting_until = 0.0  # 0: there is, as far as is known

    # --------------------------------------------------------------------------------------------------- reading

    def squeue(self, job_ids: Sequence[str] | None = None, soon: Sequence[Sequence[str]] = ()) -> list[parse.Job]:
        """List all jobs of the controller, or the rows of these jobs.

        Jobs of all users, and finished ones of the last MinJobAge.

        A row that reads as in the call before is the same dict: do not change them. Unknown ids have no rows; some
        tasks of an array have those of the whole one. `soon` are calls that will follow: where a call is a way to
        another machine, they are answered with this one.
        """
        argv = ["squeue", "-h", "-a", "-t", "all"]
        if job_ids is not None:
            try:
                text = self._run_checked([*argv, *next(self._build_selections(job_ids, None))], job_ids)
            except JobUnknown:
                return []
            return parse.parse_jobs(text, self._squeue_nonce)
        self._prefetch(soon)
        text = self._run_checked(argv)
        with self._known_lock:
            return self._known.read_rows(text, self._squeue_nonce)

    def sacct(self, job_ids: Iterable[str] | None = None, since_s: float | None = None) -> list[parse.Job]:
        """List accounted jobs by id, or all of the last `since_s` seconds.

        One row per job, no steps; by id also other jobs that had it, and one more for each time it was requeued.

        A job shows up here some seconds after its submission only, and its end likewise.
        """
        rows: list[parse.Job] = []
        for chosen in self._build_selections(job_ids, since_s):
            nonce = _make_nonce()
            chosen += [] if job_ids is None else ["--duplicates"]
            rows += parse.parse_accounting(self._run_sacct(nonce, parse.ACCOUNTING_FIELDS, chosen), nonce)
        return rows

    def iterate_window(self, first_s: int, last_s: int, with_usage: bool, timeout_s: float) -> Iterator[parse.Job]:
        """Yield the jobs of accounting between two times, seconds ago.

        Also those that ended a little before or after; `with_usage` gives rows as in slurm_shim.past.usage. Raises
        AnswerTooLarge where a longer time than FEW_MINUTES_S has more than WINDOW_BYTES.
        """
        nonce, end = _make_nonce(), f"now-{last_s}seconds" if last_s else "now"
        chosen = ["-S", f"now-{first_s}seconds", "-E", end, "-s", _ENDED]
        needs = Needs(most_taken_bytes=WINDOW_BYTES if first_s - last_s > FEW_MINUTES_S else None)
        if with_usage:
            text = self._run_accounting(usage.build_sacct_argv(nonce, chosen), timeout_s, needs)
            return iter(usage.parse_usage(text, nonce))
        text = self._run_accounting(_build_sacct_argv(nonce, parse.ACCOUNTING_FIELDS, chosen), timeout_s, needs)
        return parse.iterate_accounting(text, nonce)  # one by one: there may be very many

    def find_accounted(self, job_ids: Iterable[str]) -> list[parse.Job] | None:
        """List accounted jobs by id; None where there is no accounting."""
        with contextlib.suppress(AccountingOff):
            return self.sacct(job_ids) if self.has_accounting() else None
        return None

    def list_submitted(self, since_s: float) -> list[dict[str, Any]]:
        """List what was submitted in the last `since_s` seconds.

        Rows: `{job_id, raw_id, user, uid, submit_time, state, comment, submit_line}`.

        `comment` only where the cluster stores it (AccountingStoreFlags=job_comment), `submit_line` always: a tag that
        travelled in `--comment=` is found in one of them.
        """
        nonce = _make_nonce()
        chosen = next(self._build_selections(None, since_s))
        return parse.parse_submitted(self._run_sacct(nonce, parse.SUBMITTED_FIELDS, chosen), nonce)

    def list_usage(self, job_ids: Sequence[str] | None = None, since_s: float | None = None) -> list[usage.Usage]:
        """List what jobs used, by id or all of the last `since_s` seconds.

        See slurm_shim.past.usage. Those that were asked for by id and run are measured now, where we may do that.
        """
        rows: list[usage.Usage] = []
        for chosen in self._build_selections(job_ids, since_s):
            nonce = _make_nonce()
            rows += usage.parse_usage(self._run_accounting(usage.build_sacct_argv(nonce, chosen)), nonce)
        # sstat says nothing of other users' jobs, on standard error and with an exit code of 0.
        return rows if job_ids is None else usage.add_measured(rows, self._run_checked)

    def _run_sacct(self, nonce: str, fields: tuple[str, ...], chosen: list[str]) -> str:
        return self._run_accounting(_build_sacct_argv(nonce, fields, chosen))

    def _run_accounting(self, argv: list[str], timeout_s: float | None = None, needs: Needs = NO_NEEDS) -> str:
        try:
            return self._run_checked(argv, timeout_s=timeout_s, needs=needs)
        except AccountingOff:
            self._no_accounting_until = time.monotonic() + NO_ACCOUNTING_S
            raise

    def list_nodes(self) -> list[parse.Node]:
        """List all nodes, hidden ones too; do not change them."""
        return self._known_nodes.read_nodes(self._run_checked(NODES))

    def list_partitions(self) -> list[parse.Partition]:
        """List all partitions, hidden ones too."""
        return nodes.parse_partitions(self._run_checked(PARTITIONS))

    def ask(self, argv: list[str]) -> str:
        """Run a command of slurm_shim/inventory/; return what it printed."""
        return self._run_checked(
            argv, timeout_s=max(self.timeout_s, DATABASE_S) if argv[0] in DATABASE_PROGRAMS else None
        )

    def ping(self) -> dict[str, Any]:
        """Ask whether the controller answers: `{up, version, controller}`.

        `version` is that of the programs, `controller` the controller's host.
        """
        try:
            answer, version_answer = (
                finish_work(self._run(["scontrol", word], None, self.timeout_s)) for word in ("ping", "--version")
            )
            version = version_answer.out.split()
        except SlurmUnreachable:
            return {"up": False, "version": "", "controller": ""}
        match = re.search(r"^Slurmctld\(\S+\) at (\S+) is UP\b", answer.out, re.MULTILINE)
        return {
            "up": match is not None,
            "version": version[-1] if version else "",
            "controller": match[1] if match else "",
        }

    def get_config(self) -> dict[str, str]:
        """Return `scontrol show config`, as last asked; do not change it."""
        return self._config or self.load_config()

    def load_config(self) -> dict[str, str]:
        """Ask for `scontrol show config`; note the controller's clock too."""
        began = time.monotonic()
        text = self._run_checked(["scontrol", "show", "config"])
        self._take_config(text, began)
        return self._config

    def _take_config(self, text: str, began: float) -> None:
        self._config = parse.parse_config(text)
        self.own_name = self._config.get("ClusterName", "")
        told_at = parse.parse_config_time(text)
        if told_at is not None:
            # It was told in whole seconds, some time during the call.
            self._clock_s = told_at + 0.5 - (began + time.monotonic()) / 2

    @property
    def queue_remembers_s(self) -> float:
        """For how long the queue shows ended jobs; 0 where that is not known.

        slurm.conf(5): with a MinJobAge of 0 it never forgets any.
        """
        number, _, unit = self._config.get("MinJobAge", "").partition(" ")
        return (float(number) or math.inf) if unit == "sec" and number.isdecimal() else 0.0

    @property
    def clock_offset_s(self) -> float:
        """How far SLURM's clock is ahead of ours; 0 until that is known.

        It is measured against the monotonic clock, so our own may be set meanwhile.
        """
        ahead_s = 0.0 if self._clock_s is None else self._clock_s + time.monotonic() - time.time()
        return ahead_s if abs(ahead_s) > CLOCK_NOISE_S else 0.0

    @property
    def version(self) -> str:
        """SLURM's version; "" until it is known."""
        return self._config.get("SLURM_VERSION", "")

    @property
    def has_database(self) -> bool:
        """Whether the cluster has accounting, as far as is known."""
        kind = parse.to_text_or_none(self._config.get("AccountingStorageType", ""))
        return kind not in (None, "accounting_storage/none")

    def get_cluster_name(self) -> str:
        """Return the name of the cluster."""
        return self.get_config().get("ClusterName", "")

    def has_accounting(self) -> bool:
        """Return whether there is accounting.

        A yes holds until sacct says otherwise, a no for a minute: the administrator may have changed it meanwhile.
        """
        if time.monotonic() < self._no_accounting_until:
            return False
        if self._no_accounting_until:
            self._config, self._no_accounting_until = {}, 0.0
        self.get_config()
        if not self.has_database:
            self._no_accounting_until = time.monotonic() + NO_ACCOUNTING_S
            return False
        return True

    # --------------------------------------------------------------------------------------------------- changing

    def submit(
        self,
        script: str,
        options: Mapping[str, str | int | bool | None],
        args: Sequence[str] = (),
        needs: Needs = NO_NEEDS,
    ) -> Work[str]:
        """Submit a job and return its id; make its folders first.

        `options` by sbatch(1)'s long names with underscores: True is a flag, None and False are left out. The script
        goes through standard input; with an option `script_file` that file is submitted instead, with `args`.
        SlurmUnreachable with `.uncertain` means that the job may exist all the same: look for its tag.
        """
        given = dict(options)
        file = given.pop("script_file", None)
        if args and not file:
            raise ValueError("a script through standard input takes no arguments")
        argv = ["sbatch", "--parsable", *_format_options(given)]
        if file:
            argv += ["--", str(file), *args]
        check_arguments(["sbatch", *(f"{name}={value}" for name, value in needs.secrets.items())])
        if sum(map(len, needs.secrets.values())) > _MOST_SECRETS:
            raise ValueError(f"the secrets of a job have more than {_MOST_SECRETS} characters")
        answer = yield from self._call(argv, None if file else script, needs=needs)
        # Whatever happens after the id was printed: the job is there. With `--wait` sbatch ends as the job does.
        if (job_id := find_new_id(answer.out)) is not None:
            if answer.exit_code:
                _log.warning(
                    "job %s is there, but sbatch ended with %s: %s", job_id, answer.exit_code, answer.err.strip()
                )
            return job_id
        if answer.exit_code and not answer.out.strip():
            raise make_error("sbatch", answer.exit_code, answer.err)
        if _ESTIMATE.search(answer.err):
            raise SlurmInvalid("sbatch", 0, "--test-only in the script submits nothing")
        said = f"sbatch printed no job id: {answer.out[:200]!r} {answer.err[:200]}".strip()
        raise SlurmUnreachable("sbatch", said, uncertain=True)

    sbatch = make_blocking(submit)

    def scancel(
        self, job_ids: Sequence[str], signal: str | None = None, full: bool = False, batch: bool = False
    ) -> None:
        """Cancel the jobs, or send them a signal ("USR1", "SIGUSR1", "10").

        Without `full` or `batch` a signal reaches only steps, never the batch script (scancel(1)). Look the jobs up
        before: SLURM says nothing about unknown and finished ones, and scancel retries the signal to a waiting one
        until the time-out.
        """
        argv = ["scancel"]
        argv += [f"--signal={normalize_signal(signal)}"] if signal is not None else []
        argv += ["--full"] if full else []
        argv += ["--batch"] if batch else []
        self._run_in_batches([*argv, "--"], job_ids)

    def read_script(self, job_id: str) -> str:
        """Read the script that a batch job was submitted with.

        That of a job which the controller has forgotten comes from accounting, where it keeps scripts. SlurmDenied for
        a job of another user, JobUnknown where SLURM has none. `scontrol` exits with 0 all the same.
        """
        argv = ["scontrol", "write", "batch_script", to_argument(job_id), "-"]
        answer = self._run_guarded(argv, None)
        # What is told on standard error while there is a script are warnings.
        if not answer.exit_code and answer.out:
            return answer.out
        problem = make_error("scontrol", answer.exit_code or 1, answer.err or answer.out, (job_id,))
        kept = self.find_kept_script(job_id) if isinstance(problem, JobUnknown) else None
        if kept is None:
            raise problem
        return kept

    def find_kept_script(self, job_id: str) -> str | None:
        """Find the script that accounting keeps of a job; None without one.

        sacct shows no script of other users but to operators.
        """
        with contextlib.suppress(AccountingOff, SlurmInvalid):  # one of before 21.08 does not know the option
            if self.has_accounting():
                return scripts.parse_script(self._run_accounting(scripts.build_argv(to_argument(job_id))))
        return None

    def run_for_jobs(self, argv: list[str], timeout_s: float) -> Answer:
        """Run a program that changes jobs; return whatever it says of them."""
        return self._run_guarded(argv, None, timeout_s)

    # --------------------------------------------------------------------------------------------------- the way out

    def _run_in_batches(self, argv: list[str], job_ids: Sequence[str]) -> None:
        ids = [to_argument(job_id) for job_id in job_ids]
        for at in range(0, len(ids), IDS_A_CALL):
            lot = ids[at : at + IDS_A_CALL]
            self._run_checked([*argv, *lot], lot, self.timeout_s + 0.01 * len(lot))

    def _build_selections(self, job_ids: Iterable[str] | None, since_s: float | None) -> Iterator[list[str]]:
        if job_ids is None:
            # -S takes local time or this form, which no time zone can spoil.
            yield ["-S", f"now-{int(since_s if since_s is not None else 86_400)}seconds", "-E", "now", "-s", _ENDED]
            return
        ids = list(dict.fromkeys(_strip_tasks(job_id) for job_id in job_ids))
        for at in range(0, len(ids), IDS_A_CALL):
            yield [f"--jobs={','.join(ids[at : at + IDS_A_CALL])}"]

    def _prefetch(self, soon: Sequence[Sequence[str]]) -> None:
        # A call costs nothing but itself here.
        return

    def _run_checked(
        self, argv: list[str], ids: Sequence[str] = (), timeout_s: float | None = None, needs: Needs = NO_NEEDS
    ) -> str:
        answer = self._run_guarded(argv, None, timeout_s, needs)
        if answer.exit_code:
            # `scontrol show node nope` complains on standard output.
            raise make_error(argv[0], answer.exit_code, answer.err or answer.out, ids)
        return answer.out

    def _run_guarded(
        self, argv: list[str], stdin: str | None, timeout_s: float | None = None, needs: Needs = NO_NEEDS
    ) -> Answer:
        return finish_work(self._call(argv, stdin, timeout_s, needs))

    def _call(
        self, argv: list[str], stdin: str | None, timeout_s: float | None = None, needs: Needs = NO_NEEDS
    ) -> Work[Answer]:
        breaker = self.database if argv[0] in DATABASE_PROGRAMS else self.controller
        # Only who asks finds out that nobody answers: a submission may be slow or fail for many reasons of its own.
        is_asking = _is_asking(argv)
        breaker.enter(argv[0], is_asking)
        silent: SlurmUnreachable | None = None
        has_failed = True
        try:
            answer = yield from self._run(argv, stdin, timeout_s or self.timeout_s, needs)
            has_failed = answer.exit_code != 0
            if answer.exit_code:
                error = make_error(argv[0], answer.exit_code, answer.err)
                # A controller that asks for patience has answered.
                silent = error if isinstance(error, SlurmUnreachable) and not isinstance(error, SlurmBusy) else None
            return answer
        except SlurmUnreachable as error:
            silent = error
            raise
        finally:
            self.calls.note_call(argv[0], has_failed)
            if is_asking:
                breaker.leave(silent)

    def _run(self, argv: list[str], stdin: str | None, timeout_s: float, needs: Needs = NO_NEEDS) -> Work[Answer]:
        # The only place from which programs of this machine's SLURM are started.
        check_arguments(argv)
        self.check_ready()
        program = shutil.which(argv[0], path=self.path)
        if program is None:
            raise SlurmUnreachable(argv[0], f"{argv[0]} is not installed (not on PATH)")
        self.make_folders(needs.folders)
        if needs.files:
            self.write_files(needs.folders["work_dir"], needs.files)
        submits = argv[0] == "sbatch"
        given = (stdin or "").encode(errors="replace")
        environment, hold_fd = self.build_environment(for_jobs=submits), self.hold_fd if submits else None
        environment |= {**self._build_hidden_variables(argv[0]), **needs.secrets}
        is_enough = _has_new_id if submits else None
        ended = yield from self._call_program(
            program,
            argv,
            environment,
            given,
            timeout_s,
            hold_fd=hold_fd,
            most_taken_bytes=needs.most_taken_bytes,
            is_enough=is_enough,
            may_repeat=_is_asking(argv),
            by_shell=not needs.secrets,  # which stay in no shell
        )
        out, err = (said.decode("utf-8", "replace") for said in (ended.out, ended.err))
        if ended.exit_code is None:
            raise make_timeout_error(argv[0], err, timeout_s)
        return Answer(ended.exit_code, out, err)

    def _call_program(
        self, program: str, argv: Sequence[str], environment: Mapping[str, str], stdin: bytes, timeout_s: float,
        **bounds: Any,
    ) -> Work[programs.Outcome]:  # fmt: skip
        return programs.call_program(program, argv, environment, stdin, timeout_s, **bounds)

    def _build_hidden_variables(self, program: str) -> dict[str, str]:
        # What no other user may see, unlike an argv. SQUEUE_FORMAT2 is squeue's -O.
        if program != "squeue":
            return {}
        return {"SQUEUE_FORMAT2": parse.build_format(parse.JOB_FIELDS, self._squeue_nonce)}

    def get_user(self) -> str | None:
        """Return whose jobs these commands submit; None if unknown."""
        return programs.find_user_name()

    def build_environment(self, for_jobs: bool = False) -> dict[str, str]:
        """Build the variables that a program gets.

        `for_jobs` leaves out those that shape output: sbatch hands everything on to the job.
        """
        built = programs.build_user_environment() | {"PATH": self.path, "LANG": "C.UTF-8"}
        if self.slurm_conf is not None:
            built["SLURM_CONF"] = self.slurm_conf
        if not for_jobs:
            # Epoch seconds instead of local time without a zone; array lists whole instead of cut at 64 characters.
            built |= {"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}
        return built


def find_new_id(said: str) -> str | None:
    """Find the id that sbatch printed, on a whole line.

    Also where the site's sbatch takes no notice of --parsable.
    """
    found = re.findall(r"^(?:Submitted batch job )?(\d+)(?:;\S+)?\n", said, re.MULTILINE)
    return found[-1] if found else None


def _is_asking(argv: Sequence[str]) -> bool:
    return argv[0] in _ASKING or "show" in argv


def _has_new_id(said: bytes) -> bool:
    return find_new_id(said.decode("utf-8", "replace")) is not None


def _refuse_folders(folders: Folders) -> None:
    if folders:
        raise ValueError(f"nobody said how folders are made here: {dict(folders)}")


def _refuse_files(folder: str, _files: Contents) -> None:
    raise ValueError(f"nobody said how files are written here: {folder}")


def normalize_signal(signal: str) -> str:
    """Convert a signal to scancel's form: "SIGUSR1" -> "USR1".

    Numbers stay ("10"). ValueError if there is no such signal.
    """
    word = signal.strip().upper().removeprefix("SIG")
    if word.isascii() and word.isdigit() and 1 <= int(word) <= 64:
        return word
    if f"SIG{word}" in signals.Signals.__members__:
        return word
    raise ValueError(f"no such signal: {signal[:20]!r}")


def _build_sacct_argv(nonce: str, fields: tuple[str, ...], chosen: list[str]) -> list[str]:
    return [
        *("sacct", "-a", "-X", "-n", "-p", f"--delimiter={nonce}", *chosen),
        *("-o", ",".join(fields), "--noconvert"),
    ]


def _make_nonce() -> str:
    # sacct gets a new one for each call: other users may read our argv, but not before the names are already in. `~`
    # first, because squeue takes digits after the colon for a width. Short, because it stands 36 times in each row:
    # with 47 random bits one name in 10^14 holds it, and who has guessed wrong knows no more than before.
    return "~" + "".join(secrets.choice(NONCE_LETTERS) for _ in range(8))


def _format_options(options: Mapping[str, str | int | bool | None]) -> list[str]:
    argv = []
    for name, value in options.items():
        if value is None or value is False or not _check_option_name(name):
            continue
        option = "--" + name.replace("_", "-")
        argv.append(option if value is True else f"{option}={value}")
    return argv


def _check_option_name(name: str) -> bool:
    if not _OPTION.fullmatch(name):
        raise ValueError(f"not the name of an option: {name[:40]!r}")
    return True


def _strip_tasks(job_id: str) -> str:
    # squeue -j and sacct -j take whole jobs, single tasks and components, no ranges.
    parts = split_job_id(job_id)
    return str(parts["job"]) if parts["tasks"] is not None else job_id


def check_arguments(argv: Sequence[str]) -> None:
    """Raise ValueError for arguments that no program can be given."""
    for word in argv:
        if "\0" in word:
            raise ValueError("a NUL character cannot be handed to SLURM")
        if len(word.encode()) > _LONGEST_ARGUMENT:  # also refuses lone surrogates (UnicodeEncodeError is a ValueError)
            raise ValueError(f"an argument of {argv[0]} is longer than {_LONGEST_ARGUMENT} bytes")


def make_timeout_error(program: str, said: str, timeout_s: float) -> SlurmUnreachable:
    """Make the error for a program that exceeded its time.

    What it complained about before says more than the time-out.
    """
    # "temporarily unable to accept job, retrying"
    error = make_error(program, 1, said) if said.strip() else None
    if isinstance(error, SlurmUnreachable):
        return error
    return SlurmUnreachable(program, said.strip() or f"no answer within {timeout_s:g} s", uncertain=True)

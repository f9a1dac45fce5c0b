"""SLURM's commands over SSH, and the files of remote jobs.

Blocking; call in a thread.

Remote programs get an environment that is built as the local one is, from what a login of the account has. A cluster is
recognised by the name that it gives itself, each time a connection was made: should a name lead to another machine some
day, its jobs are never taken for those of the first.
"""

from __future__ import annotations

import base64
import io
import re
import secrets
import shlex
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slurm_shim import parse
from slurm_shim.commands import NO_NEEDS, Contents, Needs, Slurm, check_arguments, find_new_id, make_timeout_error
from slurm_shim.errors import ClusterUnreachable, FolderRefused, SlurmError, UnreadableAnswer, is_momentary, make_error
from slurm_shim.programs import Answer
from slurm_shim.remote import work_folders
from slurm_shim.remote.connection import (
    BlockResult,
    Connection,
    ConnectionGone,
    ConnectionLost,
    Greeting,
    build_timeout_line,
)
from slurm_shim.remote.work_folders import ChangedFile
from slurm_shim.starting.work import Work

TIMEOUT_S = 10.0
# Without these nothing works.
PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol")
# sh(1) and timeout(1): not found, ended after its time; and ours for folders that could not be made.
_MISSING, _LATE, _FOLDERS = 127, 124, 199
# So many reports of tasks are read at once; and how long the removal of a work folder may take.
_CHANGED_FILES, _REMOVAL_S = 500, 120.0
# Files travel with the call that needs them, over lines that may be slow.
_SENT_BYTES_S = 500_000


@dataclass(frozen=True)
class Slice:
    """Part of a file on the remote machine.

    `refused` says why it may not be read, None when it was; `size_bytes` is that of the whole file.

    A file that is not there is neither refused nor has it a size. `path` is where it really lies, `modified_at` (epoch)
    when it was last written.
    """

    data: bytes = b""
    size_bytes: int | None = None
    refused: str | None = None
    path: str = ""
    modified_at: int = 0


class RemoteSlurm(Slurm):
    """The cluster that the account behind a connection sees.

    Used as `Slurm`, with the same errors.

    A connection that was lost is SlurmUnreachable, `.uncertain` where a program may have run all the same.
    """

    def __init__(self, connection: Connection, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__("", None, timeout_s)
        self.connection = connection
        self._identify_lock = threading.Lock()
        self._identified: Greeting | None = None
        self.can_prefetch = True
        self._announced: list[list[str]] = []
        self._prefetched: dict[tuple[str, ...], tuple[Greeting, Answer]] = {}

    @property
    def home(self) -> str | None:
        """Home folder of the account; None until it is known."""
        return None if self._identified is None else self._identified.home

    def get_user(self) -> str | None:
        """Return the user of the account; None until it is known."""
        return None if self._identified is None else self._identified.user

    def identify(self, now: bool = False) -> Greeting:
        """Connect, check that it is the same cluster, return the greeting.

        `now` skips the pause after a failure.
        """
        greeting = self.connection.connect(now)
        with self._identify_lock:
            if greeting is self._identified:
                return greeting
            began = time.monotonic()
            said = self._run_remotely(greeting, ["scontrol", "show", "config"], None, self.timeout_s)
            if said.exit_code:
                raise make_error("scontrol", said.exit_code, said.err or said.out)
            name = parse.parse_config(said.out).get("ClusterName", "")
            if self.own_name not in ("", name):
                text = f"{self.connection.login.host} leads to the cluster {name} now, not to {self.own_name}"
                raise ClusterUnreachable("scontrol", f"{self.connection.title}: {text}")
            self._take_config(said.out, began)
            self._identified = greeting
            return greeting

    def find_programs(self, greeting: Greeting) -> None:
        """Raise ClusterUnreachable unless SLURM's programs are on the PATH."""
        script = 'for p do command -v "$p" >/dev/null || echo "$p"; done'
        said = self._run_remotely(greeting, ["/bin/sh", "-c", script, "sh", *PROGRAMS], None, self.timeout_s)
        if missing := said.out.split():
            raise self._make_path_error(missing)

    def _make_path_error(self, programs: Sequence[str]) -> ClusterUnreachable:
        greeting = self.connection.greeting
        path = f" ({self.connection.build_environment(greeting)['PATH']})" if greeting is not None else ""
        text = (
            f"{', '.join(programs)} {'is' if len(programs) == 1 else 'are'} not on the PATH of the account on "
            f"{self.connection.login.host}{path}: set it in ~/.profile there, or PATH in env_vars of the profile"
        )
        return ClusterUnreachable(programs[0], f"{self.connection.title}: {text}")

    def explain_silence(self, said: str) -> str:
        """Explain that the programs are there, but SLURM does not answer."""
        title = self.connection.title
        if said.startswith(title):
            return said
        return f"{title}: SLURM on {self.connection.login.host} does not answer: {'; '.join(said.splitlines())}"

    def read_files(
        self, wanted: Sequence[tuple[str, int, int]], owner: int | None = None, folders: Sequence[str] = ()
    ) -> tuple[list[Slice], dict[str, str]]:
        """Read parts of files, and find where folders really lie.

        Each part: path, offset (negative: from the end) and how many bytes at most.

        Regular files only, no links, and with `owner` only those of that user id. One command, however many.
        """
        mark = secrets.token_hex(16)
        block = "\n".join(
            [
                build_timeout_line(self.timeout_s),
                _READING,
                *(_build_read_command(mark, *part, owner) for part in wanted),
                *(f"printf '\\n%s\\n' {mark}\nreadlink -m -- {shlex.quote(folder)}" for folder in folders),
            ]
        )
        parts = _split_parts(self._run_shell(block), mark, len(wanted) + len(folders))
        real = (part.decode("utf-8", "surrogateescape").removesuffix("\n") for part in parts[len(wanted) :])
        slices = [_parse_slice(part) for part in parts[: len(wanted)]]
        return slices, dict(zip(folders, real, strict=True))

    def read_changed(self, folder: str, known: Mapping[str, str], most_bytes: int) -> dict[str, ChangedFile]:
        """Read those of some files of a folder that changed, by name.

        `known` has the state in which each was read last, "" for none. One command, unless there are very many.
        """
        changed: dict[str, ChangedFile] = {}
        while True:
            left, mark = {name: state for name, state in known.items() if name not in changed}, secrets.token_hex(16)
            block = work_folders.build_changes_block(folder, left, most_bytes, _CHANGED_FILES, mark)
            said = self._run_shell(f"{build_timeout_line(self.timeout_s)}\n{block}")
            found = work_folders.parse_changes(said.out, left, most_bytes, mark)
            changed |= found
            if len(found) < _CHANGED_FILES:
                return changed

    def list_files(self, folder: str, names: Sequence[str], ending: str, most_files: int) -> list[str]:
        """List files in these folders below one folder, as `NAME/FILE`."""
        block = work_folders.build_listing_block(folder, names, ending, most_files)
        said = self._run_shell(f"{build_timeout_line(self.timeout_s)}\n{block}")
        return work_folders.parse_listing(said.out, folder, names)

    def remove_folder(self, folder: str) -> None:
        """Remove the folder with all that is in it; what cannot be stays."""
        block = work_folders.build_removal_block(folder)
        self._run_shell(f"{build_timeout_line(_REMOVAL_S)}\n{block}", _REMOVAL_S)

    def _run_shell(self, block: str, timeout_s: float | None = None) -> BlockResult:
        """Run shell that may be run twice."""
        for _ in range(2):
            greeting = self.identify()
            try:
                return self.connection.run_block(greeting, "ssh", block, timeout_s or self.timeout_s)
            except ConnectionGone as problem:
                gone = problem
        raise gone

    def find_home(self, user: str) -> str | None:
        """Find the home folder of a user; None if unknown."""
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", user):
            return None
        said = self.connection.run_block(self.identify(), "ssh", f"printf '%s' ~{user}", self.timeout_s)
        home = said.out.decode("utf-8", "replace")
        return home.rstrip("/") if home.startswith("/") else None

    def remove_files(self, files: Sequence[str], folders: Sequence[str]) -> None:
        """Remove files, then those of the folders that are empty.

        What cannot be removed stays.
        """
        check_arguments(["rm", *files, *folders])
        words = [f"rm -f -- {shlex.join(files)}"] if files else []
        words += [f"rmdir -- {shlex.join(folders)}"] if folders else []
        block = "\n".join([f"{word} 2>/dev/null </dev/null" for word in words])
        self.connection.run_block(self.identify(), "ssh", block, self.timeout_s)

    def _prefetch(self, soon: Sequence[Sequence[str]]) -> None:
        self._announced = [list(argv) for argv in soon]

    def _run(self, argv: list[str], stdin: str | None, timeout_s: float, needs: Needs = NO_NEEDS) -> Work[Answer]:
        yield from ()  # it waits for the way there in a thread, as all that is done over it
        check_arguments(argv)
        for _ in range(2):
            greeting = self.identify()
            source, answer = self._prefetched.pop(tuple(argv), (None, None))
            if answer is not None and source is greeting:
                return answer
            try:
                return self._run_remotely(greeting, argv, stdin, timeout_s, needs)
            except ConnectionGone as problem:
                gone = problem  # surely not begun, so it may be asked again over a new connection
        raise gone

    def _run_remotely(
        self, greeting: Greeting, argv: list[str], stdin: str | None, timeout_s: float, needs: Needs = NO_NEEDS
    ) -> Answer:
        soon, self._announced = (self._announced, []) if argv[0] == "squeue" else ([], self._announced)
        mark = secrets.token_hex(16)
        blocks = [self._build_block(greeting, argv, stdin, timeout_s, needs)]
        blocks += [self._build_block(greeting, call, None, timeout_s) for call in soon]
        # Each result follows its block, in both streams; that of the last is the result of the whole.
        between = f"\nc=$?; printf '\\n%s %s\\n' {mark} $c; printf '\\n%s\\n' {mark} >&2\n"
        sending_s = sum(map(len, needs.files.values())) / _SENT_BYTES_S
        said = self.connection.run_block(greeting, argv[0], between.join(blocks), timeout_s * len(blocks) + sending_s)
        if argv[0] == "squeue":
            self.squeue_s = said.took_s
        outs, errs = (text.decode("utf-8", "replace").split(f"\n{mark}") for text in (said.out, said.err))
        codes = [int(head.split("\n")[0]) for head in outs[1:]] + [said.code]
        outs, errs = outs[:1] + [out.partition("\n")[2] for out in outs[1:]], [err.removeprefix("\n") for err in errs]
        for call, code, out, err in list(zip(soon, codes[1:], outs[1:], errs[1:], strict=True)):
            self._prefetched[tuple(call)] = greeting, Answer(_to_signed_code(code), out, err)
        if codes[0] == _FOLDERS:
            field, _, why = errs[0].partition("\n")
            if is_momentary(why):
                raise ClusterUnreachable("sbatch", f"{field} {needs.folders[field]}: {why.strip()[:500]}")
            raise FolderRefused(field, needs.folders[field], why.strip()[:500])
        return self._to_answer(argv, codes[0], outs[0], errs[0], timeout_s)

    def _to_answer(self, argv: list[str], code: int, out: str, err: str, timeout_s: float) -> Answer:
        if code == _LATE and not (argv[0] == "sbatch" and find_new_id(out)):
            raise make_timeout_error(argv[0], err, timeout_s)
        if code == _MISSING:
            raise self._make_path_error([argv[0]])
        return Answer(_to_signed_code(code), out, err)

    def _build_block(
        self, greeting: Greeting, argv: list[str], stdin: str | None, timeout_s: float, needs: Needs = NO_NEEDS
    ) -> str:
        given = self.connection.build_environment(greeting)
        if argv[0] != "sbatch":  # it hands all on to the job
            given |= {"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}
        of_profile = {name: given.pop(name) for name in self.connection.secret_names}
        hidden = {**of_profile, **self._build_hidden_variables(argv[0]), **needs.secrets}
        words = [f"{name}={value}" for name, value in given.items()]
        if hidden:  # through a pipe, since everybody can read an argv
            rest = " </dev/null" if stdin is None else ""
            # The job's own PATH must not decide which sbatch it is.
            finding = f'sbatch=$(command -v "$1") || exit {_MISSING}; shift; ' if "PATH" in needs.secrets else ""
            running = f'exec "$sbatch" "$@"{rest}' if finding else f'exec "$@"{rest}'
            words += ["/bin/sh", "-c", f"{finding}{_build_reading(hidden)} {running}", "sh"]
            stdin = "".join(f"{_escape(value)}\n" for value in hidden.values()) + (stdin or "")
        program = f"{'s ' if argv[0] == 'sbatch' else ''}$T env -i {shlex.join([*words, *argv])}"
        fed = f"{program} </dev/null" if stdin is None else f"printf %s {shlex.quote(stdin)} | {program}"
        if needs.folders:
            made = " && ".join(f"f {shlex.join(pair)}" for pair in needs.folders.items())
            failed = f'printf \'%s\\n\' "$w" "$m" >&2; (exit {_FOLDERS})'
            unpacked = _build_unpacking(needs.folders["work_dir"], needs.files) if needs.files else ""
            fed = f"{_MAKING}\n{_UNPACKING}\nif {made}{unpacked or '; then'}\n{fed}\nelse {failed}; fi"
        if argv[0] == "sbatch":  # the mask travels to the job, and so to its logs
            fed = f"{_SUBMITTING}\numask {greeting.umask}\n{fed}"
        return f"{build_timeout_line(timeout_s)}\n{fed}"


def _escape(value: str) -> str:
    # A value as one line, as %b of printf reads it.
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _build_reading(variables: Mapping[str, str]) -> str:
    """Build the shell that reads variables, each from a line of its own."""
    lines = []
    for name, value in variables.items():
        # What stands behind the value keeps its last line breaks.
        expand = f"""{name}=$(printf '%b.' "${name}"); {name}=${{{name}%.}};""" if "\\" in _escape(value) else ""
        lines.append(f"IFS= read -r {name}; {expand} export {name};")
    return " ".join(lines)


def _to_signed_code(code: int) -> int:
    # sh(1): 128 + the signal that ended a program
    return 128 - code if 128 < code < 160 else code


# Makes a folder as the account's umask and the parent say, and looks whether a job could use it. Twice: somebody may
# remove an empty parent while it goes on.
_MAKING = """\
f() {
w=$1
m=$(mkdir -p -- "$2" 2>/dev/null || LC_ALL=C mkdir -p -- "$2" 2>&1) || return
m='no permission to enter it'
[ -x "$2" ] || return
m='no permission to write in it'
[ "$w" = work_dir ] || [ -w "$2" ]
}"""

# Unpacks an archive, in a folder that is there and becomes its owner's alone: also what programs make of the files is
# not for others on a shared machine. What is torn is told by gzip.
_UNPACKING = """\
u() {
w=work_dir
m=$( (umask 077; base64 -d | LC_ALL=C tar -xzf - -C "$1" && chmod go-rwx -- "$1") 2>&1)
}"""


def _build_unpacking(folder: str, files: Contents) -> str:
    """Build what goes on with `then` once the files are in the folder."""
    packed = io.BytesIO()
    import tarfile  # only for other machines: it takes 0.3 MB

    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    lines = base64.encodebytes(packed.getvalue()).decode()
    return f" && u {shlex.quote(folder)} <<'END'; then\n{lines}END"


# sbatch is ended when it goes on after its id: it waits for the job then, which does not need it. The first line is its
# process, the last its exit code.
_SUBMITTING = """\
s() {
{ /bin/sh -c 'echo $$; exec "$@"' sh "$@"; echo "ended $?"; } | {
read -r p; k=
while read -r line; do case $line in
"ended "*) [ -z "$k" ] || kill "$k" 2>/dev/null; exit "${line#ended }" ;;
[0-9]*) echo "$line"; { sleep 1; kill "$p"; } >/dev/null 2>&1 & k=$! ;;
*) printf '%s\\n' "$line" ;;
esac; done; }
}"""


# Opened first and then looked at, so that what was looked at is what is read, and told where it lies.
_READING = """\
f() {
if [ -h "$1" ]; then printf 'refused is a symbolic link\\n'
elif [ ! -e "$1" ]; then printf 'absent\\n'
elif [ ! -f "$1" ]; then printf 'refused is not a regular file\\n'
elif [ ! -r "$1" ]; then printf 'refused cannot be opened for reading\\n'
else g "$@" 3<"$1"; fi
}
g() {
set -- "$@" $(stat -L -c '%s %u %Y' /proc/self/fd/3)
o=$4
[ -n "$o" ] || o=$(id -u | sed 's/^0$//')
if [ -n "$o" ] && [ "$o" != "$6" ]; then printf 'refused belongs to somebody else\\n'; return; fi
at=$2
[ "$at" -ge 0 ] || at=$(($5 + at))
[ "$at" -ge 0 ] || at=0
printf 'read %s %s %s\\n' "$5" "$7" "$(readlink /proc/self/fd/3 | tr '\\n' '?')"
$T tail -c "+$((at + 1))" <&3 | head -c "$3"
}"""


def _build_read_command(mark: str, path: str, offset: int, most_bytes: int, owner: int | None) -> str:
    check_arguments(["cat", path])
    words = [path, str(min(offset, 2**62)), str(most_bytes), "" if owner is None else str(owner)]
    return f"printf '\\n%s\\n' {mark}\nf {shlex.join(words)}"


def _split_parts(said: BlockResult, mark: str, count: int) -> list[bytes]:
    parts = said.out.split(f"\n{mark}\n".encode())[1:]
    if len(parts) != count:
        raise UnreadableAnswer(f"asked for {count} files, told of {len(parts)}: {said.err[:200]!r}")
    return parts


def _parse_slice(part: bytes) -> Slice:
    head, _, data = part.partition(b"\n")
    kind, _, rest = head.decode("utf-8", "replace").partition(" ")
    if kind == "read" and (found := re.fullmatch(r"(\d+) (\d+) (/.*)\?", rest)):
        return Slice(data, int(found[1]), None, found[3], int(found[2]))
    return (
        Slice(refused=rest) if kind == "refused" else Slice() if kind == "absent" else Slice(refused="cannot be read")
    )


@dataclass
class Check:
    """What a check of an account found.

    `failed` is the first of `reasons.STEPS` that failed, None when all are passed; `error` says why and what to do.
    `found` is what the account told: `hostname`, `user`, `cluster`, `slurm_version`.
    """

    failed: str | None = None
    error: str | None = None
    warnings: list[str] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)


def check_account(slurm: RemoteSlurm) -> Check:
    """Check what an account needs, step by step up to the first that fails.

    Connects without any pause; what was connected before stays.
    """
    check, step = Check(), "login"
    try:
        greeting = slurm.connection.connect(now=True)
        check.found |= {"hostname": greeting.host, "user": greeting.user}
        check.warnings += _list_warnings(greeting)
        step = "path"
        slurm.find_programs(greeting)
        step = "slurm"
        slurm.identify()
        check.found |= {"cluster": slurm.own_name, "slurm_version": slurm.get_config().get("SLURM_VERSION", "")}
    except SlurmError as problem:
        check.failed = (problem.step if isinstance(problem, ConnectionLost) else "") or step
        check.error = slurm.explain_silence(str(getattr(problem, "text", problem)))
    return check


def _list_warnings(greeting: Greeting) -> list[str]:
    warnings = []
    if greeting.noise:
        said = "".join(letter for letter in " ".join(greeting.noise.split()) if letter.isprintable())[:200]
        warnings.append(
            f"the start files of the account print text: {said} (commands work, but rsync fails: let them print only "
            "where somebody types)"
        )
    if greeting.unwritable:
        warnings.append(f"nothing can be written in {greeting.home}: {greeting.unwritable} (runs need it)")
    return warnings

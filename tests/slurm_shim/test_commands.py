"""The words spoken to SLURM: what reaches the programs, what their refusals mean, what happens when nobody answers.

The programs are small shell scripts of the test on a PATH of its own: each writes its arguments down.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm_shim import commands, parse
from slurm_shim.commands import Slurm, normalize_signal
from slurm_shim.errors import (
    AccountingOff,
    ClusterUnreachable,
    JobFinished,
    JobUnknown,
    NodeUnknown,
    SlurmBusy,
    SlurmConflict,
    SlurmDenied,
    SlurmError,
    SlurmInvalid,
    SlurmRefused,
    SlurmUnreachable,
    UnreadableAnswer,
    make_error,
    restore_refusal,
)
from slurm_shim.programs import Breaker
from tests import ROOT
from tests.slurm_programs import Programs

DATA = ROOT / "tests" / "data" / "slurm" / "22.05"


# What a shell script needs to answer with a recorded file under the nonce it was asked with.
REPLAY_SQUEUE = 'n=${SQUEUE_FORMAT2#*:}; n=${n%%%%,*}; sed "s/~4f1c9a~/$n/g" %s'
REPLAY_SACCT = 'for a in "$@"; do case $a in --delimiter=*) n=${a#*=};; esac; done; sed "s/~4f1c9a~/$n/g" %s'


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("command", "exit_code", "stderr", "ids", "kind", "reason"),
    [
        (
            *("sbatch", 1),
            "sbatch: error: invalid partition specified: nope\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified\n",
            *((), SlurmInvalid, "Invalid partition name specified"),
        ),
        (
            "sbatch",
            255,
            "sbatch: error: Invalid --time specification\n",
            (),
            SlurmInvalid,
            "Invalid --time specification",
        ),
        (
            *(
                "sbatch",
                255,
                "/usr/bin/sbatch: unrecognized option '--frob'\nTry \"sbatch --help\" for more information\n",
            ),
            *((), SlurmInvalid, "unrecognized option '--frob'"),
        ),
        (
            *("sbatch", 1, "sbatch: error: Unable to open file /no/such/file.sh\n"),
            *((), SlurmInvalid, "Unable to open file /no/such/file.sh"),
        ),
        (
            *("sbatch", 1),
            "sbatch: error: This does not look like a batch script.  The first\n"
            "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
            "sbatch: error: For instance: #!/bin/sh\n",
            *((), SlurmInvalid),
            "This does not look like a batch script. The first line must start with #! followed by the path to an "
            "interpreter.",
        ),
        ("sbatch", 1, "sbatch: error: Batch script is empty!\n", (), SlurmInvalid, "Batch script is empty!"),
        (
            *(
                "sbatch",
                1,
                "sbatch: error: Batch job submission failed: Requested node configuration is not available\n",
            ),
            *((), SlurmInvalid, "Requested node configuration is not available"),
        ),
        (
            *("sbatch", 1, "sbatch: error: Batch job submission failed: Job dependency problem\n"),
            *((), SlurmInvalid, "Job dependency problem"),
        ),
        (
            *("sbatch", 1),
            "sbatch: error: Batch job submission failed: Required partition not available (inactive or drain)\n",
            *((), SlurmConflict, "Required partition not available (inactive or drain)"),
        ),
        (
            *("sbatch", 1),
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
            "sbatch: error: Batch job submission failed: Resource temporarily unavailable\n",
            *((), SlurmBusy, None),
        ),
        (
            *("sbatch", 1),
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n",
            *((), SlurmUnreachable, None),
        ),
        (
            *("sbatch", 1, "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"),
            *((), SlurmUnreachable, None),
        ),
        (
            *("squeue", 1, "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"),
            *((), SlurmUnreachable, None),
        ),
        (
            *("squeue", 1),
            "squeue: error: s_p_parse_file: cannot stat file /nonexistent: No such file or directory, retrying\n"
            "squeue: error: ClusterName needs to be specified\nsqueue: fatal: Unable to process configuration file\n",
            *((), SlurmUnreachable, None),
        ),
        (
            *("sacct", 1, "sacct: error: Problem talking to the database: Connection refused\n"),
            *((), SlurmUnreachable, None),
        ),
        (
            "squeue",
            1,
            "slurm_load_jobs error: Invalid job id specified\n",
            ("9",),
            JobUnknown,
            "Invalid job id specified",
        ),
        (
            *("scontrol", 1, "Invalid job id specified for job 99\nslurm_suspend error: Invalid job id specified\n"),
            *(("99",), JobUnknown, "Invalid job id specified"),
        ),
        (
            *("scontrol", 1, "Job has already finished for job 256\n"),
            *(("256",), JobFinished, "Job has already finished"),
        ),
        (
            *("scontrol", 1, "Job is pending execution for job 12\n"),
            *(("12",), SlurmConflict, "Job is pending execution"),
        ),
        (
            *("scontrol", 1, "Job is in held state, pending scheduler release for job 202\n"),
            *(("202",), SlurmConflict, "Job is in held state, pending scheduler release"),
        ),
        (
            *("scancel", 228),
            "scancel: error: Kill job error on job id 12: Job can not be altered now, try again later\n",
            *(("12",), SlurmConflict, "Job can not be altered now, try again later"),
        ),
        (
            *("scancel", 210, "scancel: error: Kill job error on job id 12: Access/permission denied\n"),
            *(("12",), SlurmDenied, "Access/permission denied"),
        ),
        (
            *("scontrol", 1, "Invalid user id for job 12\nslurm_suspend error: Invalid user id\n"),
            *(("12",), SlurmDenied, "Invalid user id"),
        ),
        (
            *("scontrol", 1, "scontrol: error: Invalid Priority value: -1\n"),
            *(("12",), SlurmInvalid, "Invalid Priority value: -1"),
        ),
        ("scontrol", 1, "Node nope not found\n", (), NodeUnknown, "Node nope not found"),
        (
            *("scontrol", 1, "slurm_update error: Invalid node state specified\n"),
            *((), SlurmConflict, "Invalid node state specified"),
        ),
        ("scancel", 1, "Unknown job signal: FOO\n", ("4",), SlurmInvalid, "Unknown job signal: FOO"),
        ("scontrol", 1, "something new\n", (), SlurmRefused, "something new"),
        ("scontrol", 3, "", (), SlurmRefused, "scontrol ended with exit code 3"),
        ("sbatch", -9, "", (), SlurmUnreachable, None),
    ],
)
def test_what_a_refusal_means(
    command: str, exit_code: int, stderr: str, ids: tuple[str, ...], kind: type[SlurmError], reason: str | None
) -> None:
    error = make_error(command, exit_code, stderr, ids)
    assert type(error) is kind
    if reason is not None:
        assert isinstance(error, SlurmRefused)
        assert (error.reason, error.exit_code) == (reason, exit_code)
    if isinstance(error, JobUnknown | JobFinished):
        assert error.job_id == ids[0]


NO_SCRIPT = """\
sbatch: error: This does not look like a batch script.  The first
sbatch: error: line must start with #! followed by the path to an interpreter.
sbatch: error: For instance: #!/bin/sh"""
NO_SCRIPT_REASON = (
    "This does not look like a batch script. The first line must start with #! followed by the path to an interpreter."
)
FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("why", "stderr", "kind", "text"),
    [
        (
            "a value that reads like an outage",
            f"sbatch: error: invalid partition specified: connection refused\n{FAILED}Invalid partition name specified",
            *(SlurmInvalid, "Invalid partition name specified (invalid partition specified: connection refused)"),
        ),
        (
            "a site's own plugin",
            f"sbatch: error: License server lic01: connection refused, try later\n{FAILED}Unspecified error",
            *(SlurmRefused, "Unspecified error (License server lic01: connection refused, try later)"),
        ),
        (
            "a plugin that speaks of permissions",
            f"sbatch: error: Access denied? Ask your admin.\n{FAILED}Invalid qos specification",
            *(SlurmInvalid, "Invalid qos specification (Access denied? Ask your admin.)"),
        ),
        (
            "a value that reads like a denial",
            'sbatch: error: Invalid numeric value "access denied" for --ntasks.',
            *(SlurmInvalid, 'Invalid numeric value "access denied" for --ntasks.'),
        ),
        (
            "what sums up need not come last",
            f"{FAILED}Access/permission denied\nsbatch: error: see https://hpc.example.com",
            *(SlurmDenied, "Access/permission denied (see https://hpc.example.com)"),
        ),
        (
            "a plugin with sbatch's own words before it",
            f"{FAILED}Connection refused\n{FAILED}Invalid qos specification",
            *(SlurmInvalid, "Invalid qos specification (Batch job submission failed: Connection refused)"),
        ),
        (
            "the limit that was hit",
            f"sbatch: error: QOSMaxCpuPerJobLimit\n{FAILED}Job violates accounting/QOS policy (job submit limit)",
            *(SlurmDenied, "Job violates accounting/QOS policy (job submit limit) (QOSMaxCpuPerJobLimit)"),
        ),
        (
            "a limit that time removes",
            f"sbatch: error: AssocMaxSubmitJobLimit\n{FAILED}Job violates accounting/QOS policy (job submit limit)",
            *(SlurmBusy, None),
        ),
        (
            "the same line is told once",
            f"sbatch: error: why\nsbatch: error: why\n{FAILED}Job dependency problem",
            *(SlurmInvalid, "Job dependency problem (why)"),
        ),
        ("a script that is none, in three lines", NO_SCRIPT, SlurmInvalid, NO_SCRIPT_REASON),
        ("a quote that is open", 'sbatch: fatal: stdin: line 2: Unmatched `"` in [-J "a]', SlurmInvalid, None),
    ],
)
def test_what_sbatch_says_is_told_whole_and_its_summary_counts(
    why: str, stderr: str, kind: type[SlurmError], text: str | None
) -> None:
    error = make_error("sbatch", 1, stderr + "\n")
    assert type(error) is kind, why
    assert text is None or str(error) == text
    if isinstance(error, SlurmRefused):
        again = restore_refusal(error.word, "sbatch", str(error))
        assert (type(again), str(again), again.command) == (kind, str(error), "sbatch"), "as a run's file keeps it"


def test_a_long_complaint_is_cut() -> None:
    error = make_error("sbatch", 1, "".join(f"sbatch: error: advice {n}\n" for n in range(5000)) + f"{FAILED}No")
    assert str(error).startswith("No (advice 0; advice 1; ") and len(str(error)) == 2000


@pytest.mark.parametrize(
    ("why", "stderr", "uncertain"),
    [
        ("never reached anybody", "Unable to contact slurm controller (connect failure)", False),
        ("sent, no answer", "Socket timed out on send/recv operation", True),
        ("refused for now", "Slurm temporarily unable to accept job, sleeping and retrying", False),
    ],
)
def test_whether_it_may_have_happened_all_the_same(why: str, stderr: str, uncertain: bool) -> None:
    error = make_error("sbatch", 1, f"sbatch: error: {stderr}\n")
    assert isinstance(error, SlurmUnreachable)
    assert error.uncertain is uncertain, why


# ------------------------------------------------------------------------------------------- what reaches programs


def test_sbatch_gets_single_tokens_and_the_script_on_stdin(programs: Programs) -> None:
    programs.write("sbatch", f"cat > {programs.folder}/script; echo '4711;cluster'")
    script = "#!/bin/sh\necho '%s' \\ \n" + "# " + "é" * 100_000 + "\n"
    options = {
        "job_name": "-J x",
        "hold": True,
        "mem": None,
        "requeue": False,
        "comment": "a b\n'\"$(id)`id`",
        "nice": 5,
    }
    assert programs.slurm().sbatch(script, options) == "4711"
    assert (programs.folder / "script").read_text() == script
    call = programs.calls("sbatch")[0]
    assert call == ["--parsable", "--job-name=-J x", "--hold", "--comment=a b", "'\"$(id)`id`", "--nice=5"]


def test_sbatch_of_a_file_with_arguments(programs: Programs) -> None:
    programs.write("sbatch", "echo 12")
    assert programs.slurm().sbatch("", {"script_file": "/a b.sh"}, ["--wrap=id", "x y"]) == "12"
    assert programs.calls("sbatch") == [["--parsable", "--", "/a b.sh", "--wrap=id", "x y"]]


def test_the_server_s_environment_reaches_neither_programs_nor_jobs(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SQUEUE_FORMAT", "SBATCH_PARTITION", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT", "AWS_SECRET"):
        monkeypatch.setenv(name, "leak")
    for program in ("sbatch", "squeue", "scontrol"):
        programs.write(program, f"env > {programs.folder}/{program}.env; test {program} != sbatch || echo 1")
    slurm = programs.slurm()
    slurm.sbatch("#!/bin/sh\n", {})
    slurm.squeue()
    slurm.list_nodes()

    def seen(program: str) -> dict[str, str]:
        lines = (programs.folder / f"{program}.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    shell_s_own = {"PWD", "OLDPWD", "SHLVL", "_"}
    base = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "SLURM_CONF", "TZ"} | shell_s_own
    assert seen("sbatch").keys() <= base
    for program in ("squeue", "scontrol"):
        assert seen(program).keys() <= base | {"SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN", "SQUEUE_FORMAT2"}
        assert (seen(program)["SLURM_TIME_FORMAT"], seen(program)["SLURM_BITSTR_LEN"]) == ("%s", "0")


@pytest.mark.parametrize(
    ("why", "speak", "program", "expected"),
    [
        (
            "cancel",
            lambda s: s.scancel(["1", "8_3", "8_[3-6]", "9+1"]),
            "scancel",
            ["--", "1", "8_3", "8_[3-6]", "9+1"],
        ),
        (
            "signal to the batch script and its steps",
            lambda s: s.scancel(["1"], signal="SIGUSR1", full=True),
            "scancel",
            ["--signal=USR1", "--full", "--", "1"],
        ),
        (
            "signal to the batch script",
            lambda s: s.scancel(["1"], signal="15", batch=True),
            "scancel",
            ["--signal=15", "--batch", "--", "1"],
        ),
        ("hold", lambda s: s.hold(["1", "2"]), "scontrol", ["hold", "1", "2"]),
        ("hold as the owner", lambda s: s.uhold(["1"]), "scontrol", ["uhold", "1"]),
        ("release", lambda s: s.release(["1"]), "scontrol", ["release", "1"]),
        ("requeue", lambda s: s.requeue(["1"]), "scontrol", ["requeue", "1"]),
        (
            "update",
            lambda s: s.update_job("1", priority=5, name="a b"),
            "scontrol",
            ["update", "jobid=1", "priority=5", "name=a b"],
        ),
    ],
)
def test_changing_words(
    programs: Programs, why: str, speak: Callable[[Slurm], None], program: str, expected: list[str]
) -> None:
    programs.write(program)
    speak(programs.slurm())
    assert programs.calls(program) == [expected], why


@pytest.mark.parametrize(
    ("why", "speak"),
    [
        ("an option in place of an id", lambda s: s.scancel(["--user=alice"])),
        ("no id", lambda s: s.hold(["all"])),
        ("an option's name", lambda s: s.sbatch("", {"wrap=id --x": "y"})),
        ("a field's name", lambda s: s.update_job("1", **{"comment=x priority": 5})),
        ("NUL", lambda s: s.sbatch("", {"comment": "a\0b"})),
        ("half a character", lambda s: s.sbatch("", {"comment": "\ud800"})),
        ("longer than the system takes", lambda s: s.sbatch("", {"comment": "x" * 200_000})),
        ("arguments without a file", lambda s: s.sbatch("", {}, ["x"])),
        ("no signal", lambda s: s.scancel(["1"], signal="FOO")),
        ("a number beyond the last signal", lambda s: s.scancel(["1"], signal="99")),
    ],
)
def test_what_is_no_slurm_word_starts_no_program(programs: Programs, why: str, speak: Callable[[Slurm], None]) -> None:
    for program in ("sbatch", "scancel", "scontrol"):
        programs.write(program, "echo 1")
    with pytest.raises(ValueError, match=r"."):
        speak(programs.slurm())
    assert [programs.calls(program) for program in ("sbatch", "scancel", "scontrol")] == [[], [], []], why


def test_many_ids_go_in_lots(programs: Programs) -> None:
    programs.write("scancel")
    programs.slurm().scancel([str(number) for number in range(1, 1202)])
    assert [len(call) for call in programs.calls("scancel")] == [501, 501, 202]


@pytest.mark.parametrize(
    ("given", "expected"), [("TERM", "TERM"), ("sigusr1", "USR1"), ("9", "9"), (" KILL ", "KILL"), ("64", "64")]
)
def test_signal_names(given: str, expected: str) -> None:
    assert normalize_signal(given) == expected


# ---------------------------------------------------------------------------------------------------------- reading


def test_squeue_reads_an_answer_whose_nonce_no_other_user_can_read(programs: Programs) -> None:
    programs.write("squeue", f"env > {programs.folder}/env; {REPLAY_SQUEUE % (DATA / 'squeue-names')}")
    slurm = programs.slurm()
    first, second = slurm.squeue(), slurm.squeue()
    assert len(first) == 19
    assert all(job is again for job, again in zip(first, second, strict=True))
    assert programs.calls("squeue") == [["-h", "-a", "-t", "all"]] * 2
    asked = re.search("^SQUEUE_FORMAT2=(.*)$", (programs.folder / "env").read_text(), re.MULTILINE)
    assert asked and asked[1].count(":~") == len(parse.JOB_FIELDS)
    assert asked[1] not in programs.slurm()._build_hidden_variables("squeue").values(), "each server has its own"


def test_an_unknown_job_has_no_rows(programs: Programs) -> None:
    programs.write("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert programs.slurm().squeue(["99"]) == []
    assert programs.calls("squeue")[0][-1] == "--jobs=99"


def test_sacct_by_id_and_by_time(programs: Programs) -> None:
    programs.write("sacct", REPLAY_SACCT % (DATA / "sacct"))
    slurm = programs.slurm()
    assert len(slurm.sacct(["1", "8_[3-6]", "1", "14_3"])) == len(slurm.sacct(since_s=3600)) == 21
    by_id, by_time = programs.calls("sacct")
    assert "--jobs=1,8,14_3" in by_id
    assert by_time[by_time.index("-S") : by_time.index("-S") + 4] == ["-S", "now-3600seconds", "-E", "now"]
    assert slurm.sacct([]) == []
    assert len(programs.calls("sacct")) == 2


def test_tags_are_found_in_what_was_submitted(programs: Programs) -> None:
    line = "7%s7%sann%s1000%s1795284242%sFAILED%s%ssbatch --comment=sluice:ab\nx%s\n".replace("%s", "${n}")
    programs.write(
        "sacct", f'for a in "$@"; do case $a in --delimiter=*) n=${{a#*=}};; esac; done; printf "%b" "{line}"'
    )
    assert programs.slurm().list_submitted(0.0) == [
        {
            "job_id": "7",
            "raw_id": 7,
            "user": "ann",
            "uid": 1000,
            "submit_time": 1795284242,
            "state": "FAILED",
            "comment": None,
        }
        | {"comment": None, "submit_line": "sbatch --comment=sluice:ab\nx"}
    ]


@pytest.mark.parametrize(
    ("why", "ahead_s", "measured"),
    [("its clock is ours", 0, False), ("behind ours", -300, True), ("ahead of ours", 300, True)],
)
def test_the_clock_of_the_controller(programs: Programs, why: str, ahead_s: int, measured: bool) -> None:
    answer = f"echo Configuration data as of $(( $(date +%s) + {ahead_s} )); echo 'MinJobAge = 5 sec'"
    programs.write("scontrol", answer)
    slurm = programs.slurm()
    assert (slurm.clock_offset_s, slurm.queue_remembers_s) == (0.0, 0.0), "nobody knows yet"
    slurm.load_config()
    assert slurm.queue_remembers_s == 5.0
    assert abs(slurm.clock_offset_s - ahead_s) < 100, why
    assert slurm.clock_offset_s or not measured, why


@pytest.mark.parametrize(
    ("why", "shell", "taken"),
    [
        ("it prints an id and ends badly", "echo 7; echo 'lua: bad plugin' >&2; exit 1", "7"),
        ("it says it in words", "echo 'Submitted batch job 7'", "7"),
        ("it prints an id and hangs", "echo 7; exec sleep 600", "7"),
        ("it prints garbage and ends badly", "echo '?!'; exit 1", None),
        ("it prints nothing", "exit 0", None),
        ("half an id, and it is killed", "printf 7; kill -9 $$", None),
    ],
)
def test_a_printed_id_is_a_job(programs: Programs, why: str, shell: str, taken: str | None) -> None:
    programs.write("sbatch", shell)
    if taken is not None:
        assert programs.slurm().sbatch("#!/bin/sh\n", {}) == taken, why
        return
    with pytest.raises(SlurmUnreachable) as refused:
        programs.slurm().sbatch("#!/bin/sh\n", {})
    assert refused.value.uncertain, why


def test_nodes_partitions_config(programs: Programs) -> None:
    programs.write(
        "scontrol",
        f'case "$*" in *node) cat {DATA}/nodes;; *partition) cat {DATA}/partitions;; *config) cat {DATA}/config;; '
        'ping) echo "Slurmctld(primary) at vm is UP";; --version) echo slurm 22.05.8;; esac',
    )
    slurm = programs.slurm()
    assert (len(slurm.list_nodes()), len(slurm.list_partitions())) == (4, 2)
    assert (slurm.get_cluster_name(), slurm.has_accounting()) == ("sluicetest", True)
    assert slurm.ping() == {"up": True, "version": "22.05.8", "controller": "vm"}
    assert [call for call in programs.calls("scontrol") if call[-1] == "config"] == [["show", "config"]]


def test_accounting_that_is_switched_off_and_on_is_noticed(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    def switch(kind: str, sacct: str) -> None:
        programs.write("scontrol", f"echo 'AccountingStorageType = accounting_storage/{kind}'")
        programs.write("sacct", sacct)

    off = "echo 'Slurm accounting storage is disabled' >&2; exit 1"
    switch("slurmdbd", "true")
    slurm = programs.slurm()
    assert [slurm.find_accounted(["1"]) for _ in range(2)] == [[], []]
    switch("slurmdbd", off)  # the controller is not started again yet
    assert [slurm.find_accounted(["1"]) for _ in range(3)] == [None] * 3
    assert (len(programs.calls("scontrol")), len(programs.calls("sacct"))) == (1, 3), "a no is not asked again at once"
    with pytest.raises(AccountingOff):
        slurm.sacct(["1"])
    monkeypatch.setattr(commands, "NO_ACCOUNTING_S", 0.0)
    switch("none", off)
    slurm.find_accounted(["1"])
    slurm._no_accounting_until = 1.0  # a minute later
    assert slurm.find_accounted(["1"]) is None and not slurm.has_accounting()
    switch("slurmdbd", "true")
    assert slurm.find_accounted(["1"]) == [] and slurm.has_accounting()


def test_a_controller_that_is_down_does_not_ping(programs: Programs) -> None:
    programs.write("scontrol", 'test $1 = ping || exit 0; echo "Slurmctld(primary) at vm is DOWN"; exit 1')
    assert programs.slurm().ping()["up"] is False
    assert Slurm(str(programs.folder), None).ping() == {"up": False, "version": "", "controller": ""}


def test_bytes_that_are_no_text_are_replaced(programs: Programs) -> None:
    programs.write("scontrol", r"printf 'NodeName=n1 State=IDLE Reason=bad \377\376 bytes\n'")
    assert programs.slurm().list_nodes()[0]["reason"] == "bad \ufffd\ufffd bytes"


@pytest.mark.parametrize(
    ("why", "shell", "kind"),
    [
        ("no id printed", "echo hello", SlurmUnreachable),
        ("nothing printed", "", SlurmUnreachable),
        ("killed", "kill -9 $$", SlurmUnreachable),
        ("refused", "echo 'sbatch: error: Batch script is empty!' >&2; exit 1", SlurmInvalid),
    ],
)
def test_submissions_that_fail(programs: Programs, why: str, shell: str, kind: type[SlurmError]) -> None:
    programs.write("sbatch", shell)
    with pytest.raises(kind) as caught:
        programs.slurm().sbatch("#!/bin/sh\n", {})
    if isinstance(caught.value, SlurmUnreachable):
        assert caught.value.uncertain, why


@pytest.mark.parametrize(
    ("why", "shell"),
    [
        ("--wait", "echo '12;here'; exec sleep 600"),
        ("--wait, and the job has failed", "echo 12; exit 7"),
        ("a wrapper that talks on", "echo hello; echo 12; echo 'see https://hpc.example.com'"),
    ],
)
def test_the_id_is_enough(programs: Programs, why: str, shell: str) -> None:
    programs.write("sbatch", f"echo $$ > {programs.folder}/pid; cat > {programs.folder}/script; {shell}")
    slurm = programs.slurm()
    for _ in range(3):
        assert slurm.sbatch("#!/bin/sh\n", {}) == "12", why
    assert (programs.folder / "script").read_text() == "#!/bin/sh\n"
    assert not is_running(int((programs.folder / "pid").read_text())), "nobody waits for the job"


def test_submissions_do_not_open_the_breaker(programs: Programs) -> None:
    programs.write("sbatch", f"echo '{FAILED}Unable to contact slurm controller' >&2; exit 1")
    programs.write("squeue")
    slurm = programs.slurm()
    for _ in range(5):
        with pytest.raises(SlurmUnreachable):
            slurm.sbatch("#!/bin/sh\n", {})
    assert len(programs.calls("sbatch")) == 5 and slurm.squeue() == []


def test_a_submission_is_no_probe(programs: Programs) -> None:
    programs.write("sbatch", "echo 1")
    slurm = programs.slurm()
    slurm.controller = Breaker(limit=1, now=lambda: 100.0)
    slurm.controller.leave(SlurmUnreachable("squeue", "gone"))
    slurm.controller._next_probe = 0.0
    with pytest.raises(SlurmUnreachable, match="gone"):
        slurm.sbatch("#!/bin/sh\n", {})
    assert programs.calls("sbatch") == []
    slurm.controller.enter("squeue")


def test_an_estimate_is_no_submission(programs: Programs) -> None:
    programs.write("sbatch", "echo 'sbatch: Job 57 to start at 2026-11-29T07:43:44 using 1 processors' >&2")
    with pytest.raises(SlurmInvalid, match="--test-only in the script submits nothing"):
        programs.slurm().sbatch("#!/bin/sh\n", {})


def test_an_answer_of_another_form(programs: Programs) -> None:
    programs.write("squeue", "echo 'JOBID PARTITION'")
    with pytest.raises(UnreadableAnswer):
        programs.slurm().squeue()


# --------------------------------------------------------------------------------------------------- nobody answers


def test_a_program_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(SlurmUnreachable, match="not installed") as caught:
        Slurm(str(tmp_path), None).sbatch("#!/bin/sh\n", {})
    assert not caught.value.uncertain


def test_a_time_out_ends_the_program_and_all_it_started(programs: Programs) -> None:
    programs.write("sbatch", f"sleep 600 & echo $! > {programs.folder}/pid; wait")
    slurm = programs.slurm(timeout_s=1.0)
    with pytest.raises(SlurmUnreachable, match="no answer") as caught:
        slurm.sbatch("#!/bin/sh\n", {})
    assert caught.value.uncertain
    pid = int((programs.folder / "pid").read_text())
    until = time.monotonic() + 180
    while is_running(pid):
        assert time.monotonic() < until
        time.sleep(0.01)  # a signal takes effect when the process is scheduled next; there is nothing to await


def is_running(pid: int) -> bool:
    """Whether a process is there and no mere zombie, as killed ones stay where nobody reaps orphans."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def test_a_time_out_tells_what_was_complained_about(programs: Programs) -> None:
    programs.write(
        "sbatch", "echo 'sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying' >&2; sleep 600"
    )
    with pytest.raises(SlurmBusy):
        programs.slurm(timeout_s=1.0).sbatch("#!/bin/sh\n", {})


def test_the_breaker_fails_fast_and_recovers(programs: Programs) -> None:
    down = programs.folder / "down"
    down.touch()
    programs.write("squeue", f"test -e {down} || exit 0; echo 'Unable to contact slurm controller' >&2; exit 1")
    programs.write("sacct")
    slurm = programs.slurm()
    clock = [100.0]
    slurm.controller = Breaker(limit=3, pause_s=5.0, now=lambda: clock[0])
    for _ in range(6):
        with pytest.raises(SlurmUnreachable):
            slurm.squeue()
    assert len(programs.calls("squeue")) == 3  # the others were not even tried
    assert slurm.sacct(["1"]) == []  # the database has a breaker of its own
    clock[0] += 5.0
    for _ in range(3):  # one probe, then another pause
        with pytest.raises(SlurmUnreachable):
            slurm.squeue()
    assert len(programs.calls("squeue")) == 4
    down.unlink()
    clock[0] += 5.0
    assert slurm.squeue() == []
    assert slurm.squeue() == []
    assert len(programs.calls("squeue")) == 6


def test_a_refusal_does_not_open_the_breaker(programs: Programs) -> None:
    programs.write("scontrol", "echo 'Invalid job id specified for job 9' >&2; exit 1")
    slurm = programs.slurm()
    for _ in range(5):
        with pytest.raises(JobUnknown):
            slurm.hold(["9"])
    assert len(programs.calls("scontrol")) == 5


def test_only_one_probe_at_a_time() -> None:
    clock = [0.0]
    breaker = Breaker(limit=1, pause_s=5.0, now=lambda: clock[0])
    breaker.enter("squeue")
    breaker.leave(SlurmUnreachable("squeue", "gone"))
    clock[0] = 5.0
    breaker.enter("squeue")
    with pytest.raises(SlurmUnreachable, match="gone"):
        breaker.enter("squeue")
    breaker.leave(None)
    breaker.enter("squeue")


@pytest.mark.parametrize(
    ("why", "failure", "text"),
    [
        (
            "what was written for people",
            ClusterUnreachable("squeue", "key k cannot be read: No such file"),
            "key k cannot",
        ),
        (
            "what SLURM printed",
            SlurmUnreachable("squeue", "squeue: error: a: Connection refused"),
            "squeue: Connection",
        ),
    ],
)
def test_an_open_breaker_tells_the_last_failure_as_it_was_told(why: str, failure: SlurmUnreachable, text: str) -> None:
    breaker = Breaker(limit=1, now=lambda: 0.0)
    for _ in range(2):
        breaker.leave(failure)
        with pytest.raises(SlurmUnreachable) as again:
            breaker.enter("squeue")
        assert text in str(again.value), why


def test_calls_from_many_threads(programs: Programs) -> None:
    programs.write("squeue", REPLAY_SQUEUE % (DATA / "squeue"))
    slurm = programs.slurm()
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(slurm.squeue()))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [32] * 12


def test_no_file_descriptor_stays_open_or_reaches_a_program(programs: Programs) -> None:
    programs.write("scontrol", f"ls /proc/$$/fd > {programs.folder}/fds; exit 1")
    slurm = programs.slurm()
    secret = os.open(programs.folder, os.O_RDONLY)
    other = os.dup2(secret, 157)  # inheritable, as a careless library would have it
    try:
        before = open_descriptors()
        for _ in range(5):
            with pytest.raises(SlurmRefused):
                slurm.list_nodes()
        assert open_descriptors() == before
    finally:
        os.close(secret)
        os.close(other)
    assert "157" not in (programs.folder / "fds").read_text().split()


def open_descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir() if entry.exists()}


HOLDER = """
import fcntl, os, sys
from slurm_shim.commands import Slurm
fd = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_EX)
Slurm(sys.argv[1], None, 600.0, hold_fd=fd).sbatch("#!/bin/sh\\n", {})
"""


def test_a_lock_stays_held_until_an_sbatch_in_flight_has_ended(programs: Programs) -> None:
    go = programs.folder / "go"
    os.mkfifo(go)
    started = programs.folder / "started"
    os.mkfifo(started)
    programs.write("sbatch", f"echo > {started}; read x < {go}; echo 5")
    lock = programs.folder / "lock"
    path = f"{programs.bin}:/usr/bin:/bin"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    server = subprocess.Popen([sys.executable, "-c", HOLDER, path, str(lock)], env=environment)
    started.read_text()  # sbatch is in flight
    server.kill()
    server.wait()
    with lock.open("r+") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        go.write_text("\n")  # sbatch ends
        fcntl.flock(file, fcntl.LOCK_EX)  # returns: nobody holds it any more

"""The fields that Sluice itself asks for, and how one record of them is checked."""

from __future__ import annotations

from tests.behaviour.row import Looks, RowFolder, like, look_until

NONCE = "~4f1c9a0b7d2e~"
EPOCH = {"SLURM_TIME_FORMAT": "%s"}


def columns(names: str) -> list[str]:
    """The field names in a text, in order."""
    return names.split()


JOB_FIELDS = columns(
    "JobArrayID JobID ArrayJobID ArrayTaskID HetJobID HetJobOffset UserName UserID Account Partition QOS "
    "State Reason SubmitTime StartTime EndTime TimeUsed TimeLimit NumNodes NumCPUs MinMemory tres-alloc "
    "tres-per-node PriorityLong NodeList SchedNodes BatchHost Dependency exit_code RestartCnt Command "
    "WorkDir STDOUT STDERR Comment Name"
)
NODE_FIELDS = columns(
    "NodeList NodeHost PartitionName StateComplete StateLong CPUsState CPUsLoad Memory AllocMem FreeMem Gres "
    "GresUsed Features features_act Version Weight Timestamp UserLong Comment Reason"
)
HISTORY_FIELDS = columns(
    "JobID JobIDRaw User UID Account Partition QOS State Submit Eligible Start End ElapsedRaw TimelimitRaw "
    "NNodes NCPUS ReqMem ReqTRES AllocTRES Priority NodeList ExitCode DerivedExitCode Reason WorkDir JobName"
)
ALL_STATES = "BF,CA,CD,DL,F,NF,OOM,PD,PR,R,RQ,RS,RV,S,TO"


def to_format(fields: list[str]) -> str:
    """The -O argument that puts the delimiter after every field and an E after the last."""
    return ",".join(f"{name}:{NONCE}" for name in fields) + "E"


def record(text: str, fields: list[str], end: str) -> dict[str, str]:
    """One record by field name; raises AssertionError unless there is exactly one with every field."""
    records = text.split(end)
    assert len(records) == 2, f"{len(records) - 1} records, expected 1: {text!r}"
    assert records[1].strip() == "", f"text after the last record: {records[1]!r}"
    values = records[0].split(NONCE)
    assert len(values) == len(fields), f"{len(values)} fields, expected {len(fields)}: {values}"
    return dict(zip(fields, values, strict=True))


def agree(got: dict[str, str], expected: dict[str, str], place: RowFolder) -> None:
    """Check every expected field against its pattern."""
    wrong = {
        name: (pattern, got[name])
        for name, pattern in expected.items()
        if place.differs(like(pattern), got[name]) or (got[name].endswith("\n"))
    }
    assert not wrong, f"field: (expected, got): {wrong}"


def job_fields(job: str, **expected: str) -> Looks:
    """The check of one job in the queue, by the fields that Sluice asks for."""

    def look(place: RowFolder) -> None:
        argv = ["squeue", "-h", "-a", "-t", "all", "-j", place.fill(job), "-O", to_format(JOB_FIELDS)]
        code, out, err = place.run(argv, env=EPOCH)
        assert (code, err) == (0, ""), err
        got = record(out, JOB_FIELDS, f"{NONCE}E\n")
        agree(got, {name.replace("_of_", "-"): pattern for name, pattern in expected.items()}, place)

    # A real SLURM may give a new job another reason first than the one that it keeps.
    return Looks(lambda place: look_until(lambda: look(place)))


def history_fields(job: str, **expected: str) -> Looks:
    """The check of one job in accounting, by the fields that Sluice asks for."""

    def look(place: RowFolder) -> None:
        argv = (
            f"sacct -a -X -n -p --noconvert --delimiter={NONCE} -S now-1hours -E now -s {ALL_STATES} "
            f"-j {place.fill(job)} -o {','.join(HISTORY_FIELDS)}"
        ).split()
        code, out, err = place.run(argv, env=EPOCH)
        assert (code, err) == (0, ""), err
        agree(record(out, HISTORY_FIELDS, f"{NONCE}\n"), expected, place)

    # slurmdbd may hear of a job's end before it hears of its beginning: such a row has an end and little else.
    return Looks(lambda place: look_until(lambda: look(place)))


TIME = r"1[6-9]\d{8}"
ALWAYS = {
    "JobArrayID": "<a>", "JobID": "<a>", "ArrayJobID": "<a>", "ArrayTaskID": "N/A", "HetJobID": "N/A",
    "HetJobOffset": "N/A", "UserName": "<user>", "UserID": "<uid>", "Account": ".+", "Partition": "cpu",
    "QOS": ".+", "SubmitTime": TIME,
    "NumNodes": "1", "NumCPUs": "1", "WorkDir": "<dir>", "Dependency": r"\(null\)", "RestartCnt": "0",
}  # fmt: skip

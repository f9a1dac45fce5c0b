"""Changes of many jobs by one program, and what it said of each.

Verified against Slurm 22.05.8: every program goes on behind a job that it cannot change, and names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from slurm_shim.errors import JobFinished, JobUnknown, SlurmError, SlurmUnreachable, make_error, strip_prefixes
from slurm_shim.ids import to_argument

if TYPE_CHECKING:
    from slurm_shim.commands import Slurm

VERBS = ("hold", "uhold", "release", "requeue", "suspend", "resume")
# 3,000 ids in one scancel take 3.5 s. Linux takes 2 MiB of arguments.
IDS_A_CHANGE, _MOST_CHARACTERS = 1000, 500_000
_SECONDS_A_JOB = 0.02
NO_FIELDS: Mapping[str, str | int] = MappingProxyType({})
# `Job is pending execution for job 3`, `Kill job error on job id 3: …`, and of an array `5_1-6: …`. There
# the exit code is 1 also if only some tasks refuse: `5_1-3: No error`, `5_4-6: Job has already finished`.
_FORMS = (
    re.compile(r"(?P<phrase>.+) for job (?P<id>\d\S*)"),
    re.compile(r"Kill job error on job id (?P<id>\S+): (?P<phrase>.+)"),
    re.compile(r"(?P<id>\d+(?:_[\d,:%-]+|\+\d+)?): (?P<phrase>.+)"),
)
# What 22.05 says of an id that it does not know, when that is to be suspended or resumed.
_NO_SUCH_JOB = "Unexpected message received"
_DONE = "No error"
# It is changed all the same, although the exit code is 1.
_ONLY_ADVICE = "Changes to job priority are not persistent, change nice instead"


def change_jobs(
    slurm: Slurm, verb: str, job_ids: Sequence[str], fields: Mapping[str, str | int] = NO_FIELDS
) -> dict[str, SlurmError]:
    """Change all these jobs alike; return what was refused, by id.

    Blocks. `verb` is one of VERBS, or `update` with fields as scontrol(1) names them. Raises SlurmUnreachable when
    nobody answers, and what is wrong with all of them alike.
    """
    if verb == "update":
        pairs = [f"{name}={value}" for name, value in fields.items()]
        return _run_in_lots(
            slurm, job_ids, lambda words: ["scontrol", "update", f"jobid={','.join(words)}", *pairs], verb
        )
    if verb not in VERBS:
        raise ValueError(f"not a change of jobs: {verb[:20]!r}")
    return _run_in_lots(slurm, job_ids, lambda words: ["scontrol", verb, *words], verb)


def cancel_jobs(slurm: Slurm, job_ids: Sequence[str], signal: str | None = None) -> dict[str, SlurmError]:
    """Cancel all these jobs, or send them a signal; return what was refused.

    Blocks. The signal (in the form of `commands.normalize_signal`) goes to the batch script and all steps. SLURM says
    nothing about unknown and finished jobs: look them up before.
    """
    options = [] if signal is None else ["--full", f"--signal={signal}"]
    return _run_in_lots(slurm, job_ids, lambda words: ["scancel", *options, "--", *words], "scancel")


def _run_in_lots(
    slurm: Slurm, job_ids: Sequence[str], build_argv: Callable[[list[str]], list[str]], verb: str
) -> dict[str, SlurmError]:
    refused: dict[str, SlurmError] = {}
    for lot in _split_lots({to_argument(job_id): job_id for job_id in job_ids}):
        argv = build_argv(list(lot))
        answer = slurm.run_for_jobs(argv, slurm.timeout_s + _SECONDS_A_JOB * len(lot))
        said = _read_refusals(argv[0], verb, answer.exit_code, answer.err, lot) if answer.exit_code else {}
        if answer.exit_code and not said and not any(word in answer.err for word in (_DONE, _ONLY_ADVICE)):
            raise make_error(argv[0], answer.exit_code, answer.err, list(lot))
        refused |= said
    return refused


def _split_lots(ids: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Split ids, by how they are written in an argv, into those of one call."""
    lot: dict[str, str] = {}
    size = 0
    for word, job_id in ids.items():
        size += len(word)
        if len(lot) == IDS_A_CHANGE or size > _MOST_CHARACTERS:
            yield lot
            lot, size = {}, len(word)
        lot[word] = job_id
    if lot:
        yield lot


def _read_refusals(
    program: str, verb: str, exit_code: int, stderr: str, lot: Mapping[str, str]
) -> dict[str, SlurmError]:
    """Read what a program said of each job.

    An array that has waiting tasks is changed, whatever the ended ones say. SlurmUnreachable, which concerns all of
    them, is raised.
    """
    refused: dict[str, SlurmError] = {}
    done: set[str] = set()
    for line in strip_prefixes(stderr).splitlines():
        match = next((found for form in _FORMS if (found := form.fullmatch(line))), None)
        named = match and _find_named(match["id"], lot)
        if match is None or named is None or match["phrase"] == _ONLY_ADVICE:
            continue
        job_id, phrase = lot[named], match["phrase"]
        if phrase == _DONE:
            done.add(job_id)
            continue
        if verb in ("suspend", "resume") and phrase == _NO_SUCH_JOB:
            refused[job_id] = JobUnknown(job_id, program, exit_code)
            continue
        error = make_error(program, exit_code, f"{phrase} for job {named}", [named])
        if isinstance(error, SlurmUnreachable):
            raise error
        refused[job_id] = error
    return {
        job_id: error for job_id, error in refused.items() if job_id not in done or not isinstance(error, JobFinished)
    }


def _find_named(word: str, lot: Mapping[str, str]) -> str | None:
    """Find which argument a program names: `5_1-6` may be 5 or 5_[1-6]."""
    whole, _, tasks = word.partition("_")
    return next((name for name in (word, f"{whole}_[{tasks}]", whole) if name in lot), None)

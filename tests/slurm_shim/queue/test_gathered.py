"""Submissions to the embedded cluster that come while one is under way go together."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from slurm_shim import programs
from slurm_shim.cluster import make_embedded
from slurm_shim.commands import Needs
from slurm_shim.embedded.blobs import pack_blobs, unpack_blobs
from slurm_shim.errors import SlurmError, SlurmInvalid, SlurmUnreachable
from slurm_shim.programs import Outcome
from slurm_shim.queue.gathered import EmbeddedSlurm
from tests.waiting import eventually

SCRIPT = "#!/bin/bash\ntrue\n"
AWAY = b"sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n"


class Programs:
    """Programs that answer from a list; the first call waits until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Any) -> None:
        self.calls: list[tuple[str, list[bytes]]] = []
        self.answers = list(answers)
        self.may_go = threading.Event()
        monkeypatch.setattr(programs, "run_program", self.run)

    def run(self, program: str, argv: Sequence[str], environment: Any, stdin: bytes, *_: Any, **__: Any) -> Outcome:
        name = Path(program).name
        self.calls.append((name, list(unpack_blobs(stdin)) if name == "sbatch-all" else [stdin]))
        if len(self.calls) == 1:
            assert self.may_go.wait(60)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Outcome)
        return answer


def submit_while_one_waits(slurm: EmbeddedSlurm, made: Programs, count: int) -> list[str | Exception]:
    """What becomes of one submission, and of those that came meanwhile, in their order."""

    def submit(number: int) -> str | Exception:
        try:
            return slurm.sbatch(SCRIPT, {"comment": f"c{number}"}, (), Needs(secrets={"S": str(number)}))
        except (SlurmError, OSError) as error:
            return error

    with ThreadPoolExecutor(count + 1) as threads:
        first = threads.submit(submit, 0)
        eventually(lambda: made.calls)
        others = []
        for number in range(1, count + 1):
            others.append(threads.submit(submit, number))
            eventually(lambda number=number: len(slurm._waiting) == number)
        made.may_go.set()
        return [first.result(60), *(other.result(60) for other in others)]


@pytest.fixture
def slurm() -> EmbeddedSlurm:
    made = make_embedded("/usr/bin:/bin", "/nowhere/slurm.conf", None)
    assert isinstance(made, EmbeddedSlurm)
    return made


def pack_answers(*answers: tuple[int, str, str]) -> Outcome:
    pieces = ((b"%d" % code, out.encode(), err.encode()) for code, out, err in answers)
    return Outcome(0, pack_blobs(piece for answer in pieces for piece in answer), b"")


def test_those_that_come_meanwhile_go_together(monkeypatch: pytest.MonkeyPatch, slurm: EmbeddedSlurm) -> None:
    refused = "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
    answers = pack_answers((0, "2\n", ""), (1, "", refused), (0, "3\n", ""))
    made = Programs(monkeypatch, Outcome(0, b"1\n", b""), answers, Outcome(0, b"4\n", b""))
    first, second, third, fourth = submit_while_one_waits(slurm, made, 3)
    assert (first, second, fourth) == ("1", "2", "3") and isinstance(third, SlurmInvalid)
    (alone, _), (together, pieces) = made.calls
    assert (alone, together) == ("sbatch", "sbatch-all")
    assert [piece.split(b"\0")[-1] for piece in pieces[::3]] == [b"--comment=c1", b"--comment=c2", b"--comment=c3"]
    assert pieces[1::3] == [b"S=1", b"S=2", b"S=3"] and pieces[2::3] == [SCRIPT.encode()] * 3
    assert slurm.sbatch(SCRIPT, {"comment": "c"}) == "4", "whoever comes later goes alone again"


@pytest.mark.parametrize(
    ("why", "answer", "uncertain"),
    [
        ("it was not over in time", Outcome(None, b"", b""), True),
        ("the controller is away", Outcome(1, b"", AWAY), False),
        ("it could not be started", SlurmUnreachable("sbatch", "no memory"), False),
    ],
)  # fmt: skip
def test_what_befalls_all_is_told_to_each(
    monkeypatch: pytest.MonkeyPatch, slurm: EmbeddedSlurm, why: str, answer: Any, uncertain: bool
) -> None:
    made = Programs(monkeypatch, Outcome(0, b"1\n", b""), answer, Outcome(0, b"2\n", b""))
    first, *others = submit_while_one_waits(slurm, made, 2)
    assert first == "1"
    for other in others:
        assert isinstance(other, SlurmUnreachable) and other.uncertain == uncertain, why
    assert slurm.sbatch(SCRIPT, {"comment": "c"}) == "2", "nobody waits for ever"


def test_each_gets_its_own_id(tmp_path: Path) -> None:
    conf = tmp_path / "slurm.conf"
    conf.write_text("ClusterName=embedded\nSluiceExecute=no\nNodeName=n1 CPUs=4\nPartitionName=main Nodes=ALL\n")
    slurm = make_embedded("/usr/bin:/bin", str(conf), None)
    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(lambda number: slurm.sbatch(SCRIPT, {"comment": f"tag {number}"}), range(24)))
    comments = {row["job_id"]: row["comment"] for row in slurm.squeue()}
    assert sorted(map(int, ids)) == list(range(1, 25))
    assert [comments[job_id] for job_id in ids] == [f"tag {number}" for number in range(24)]

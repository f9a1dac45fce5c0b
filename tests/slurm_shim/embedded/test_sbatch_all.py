"""Several calls of sbatch at once: each says and does what it would have alone."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from slurm_shim.embedded.blobs import pack_blobs, unpack_blobs
from tests.slurm_shim.embedded.own_cluster import Cluster

SCRIPT = "#!/bin/bash\ntrue\n"
Said = tuple[int, str, str]


def call_all(cluster: Cluster, calls: Sequence[tuple[Sequence[str], dict[str, str], str]]) -> list[Said]:
    """What each of the calls says, made together."""
    pieces = []
    for words, variables, stdin in calls:
        own = "\0".join(f"{name}={value}" for name, value in variables.items())
        pieces += ["\0".join(["sbatch", *words]).encode(), own.encode(), stdin.encode()]
    done = subprocess.run(
        ["sbatch-all"], env=cluster.env, cwd=cluster.work, input=pack_blobs(pieces), capture_output=True, check=True
    )
    said = list(unpack_blobs(done.stdout))
    return [(int(said[at]), said[at + 1].decode(), said[at + 2].decode()) for at in range(0, len(said), 3)]


CALLS = [
    ("a script", ["--parsable"], {}, SCRIPT),
    ("a job that nothing can run has an id", ["--nodes=99"], {}, SCRIPT),
    ("and so the next has another", [], {}, SCRIPT),
    ("an option that there is not", ["--nope"], {}, SCRIPT),
    ("no script", [], {}, ""),
    ("a variable is an option", ["--parsable"], {"SBATCH_PARTITION": "nowhere"}, SCRIPT),
    ("and is not one for the next", ["--parsable"], {}, SCRIPT),
    ("a warning", ["--nodes=2", "--ntasks=1"], {}, SCRIPT),
    ("only looked at", ["--version"], {}, SCRIPT),
    ("what is known is waited for", ["--dependency=afterok:1", "--parsable"], {}, SCRIPT),
    ("two parts", ["--parsable", "-n1", ":", "-n1"], {}, SCRIPT),
    ("an array, whose tasks get ids of their own as they begin", ["--array=1-3", "--parsable"], {}, SCRIPT),
]


def test_each_says_what_it_would_say_alone(tmp_path: Path) -> None:
    alone, together = (Cluster(tmp_path / name, "SluiceExecute=no\n") for name in ("alone", "together"))
    wanted = [alone.run("sbatch", *words, stdin=stdin, **variables) for _, words, variables, stdin in CALLS]
    found = call_all(together, [call[1:] for call in CALLS])
    for (why, *_), mine, theirs in zip(CALLS, found, wanted, strict=True):
        assert mine == theirs, why
    form = ("-h", "-a", "-t", "all", "-o", "%i|%j|%T|%r|%E")
    assert together.out("squeue", *form) == alone.out("squeue", *form)


def test_each_job_has_the_variables_of_its_own_call(cluster: Cluster) -> None:
    script = '#!/bin/bash\n#SBATCH --output=out-%j\necho "${SECRET-none}"\n'
    for code, _, err in call_all(cluster, [((), {"SECRET": "x=y"}, script), ((), {}, script)]):
        assert code == 0, err
    for job, said in (("1", "x=y\n"), ("2", "none\n")):
        assert cluster.await_end(job).startswith("COMPLETED")
        assert (cluster.work / f"out-{job}").read_text() == said


def test_one_that_is_refused_by_the_queue_leaves_nothing(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "SluiceExecute=no\nMaxJobCount=1\n")
    held, full = call_all(cluster, [(("-H", "--parsable"), {}, SCRIPT), ((), {}, SCRIPT)])
    assert held == (0, "1\n", "") and full[0] == 1 and "temporarily unable to accept job" in full[2]
    cluster.out("scancel", "1")
    assert cluster.out("sbatch", "--parsable", stdin=SCRIPT) == "2", "the id was not taken"


def test_a_controller_that_is_away_is_told_once_for_all(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, "SluiceDown=yes\n")
    given = pack_blobs([b"sbatch", b"", SCRIPT.encode()] * 2)
    done = subprocess.run(["sbatch-all"], env=cluster.env, input=given, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == cluster.run("sbatch", stdin=SCRIPT)


@pytest.mark.parametrize("data", [b"3\nab", b"x", b"1"])
def test_pieces_that_are_not_whole_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        list(unpack_blobs(data))


def test_pieces_come_back_as_they_went_in() -> None:
    pieces = [b"", b"\n", b"3\nabc", b"\0\xff"]
    assert list(unpack_blobs(pack_blobs(pieces))) == pieces

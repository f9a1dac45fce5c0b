"""No option of the embedded cluster's programs is ignored: it is honoured, asks for what is so anyway, or refused."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType

import pytest

from slurm_shim.embedded import placement, request
from slurm_shim.embedded.programs import hints, sbatch
from slurm_shim.embedded.programs.options import Options
from slurm_shim.embedded.states import Refused
from tests.slurm_shim.embedded.own_cluster import Cluster
from tests.waiting import eventually

PROGRAMS = ("squeue", "sinfo", "sacct", "scancel", "scontrol", "srun", "sacctmgr", "sstat", "sdiag")
ANSWERED = {"help", "usage", "version"}  # by the parser itself


def module(program: str) -> ModuleType:
    return importlib.import_module(f"slurm_shim.embedded.programs.{program}")


def is_asked(node: ast.expr) -> bool:
    """Whether an expression is the dict of the options given: `asked`, `self.asked`, `request.flags`."""
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name in ("asked", "flags")


def keys(node: ast.AST) -> Iterator[ast.expr]:
    """What this node looks up in the options given."""
    if isinstance(node, ast.Compare) and is_asked(node.comparators[0]):
        yield node.left
    elif isinstance(node, ast.Subscript) and is_asked(node.value) and isinstance(node.ctx, ast.Load):
        yield node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_asked(node.func.value):
        yield from node.args[:1] if node.func.attr == "get" else []
    elif isinstance(node, ast.Call) and len(node.args) > 1 and is_asked(node.args[0]):
        yield node.args[1]


def looked_up(*modules: ModuleType) -> set[str]:
    """Every option name that the code of these modules reads, also by loops over `TABLE.items()` and over tuples."""
    names: set[str] = set()
    for module in modules:
        tree = ast.parse(inspect.getsource(module))
        variables = set()
        for node in ast.walk(tree):
            for key in keys(node):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    names.add(key.value)
                elif isinstance(key, ast.Name):
                    variables.add(key.id)
        names |= {name for node in ast.walk(tree) for name in list_loop_names(node, variables, module)}
    return names


def list_loop_names(node: ast.AST, variables: set[str], module: ModuleType) -> Iterator[str]:
    if not isinstance(node, ast.For | ast.comprehension) or not isinstance(node.target, ast.Name | ast.Tuple):
        return
    first = node.target.elts[0] if isinstance(node.target, ast.Tuple) else node.target
    if not isinstance(first, ast.Name) or first.id not in variables:
        return
    if isinstance(node.iter, ast.Call) and isinstance(node.iter.func, ast.Attribute):
        table = node.iter.func.value
        assert node.iter.func.attr == "items" and isinstance(table, ast.Name)
        yield from getattr(module, table.id)
    elif isinstance(node.iter, ast.Tuple):
        values = ast.literal_eval(node.iter)
        yield from (value if isinstance(value, str) else value[0] for value in values)


# --- the tables and the code ---


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_a_parser_knows_is_read_by_its_program_and_no_other_is(program: str) -> None:
    options: Options = module(program).OPTIONS
    code = [module(program), *([placement] if program == "srun" else [])]
    honoured = {options.same.get(name, name) for name in options.honoured} - ANSWERED
    assert looked_up(*code) == honoured
    assert set(options.long) == options.honoured | options.without_effect
    assert not options.honoured & options.without_effect
    assert set(options.same) | set(options.same.values()) <= options.honoured
    assert options.program == program


def test_every_option_of_sbatch_has_one_place_where_it_is_read_or_refused() -> None:
    known = set(Options("sbatch", request.TABLE).long)
    setters = {name[5:].replace("_", "-") for name in vars(request.Request) if name.startswith("_set_")}
    groups = [setters, request.PLAIN, request.FLAGS, request.MEMORY, request.NUMBERS, hints.NAMES, request.SAME]
    named = [name for group in groups for name in group]
    assert sorted(named) == sorted(known)
    assert set(request.FLAGS) <= looked_up(sbatch)
    assert set(request.ENVIRONMENT.values()) <= known
    assert set(request.SAME.values()) <= known


def test_the_search_for_what_is_read_finds_what_is_not() -> None:
    options = Options("squeue", "array/r never-read")
    assert "array" in looked_up(module("squeue"))
    assert options.honoured - looked_up(module("squeue")) == {"never-read"}


# --- what real programs know and these do not ---

REFUSED = {
    "squeue": "--array-unique -i5 --iterate=5 -s1.0 --steps=1.0 --only-job-state --json --yaml",
    "sinfo": "-b --bg -i5 --iterate=5 --json --yaml",
    "sacct": "--array -c --completion -Cx --constraints=x --env-vars -fx --file=x -Fx --flags=x -I2 "
    "--ncpus=2 -i2 --nnodes=2 -Rx --reason=x -T --truncate -K5 --timelimit-max=5 -k1 --timelimit-min=1 --units=G -Wx "
    "--wckeys=x -x1 --associations=1 --json --yaml --steps",
    "scancel": "--sibling=x --cron",
    "scontrol": "-d --details -uroot --uid=root",
    "srun": "-t5 --time=5 -W1 --wait=1 --signal=USR1 --immediate --pty --multi-prog",
    "sacctmgr": "-s --associations",
    "sstat": "--steps",
    "sdiag": "-r --reset",
}


@pytest.mark.parametrize(("program", "word"), [(name, word) for name, text in REFUSED.items() for word in text.split()])
def test_an_option_without_code_is_refused_as_an_unknown_one(program: str, word: str) -> None:
    options: Options = module(program).OPTIONS
    with pytest.raises(Refused) as refusal:
        options.gather([word])
    text = f"unrecognized option '{word}'" if word.startswith("--") else f"invalid option -- '{word[1]}'"
    hint = [] if program in ("sacct", "sstat") else [f'Try "{program} --help" for more information']
    assert refusal.value.lines == [f"{program}: {text}", *hint]
    assert refusal.value.code == (255 if program == "srun" else 1)


NO_CLUSTER = (
    "{0}: error: No cluster 'nope' known by database.\n{0}: error: 'nope' can't be reached now, or it is an invalid "
    "entry for --cluster.  Use 'sacctmgr list clusters' to see available clusters.\n"
)
NO_NODES = "PARTITION AVAIL  TIMELIMIT  NODES  STATE NODELIST\nmain*        up   infinite      0    n/a \n"
ANSWERS = [
    ("an unknown option", "sacct --bogus", 1, "", "sacct: unrecognized option '--bogus'\n"),
    ("no node is dead", "sinfo -d -p main", 0, NO_NODES, ""),
    ("dead nodes by node", "sinfo -d -N", 0, "NODELIST   NODES PARTITION STATE \n", ""),
    ("all nodes answer", "sinfo -r -h -p main -o %D|%N", 0, "2|node[01-02]\n", ""),
    ("no reservations", "sinfo -T", 0, "No reservations in the system\n", ""),
    ("sizes that differ, added up", "sinfo -h -p odd -o %c|%D", 0, "4+|2\n", ""),
    ("sizes that differ, exactly", "sinfo -e -h -p odd -o %c|%D", 0, "4|1\n8|1\n", ""),
    ("another cluster: sinfo", "sinfo -M nope", 1, "", NO_CLUSTER.format("sinfo")),
    ("another cluster: squeue", "squeue --cluster=nope", 1, "", NO_CLUSTER.format("squeue")),
    ("another cluster: scancel", "scancel -M nope 5", 1, "", NO_CLUSTER.format("scancel")),
    ("another cluster: scontrol", "scontrol -M nope ping", 1, "", NO_CLUSTER.format("scontrol")),
    ("another cluster: sdiag", "sdiag -M nope", 1, "", NO_CLUSTER.format("sdiag")),
    ("quiet about errors", "scontrol -Q show job 99999999", 1, "", ""),
    ("no such group", "sacct -g nogroupp", 1, "", "sacct: error: Invalid group id: nogroupp\n"),
    ("nothing on that node", "scancel -w node01", 0, "", ""),
    ("a job that is gone", "scancel -i 99", 1, "",
     "scancel: error: Kill job error on job id 99: Invalid job id specified\n"),
]  # fmt: skip


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A cluster in which nothing runs."""
    made = Cluster(
        tmp_path_factory.mktemp("options"),
        "NodeName=big CPUs=8 RealMemory=8000\nPartitionName=odd Nodes=node01,big MaxTime=60 State=UP\n",
    )
    made.conf.write_text(made.conf.read_text().replace("Nodes=ALL", "Nodes=node[01-02]"))
    return made


@pytest.mark.parametrize(("why", "argv", "code", "out", "err"), ANSWERS)
def test_answers(still: Cluster, why: str, argv: str, code: int, out: str, err: str) -> None:
    assert still.run(*argv.split()) == (code, out, err), why


@pytest.mark.parametrize("program", [*PROGRAMS, "sbatch"])
@pytest.mark.parametrize("option", ["--help", "--usage"])
def test_help_names_the_options_and_does_nothing_else(still: Cluster, program: str, option: str) -> None:
    out = still.out(program, option)
    assert out.startswith(f"Usage: {program} [OPTIONS...]\n")
    assert "--version" in out


# --- options that choose among jobs ---


def test_a_waiting_job_of_two_partitions_is_listed_in_each(cluster: Cluster) -> None:
    job = cluster.submit("true", "-H", "-p", "main,short", "--mem=2048")
    assert cluster.out("squeue", "-h", "-j", job, "-o", "%P %m") == "main,short 2G"
    assert cluster.out("squeue", "-P", "-h", "--noconvert", "-j", job, "-o", "%P %m") == "main 2048M\nshort 2048M"
    cluster.out("scontrol", "release", job)
    assert cluster.await_end(job) == "COMPLETED|0:0"
    sizes = [cluster.out("sacct", "-X", "-n", "-P", *more, "-j", job, "-o", "ReqMem") for more in ([], ["--noconvert"])]
    assert sizes == ["2G", "2048M"]


def test_accounting_by_node_and_by_group(cluster: Cluster) -> None:
    jobs = [cluster.submit("true", "-w", name) for name in ("node01", "node02")]
    for job in jobs:
        cluster.await_end(job)
    for where, expected in (("node01", jobs[:1]), ("node[01-02]", jobs), ("nope", []), ("node[0", [])):
        assert cluster.out("sacct", "-X", "-n", "-P", "-N", where, "-o", "JobID").split() == expected, where
    gid = cluster.row(jobs[0])["gid"]
    assert cluster.out("sacct", "-X", "-n", "-P", "-g", str(gid), "-o", "JobID").split() == jobs
    assert cluster.out("sacct", "-X", "-n", "-P", "-M", "nope", "-o", "JobID") == ""
    assert cluster.out("sacct", "-X", "-n", "-P", "-l", "-j", jobs[0]).count("|") == 53


def test_cancelling_by_node_and_only_after_a_yes(cluster: Cluster) -> None:
    jobs = [cluster.submit("sleep 600", "-w", name, "-J", name) for name in ("node01", "node02")]
    for job in jobs:
        cluster.reaches(job, "RUNNING")
    cluster.out("scancel", "-w", "node02")
    assert cluster.await_end(jobs[1]).startswith("CANCELLED")
    prompt = f"Cancel job_id={jobs[0]} name=node01 partition=main [y/n]? "
    assert cluster.run("scancel", "-i", jobs[0], stdin="what\nn\n") == (0, prompt * 2, "")
    text = "scancel: error: nothing is cancelled: --interactive needs an answer, but stdin has ended\n"
    assert cluster.run("scancel", "-i", jobs[0]) == (1, prompt + "\n", text)
    assert cluster.state(jobs[0]) == "RUNNING|None"
    assert cluster.run("scancel", "-i", jobs[0], stdin="y\n") == (0, prompt, "")
    assert cluster.await_end(jobs[0]).startswith("CANCELLED")


# --- options of steps ---

STEPS = [
    ("a node of the job", "-N1 -n1 -w node02", "$SLURMD_NODENAME $SLURM_NODEID", "node02 1"),
    ("one task, there", "-n1 -w node02", "$SLURMD_NODENAME", "node02"),
    ("not that node", "-N1 -n1 -x node01", "$SLURMD_NODENAME", "node02"),
    ("one GPU", "-N1 -n1 --gres=gpu:1", "g$CUDA_VISIBLE_DEVICES", "g0"),
    ("no GPU", "-N1 -n1 --gres=none", "g$CUDA_VISIBLE_DEVICES", "g"),
    ("GPUs for each node", "-N1 -n1 --gpus-per-node=2", "g$CUDA_VISIBLE_DEVICES", "g0,1"),
    ("GPUs in all", "-N2 -n2 -l --gpus=3", "g$CUDA_VISIBLE_DEVICES", "0: g0,1\n1: g0"),
    ("all variables and one", "-N1 -n1 --export=ALL,X=2", "$MINE $X", "yes 2"),
    ("no variable but one", "-N1 -n1 --export=NONE,X=2", "n$MINE $X $SLURM_PROCID", "n 2 0"),
    ("the known way of MPI", "-N1 -n1 --mpi=none", "fine", "fine"),
]  # fmt: skip
NO_STEPS = [
    ("a node of others", "-w node09", 1, "Unable to create step for job ID: Requested node configuration is not"),
    ("too few left", "-x node02", 1, "Only allocated 1 nodes asked for 2"),
    ("wanted and not", "-N1 -w node01 -x node01", 1, "Requested node node01 is also in the excluded list."),
    ("more nodes than the job's", "-N3", 1, "Only allocated 2 nodes asked for 3"),
    ("none left", "-x node01,node02", 1, "Hostlist is empty!  Can't run job."),
    ("more GPUs than the job's", "--gres=gpu:9", 1, "Step requested gres_per_node=gpu:9 is more than the job's gres"),
    ("another resource", "--gres=foo:1", 1, "Invalid generic resource (gres) specification"),
    ("a way of MPI that is not there", "--mpi=pmix", 1, "Invalid MPI type 'pmix', --mpi=list for acceptable types"),
    ("an open mode that is none", "--open-mode=x", 255, "Invalid --open-mode specification"),
]  # fmt: skip


def test_steps_get_what_their_options_say(cluster: Cluster) -> None:
    lines = [f"srun {options} /bin/sh -c 'echo \"{words}\"'; echo =" for _, options, words, _ in STEPS]
    lines += [f'srun {options} /bin/true 2>&1; echo "rc=$?"; echo =' for _, options, *_ in NO_STEPS]
    lines += ["srun -N1 -n1 -K0 -o f echo a", "srun -N1 -n1 -o f echo b", "srun -N1 -n1 --open-mode=append -o f echo c"]
    (cluster.work / "job.sh").write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    job = cluster.out("sbatch", "--parsable", "-N2", "--gres=gpu:2", "-o", "out", "job.sh", MINE="yes")
    assert cluster.await_end(job).startswith("COMPLETED")
    parts = (cluster.work / "out").read_text().split("=\n")
    for (why, *_, expected), got in zip(STEPS, parts, strict=False):
        assert sorted(got.splitlines()) == expected.split("\n"), why
    for (why, _, code, text), got in zip(NO_STEPS, parts[len(STEPS) :], strict=False):
        assert got.startswith("srun: error: " + text.replace("ID", job)) and got.endswith(f"rc={code}\n"), (why, got)
    assert (cluster.work / "f").read_text() == "b\nc\n"


def test_usage_of_one_step_or_of_all(cluster: Cluster) -> None:
    job, plain = cluster.submit("srun -n1 sleep 600 & wait"), cluster.submit("sleep 600")
    for job_id in (job, plain):
        cluster.reaches(job_id, "RUNNING")
    ask = ("sstat", "-n", "-P", "-o", "JobID", "-j")
    eventually(lambda: f"{job}.0" in cluster.out(*ask, job))
    assert cluster.out(*ask, job) == f"{job}.0"
    assert cluster.out(*ask, job, "-a").split() == [f"{job}.batch", f"{job}.0"]
    assert cluster.run(*ask, plain) == (0, "", ""), "the batch step is shown only when asked for"
    assert cluster.out(*ask, plain, "-a") == f"{plain}.batch"
    assert cluster.out(*ask, f"{job}.batch") == f"{job}.batch"
    assert cluster.out("sstat", "-P", "-i", "-j", job).startswith(f"JobID|Nodelist|Pids\n{job}.0|node01|")
    assert cluster.out("sstat", "-n", "-P", "--noconvert", "-o", "MaxRSS", "-j", job).isdecimal()

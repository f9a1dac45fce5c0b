"""What the lists say: the queue, names of all kinds, nodes, partitions, the cluster, accounting."""

from __future__ import annotations

from tests.behaviour.fields import (
    ALWAYS,
    EPOCH,
    JOB_FIELDS,
    NODE_FIELDS,
    NONCE,
    TIME,
    agree,
    history_fields,
    job_fields,
    record,
    to_format,
)
from tests.behaviour.row import ANY, Do, Looks, Row, RowFolder, Until, await_end, like, queue, row, submit

QUEUE = (
    row(
        "the fields of a waiting job",
        submit("-H -t 10 --mem=500 --comment=c --wrap true"),
        job_fields(
            "<a>",
            **ALWAYS,
            State="PENDING",
            Reason="JobHeldUser",
            StartTime="N/A",
            EndTime="N/A",
            TimeUsed="0:00",
            TimeLimit="10:00",
            MinMemory="500M",
            tres_of_alloc="cpu=1,mem=500M,node=1,billing=1",
            PriorityLong="0",
            NodeList="",
            SchedNodes=r"\(null\)",
            BatchHost="n/a",
            exit_code="0",
            Command=r"\(null\)",
            STDOUT="<dir>/slurm-<a>.out",
            STDERR="<dir>/slurm-<a>.out",
            Comment="c",
            Name="wrap",
        ),
    ),
    row(
        "the fields of a running job",
        submit("-t 10 -o log -e err --wrap 'sleep 600'"),
        queue("<a>", "RUNNING|None"),
        job_fields(
            "<a>",
            **ALWAYS,
            State="RUNNING",
            Reason="None",
            StartTime=TIME,
            EndTime=TIME,
            TimeUsed=r"\d+:\d\d",
            TimeLimit="10:00",
            MinMemory="0",
            tres_of_alloc="cpu=1,node=1,billing=1",
            PriorityLong=r"\d+",
            NodeList="node0[12]",
            BatchHost="node0[12]",
            exit_code="0",
            STDOUT="<dir>/log",
            STDERR="<dir>/err",
        ),
    ),
    row(
        "the fields of a finished job",
        submit("-t 10 -o /dev/null --wrap 'exit 3'"),
        queue("<a>", "FAILED|NonZeroExitCode"),
        job_fields(
            "<a>",
            **ALWAYS,
            State="FAILED",
            Reason="NonZeroExitCode",
            StartTime=TIME,
            EndTime=TIME,
            TimeUsed=r"\d+:\d\d",
            NodeList="node0[12]",
            BatchHost="node0[12]",
            exit_code="768",
            STDOUT="/dev/null",
            STDERR="/dev/null",
            Comment=r"\(null\)",
            PriorityLong=r"\d+",
        ),
    ),
    row(
        "the fields of a cancelled job that never ran",
        submit("-H -t 10 --wrap true"),
        Do("scancel <a>"),
        queue("<a>", "CANCELLED|JobHeldUser"),
        job_fields(
            "<a>",
            **ALWAYS,
            State="CANCELLED",
            Reason="JobHeldUser",
            StartTime=TIME,
            EndTime=TIME,
            TimeUsed="0:00",
            NodeList="",
            BatchHost="n/a",
            exit_code="0",
        ),
    ),
    row(
        "the fields of a waiting array",
        submit("-H --array=1-4%2 -o '%A_%a.log' --wrap true"),
        job_fields(
            "<a>",
            JobArrayID=r"<a>_\[1-4%2\]",
            JobID="<a>",
            ArrayJobID="<a>",
            ArrayTaskID="1-4%2",
            STDOUT="<dir>/%A_%a.log",
        ),
    ),
    row(
        "the fields of an array's task",
        submit("--array=1-2 -o /dev/null --wrap 'sleep 600'"),
        Until("squeue -h -j <a> -t R -o %T", "RUNNING\nRUNNING"),
        job_fields("<a>_1", JobArrayID="<a>_1", JobID=r"\d+", ArrayJobID="<a>", ArrayTaskID="1", State="RUNNING"),
        job_fields("<a>_2", JobArrayID="<a>_2", JobID=r"\d+", ArrayJobID="<a>", ArrayTaskID="2", State="RUNNING"),
    ),
    row(
        "a job that can say when it begins",
        submit("--begin=now+1hour -t 10 --wrap true"),
        job_fields("<a>", StartTime=TIME, EndTime=TIME, Reason="BeginTime"),
    ),
    row(
        "no limit has its own words",
        submit("-H --wrap true"),
        job_fields("<a>", TimeLimit="UNLIMITED", MinMemory="0"),
    ),
    row(
        "a field that is none is skipped, what follows it is not; the exit code stays 0",
        submit("-H --wrap true"),
        Do(
            "squeue -h -j <a> -O JobID:|,Frob:|,State:|",
            "<a>||PENDING|",
            "squeue: error: Invalid job format specification: Frob",
        ),
    ),
    row(
        "a field without a width is 20 wide, one with a width is cut",
        submit("-H -J abcdefghijklmnopqrstuvwxyz --wrap true"),
        Do("squeue -h -j <a> -O Name", "abcdefghijklmnopqrst"),
        Do("squeue -h -j <a> -O Name:5,State:9", "abcdePENDING  "),
        Do("squeue -h -j <a> -o '%.5j|%12T|%.12T|%5j|'", "abcde|PENDING     |     PENDING|abcde|"),
    ),
    row(
        "the queue, as a table for people",
        submit("-H -J abcdefghijk --wrap true"),
        Do(
            "squeue -j <a>",
            like(
                r" +JOBID PARTITION     NAME     USER ST       TIME  NODES NODELIST\(REASON\)\n"
                r" +<a>       cpu abcdefgh +<user> PD       0:00      1 \(JobHeldUser\) ?"
            ),
        ),
    ),
    row(
        "times without a zone unless told otherwise",
        submit("-H --wrap true"),
        Do("squeue -h -j <a> -o %V", like(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d")),
        Do("squeue -h -j <a> -o %V", like(TIME), env=EPOCH),
        Do("squeue -h -j <a> -o '%S %e'", "N/A N/A", env=EPOCH),
    ),
    row(
        "jobs are chosen by name, user, state, partition",
        submit("-H -J pick-<dir> --wrap true"),
        submit("-H -p gpu -J pick-<dir> --wrap true", "b"),
        Do("squeue -h -n pick-<dir> -S i -o %i", "<a>\n<b>"),
        Do("squeue -h --name=pick-<dir> -p gpu -o %i", "<b>"),
        Do("squeue -h -n pick-<dir> -t RUNNING -o %i", ""),
        Do("squeue -h -n pick-<dir> -t pd -u <user> -S -i -o %i", "<b>\n<a>"),
        Do("squeue -h -n pick-<dir> --me -S i -o %A", "<a>\n<b>"),
        Do("squeue -h -j 99999999,<a> -o %i", "<a>"),
    ),
)

HOSTILE = (
    ("a newline", "two\nlines"),
    ("a CRLF and a tab", "a\r\nb\tc"),
    ("a pipe", "a|b|c"),
    ("quotes and a backslash", "a\"b'c\\d"),
    ("blanks around", "  blanks  "),
    ("an escape sequence", "\x1b[31mred\x1b[0m"),
    ("the unit separator and DEL", "a\x1fb\x7fc"),
    ("bytes that are no UTF-8", "a\udcff\udcfeb"),
    ("letters of others, and an emoji", "日本語テスト名前 é 🚀"),
    ("text that looks like none", "(null)"),
    ("text that looks like scontrol's", "x\n   JobState=RUNNING StdOut=/etc/shadow"),
    ("percent signs and commas", "%i,%j:%k"),
    ("600 letters", "x" * 600),
)


def hostile(why: str, name: str) -> Row:
    """A row whose job carries this name and comment; both come back byte for byte."""

    def at(place: RowFolder) -> None:
        argv = ["squeue", "-h", "-a", "-t", "all", "-j", place.kept["a"], "-O", to_format(JOB_FIELDS)]
        code, out, err = place.run(argv, env=EPOCH)
        assert (code, err) == (0, "")
        got = record(out, JOB_FIELDS, f"{NONCE}E\n")
        assert (got["Name"], got["Comment"]) == (name, name)

    return row(
        f"a name with {why}",
        Do(
            ("sbatch", "--parsable", "-H", f"--job-name={name}", f"--comment={name}", "--wrap", "true"),
            like(r"\d+"),
            keep="a",
        ),
        Looks(at),
    )


NAMES = tuple(hostile(why, name) for why, name in HOSTILE)


def node_rows(place: RowFolder) -> None:
    """Check that sinfo gives one row per node and partition."""
    code, out, err = place.run(["sinfo", "-h", "-a", "-N", "-O", to_format(NODE_FIELDS)], env=EPOCH)
    assert (code, err) == (0, "")
    records = [text.split(NONCE) for text in out.split(f"{NONCE}E\n")[:-1]]
    assert all(len(record) == len(NODE_FIELDS) for record in records), records
    got = {record[0]: dict(zip(NODE_FIELDS, record, strict=True)) for record in records}
    assert sorted(got) == ["node01", "node02", "node03", "node04"]
    for name, node in got.items():
        agree(
            node,
            {
                "NodeHost": "<host>",
                "PartitionName": "gpu" if name > "node02" else "cpu",
                "StateComplete": "[a-z+-]+",
                "StateLong": "[a-z-]+",
                "CPUsState": r"\d/\d/\d/8",
                "CPUsLoad": r"\d+\.\d\d",
                "Memory": "16000",
                "AllocMem": r"\d+",
                "FreeMem": r"\d+",
                "Gres": "gpu:4",
                "GresUsed": r"gpu:\d.*",
                "Features": r"\(null\)",
                "features_act": r"\(null\)",
                "Version": r"22\.05\.8",
                "Weight": "1",
                "Timestamp": "Unknown",
                "UserLong": "Unknown",
                "Comment": r"\(null\)",
                "Reason": "none",
            },
            place,
        )


NODES = (
    row("nodes, as sinfo tells them", Looks(node_rows), lane="gpu"),
    row(
        "nodes, as scontrol tells them",
        Do(
            "scontrol -o -a show node node01",
            like(
                r"NodeName=node01 Arch=\S+ CoresPerSocket=\d+ +CPUAlloc=\d+ (CPUEfctv=8 )?CPUTot=8 CPULoad=\d+\.\d\d "
                r"AvailableFeatures=\(null\) ActiveFeatures=\(null\) Gres=gpu:4 NodeAddr=\S+ NodeHostName=<host> .*"
                r"Version=22\.05\.8 OS=.+ RealMemory=16000 AllocMem=\d+ FreeMem=\d+ Sockets=\d+ Boards=1 State=[A-Z+]+ "
                r"ThreadsPerCore=\d TmpDisk=100000 Weight=1 .*Partitions=cpu +BootTime=\d+ "
                r"SlurmdStartTime=\d+ LastBusyTime=\d+ "
                r"CfgTRES=cpu=8,mem=16000M,billing=8,gres/gpu=4 AllocTRES=\S* .*"
            ),
            env=EPOCH,
        ),
        Do(("sh", "-c", "scontrol -o -a show node | wc -l"), like(" *4")),
    ),
    row(
        "partitions",
        Do(
            ("sh", "-c", "scontrol -o -a show partition | cut -d' ' -f1,6,8,13,14,18,24-"),
            ANY,
        ),
        Do(
            "scontrol -o -a show partition gpu",
            like(
                r"PartitionName=gpu AllowGroups=ALL .*Default=NO .*DefaultTime=NONE .*MaxNodes=UNLIMITED "
                r"MaxTime=7-00:00:00 .*Nodes=node\[03-04\] .*State=UP TotalCPUs=16 TotalNodes=2 .*"
                r"TRES=cpu=16,mem=32000M,node=2,billing=16,gres/gpu=8"
            ),
        ),
        Do(
            "scontrol -o -a show partition cpu",
            like(r"PartitionName=cpu .*Default=YES .*MaxTime=UNLIMITED .*Nodes=node\[01-02\] .*"),
        ),
        Do("sinfo -h -o '%R|%a|%l' -p gpu", "gpu|up|7-00:00:00"),
        Do("sinfo -h -o '%R|%P|%a|%l|%D' -p cpu", like(r"cpu\|cpu\*\|up\|infinite\|2")),
    ),
    row(
        "the table of partitions for people",
        Do(
            "sinfo",
            like(
                r"PARTITION AVAIL  TIMELIMIT  NODES  STATE NODELIST\n"
                r"(cpu\* +up +infinite +\d +\w+-? \S+\n)+(gpu +up 7-00:00:00 +\d +\w+-? \S+ ?\n?)+"
            ),
        ),
    ),
    row("lists of hosts", Do("scontrol show hostnames node[01-03,07]", "node01\nnode02\nnode03\nnode07")),
    row("lists of hosts, folded", Do("scontrol show hostlist node01,node02,node04", "node[01-02,04]")),
)

CLUSTER = (
    row("the controller answers", Do("scontrol ping", "Slurmctld(primary) at <host> is UP")),
    row("its version", Do("sinfo --version", "slurm-wlm 22.05.8"), Do("squeue -V", "slurm-wlm 22.05.8")),
    row(
        "its configuration",
        Do(
            "scontrol show config",
            like(r"Configuration data as of .*ClusterName += <clustername>\n.*MinJobAge += 300 sec\n.*"),
        ),
    ),
    row("its counters", Do("sdiag", like(r"\*+\nsdiag output at .*Jobs submitted: \d+\n.*Jobs running: +\d+\n.*"))),
)

HISTORY = (
    row(
        "the fields of a job that has ended",
        submit("-t 10 -J nm -o /dev/null --mem=500 --wrap 'exit 3'"),
        await_end("<a>", "FAILED", "3:0"),
        history_fields(
            "<a>",
            JobID="<a>",
            JobIDRaw="<a>",
            User="<user>",
            UID="<uid>",
            Partition="cpu",
            QOS=".*",
            State="FAILED",
            Submit=TIME,
            Eligible=TIME,
            Start=TIME,
            End=TIME,
            ElapsedRaw=r"\d+",
            TimelimitRaw="10",
            NNodes="1",
            NCPUS="1",
            ReqMem="500M",
            ReqTRES="billing=1,cpu=1,mem=500M,node=1",
            AllocTRES="billing=1,cpu=1(,mem=500M)?,node=1",
            Priority=r"\d+",
            NodeList="node0[12]",
            ExitCode="3:0",
            DerivedExitCode="0:0",
            Reason="None",
            WorkDir="<dir>",
            JobName="nm",
        ),
    ),
    row(
        "the fields of a job that runs",
        submit("-o /dev/null --wrap 'sleep 600'"),
        await_end("<a>", "RUNNING"),
        history_fields("<a>", State="RUNNING", Start=TIME, End="Unknown", ExitCode="0:0", NodeList="node0[12]"),
    ),
    row(
        "the fields of a job that never ran",
        submit("-H -t 10 --wrap true"),
        Do("scancel <a>"),
        await_end("<a>", "CANCELLED by <uid>"),
        history_fields(
            "<a>",
            State="CANCELLED by <uid>",
            Submit=TIME,
            Start=f"None|{TIME}",
            End=TIME,
            ElapsedRaw="0",
            NodeList="None assigned",
        ),
        Do("sacct -a -X -n -P -S now-1hours -j <a> -o JobID", ANY),
    ),
    row(
        "sacct asked by state without an end tells nothing",
        submit("-o /dev/null --wrap true"),
        await_end("<a>", "COMPLETED"),
        Do("sacct -a -X -n -P -S now-1hours -j <a> -s F -E now -o JobID", ""),
        Do("sacct -a -X -n -P -S now-1hours -j <a> -s CD -E now -o JobID", "<a>"),
    ),
    row(
        "the tasks of an array",
        submit("--array=1-2 -o /dev/null --wrap true"),
        Until("sacct -X -n -P -j <a> -o State", "COMPLETED\nCOMPLETED"),
        history_fields("<a>_1", JobID="<a>_1", JobIDRaw=r"\d+", State="COMPLETED"),
        history_fields("<a>_2", JobID="<a>_2", JobIDRaw=r"\d+", State="COMPLETED"),
    ),
    row(
        "accounting, as a table for people",
        submit("-o /dev/null --wrap true"),
        await_end("<a>", "COMPLETED"),
        Until(
            "sacct -X -j <a>",
            like(
                r"JobID +JobName +Partition +Account +AllocCPUS +State ExitCode \n"
                r"(-+ ){7}\n<a> +wrap +cpu +\S* +1 +COMPLETED +0:0 ?"
            ),
        ),
        Do("sacct -X -P -j <a> -o JobID,State", "JobID|State\n<a>|COMPLETED"),
    ),
)

ROWS = (*QUEUE, *NAMES, *NODES, *CLUSTER, *HISTORY)

"""sbatch's options: what is taken, what is refused, and what comes of those that ask for something."""

# A long list of words reads better as a text.
# ruff: noqa: SIM905

from __future__ import annotations

from tests.behaviour.row import Do, Reads, Row, Text, Until, Writes, await_end, like, queue, row, submit

FAILED = "sbatch: error: Batch job submission failed: "
GRES = "sbatch: error: Invalid generic resource (gres) specification"
UNAVAILABLE = f"{FAILED}Requested node configuration is not available"
EXCLUSIVE_MEMORY = "sbatch: fatal: --mem, --mem-per-cpu, and --mem-per-gpu are mutually exclusive."
FIRST = "#!/bin/sh\n#SBATCH "


def shown(why: str, options: str, *fields: str, err: Text = "") -> Row:
    """A row of a held job whose options `scontrol show job` shows."""
    records = [Do("scontrol -o show job <a>", like(f".* {field} .*")) for field in fields]
    return row(why, Do(f"sbatch --parsable -H {options} --wrap true", like(r"\d+"), err, keep="a"), *records)


def refused(why: str, options: str, err: Text, rc: int = 255) -> Row:
    """A row of a submission that is refused."""
    return row(why, Do(f"sbatch {options} --wrap true", "", err, rc))


def invalid(option: str, value: str, err: str = "", rc: int = 255) -> Row:
    """A row of an option whose value is none."""
    text = err or f"Invalid --{option} specification"
    complaint = "\n".join(f"sbatch: error: {line}" for line in text.split("\n"))
    return refused(f"no value of --{option}: {value or 'nothing'}", f"--{option}={value}", complaint, rc)


def no_number(option: str, value: str = "x") -> Row:
    """A row of an option that takes a number."""
    return invalid(option, value, f'Invalid numeric value "{value}" for --{option}.', 1)


TAKEN = (
    shown("switches", "--switches=1", "Switches=1@00:05:00"),
    shown("switches, and how long to wait for them", "--switches=2@2", "Switches=2@00:02:00"),
    shown("space in /tmp", "--tmp=1G", "MinTmpDiskNode=1G"),
    shown("a shortest time", "--time-min=5 -t 10", "TimeLimit=00:10:00 TimeMin=00:05:00"),
    shown("the user's own environment", "--get-user-env", "JobState=PENDING"),
    shown("the user's own environment, with a limit", "--get-user-env=10L", "JobState=PENDING"),
    shown("profiles and meters", "--profile=task,energy --acctg-freq=task=30,energy=0", "JobState=PENDING"),
    shown("a hint", "--hint=nomultithread", r"ReqB:S:C:T=0:0:\*:1"),
    shown("a hint of two", "--hint=memory_bound", "ReqB:S:C:T=0:0:1:1"),
    shown("a distribution", "-m cyclic:block", "JobState=PENDING"),
    shown("a distribution by planes", "--distribution=plane=4", "JobState=PENDING"),
    shown("flags of GPUs", "--gres-flags=enforce-binding", "GresEnforceBind=Yes"),
    shown("a burst buffer", "--bb=x", "BurstBuffer=x"),
    shown("a network", "--network=x", "Network=x"),
    shown("a container", "--container=/x", "Container=/x"),
    shown("power", "--power=level", "Power=LEVEL"),
    shown("mail to somebody", "--mail-type=END,fail --mail-user=a@b", "MailUser=a@b MailType=END,FAIL"),
    shown(
        "mail for everything",
        "--mail-type=ALL,TIME_LIMIT",
        "MailUser=<user> MailType=INVALID_DEPEND,BEGIN,END,FAIL,REQUEUE,STAGE_OUT,TIME_LIMIT",
    ),
    shown(
        "mail by mail", "--mail-type=END --mail-type=begin,NONE --mail-type=begin", "MailUser=<user> MailType=BEGIN,END"
    ),
    shown("mail for each task", "-a 1-2 --mail-type=FAIL,ARRAY_TASKS", "MailUser=<user> MailType=ARRAY_TASKS,FAIL"),
    shown("file names that are known only later", "-o %N-%J-%4j-%x-%u", "StdOut=<dir>/%N-%J-%4j-wrap-<user>"),
    shown("nodes side by side", "-N2 --contiguous", "NumNodes=2-2", "Contiguous=1"),
    shown("tasks far apart", "--spread-job", "SpreadJob=Yes"),
    shown("nodes shared with nobody but the user", "--exclusive=USER", "OverSubscribe=USER"),
    shown("nodes shared with anybody", "-s", "OverSubscribe=YES"),
    shown("nodes that boot first", "--reboot --delay-boot=5", "Reboot=1", "DelayBoot=00:05:00", "OverSubscribe=NO"),
    shown("clusters with a feature", "--cluster-constraint=x", "ClusterFeatures=x"),
    shown("sockets", "--sockets-per-node=2", "Socks/Node=2"),
    shown("sockets, cores, threads", "-B 1:1:1", "Socks/Node=1", "ReqB:S:C:T=0:0:1:1"),
    shown("tasks on cores and sockets", "--ntasks-per-core=1 --ntasks-per-socket=2", "NtasksPerN:B:S:C=0:0:2:1"),
    shown(
        "how GPUs are bound and clocked", "--gpu-bind=closest --gpu-freq=high", "TresBind=gpu:closest TresFreq=gpu:high"
    ),
    shown(
        "what leaves no trace",
        "--mem-bind=local --cpu-freq=high --propagate=STACK,CORE --mcs-label=x --context=x --no-kill=off "
        "--wait-all-nodes=1 --ignore-pbs --use-min-nodes -O -k --uid=<uid>",
        "JobState=PENDING",
    ),
    shown(
        "cores for the system are not given",
        "--core-spec=1",
        "CoreSpec=.*",
        err="sbatch: error: Ignoring -S since it's not allowed by configuration (AllowSpecResourcesUsage = No)",
    ),
    shown(
        "power in other words is ignored aloud",
        "--power=x",
        "Power=",
        err="sbatch: error: Ignoring unrecognized power option (x)\n" * 2,
    ),
    shown("the older name of tasks per node", "--tasks-per-node=3", "NumTasks=3"),
    shown("names cut short", "--tasks=3 --cpus-per-t=2 --comm=c", "NumTasks=3 CPUs/Task=2", "Comment=c"),
    shown("both names of tasks per GPU", "--gpus=1 --ntasks-per-tres=2", "NumTasks=2", "NtasksPerTRES=2"),
    shown("a range of nodes", "-N 1-2", "NumNodes=1-2"),
    shown("a thousand nodes", "-N 1k", "NumNodes=1024-1024"),
    shown("a day without hours", "-t 2-", "TimeLimit=2-00:00:00"),
    shown("a type of GPU that no node has, while the job is held", "--gpus=a100:2", "TresPerJob=gres:gpu:a100:2"),
    row("a workload's key", submit("-H --wckey=k --wrap true"), queue("<a>", "k", "%w")),
    row(
        "nodes from a file",
        Writes("nodes", "node01\nnode02\n"),
        submit("-H -F nodes --wrap true"),
        queue("<a>", "node[01-02]|2", "%n|%D"),
    ),
    row(
        "the environment sets options too",
        submit("-H --wrap true", env={"SBATCH_REQ_SWITCH": "3", "SBATCH_NETWORK": "n", "SBATCH_GPUS": "2"}),
        Do("scontrol -o show job <a>", like(".* Network=n .* Switches=3@00:05:00 .* TresPerJob=gres:gpu:2 .*")),
    ),
    row(
        "and files",
        submit("-H --wrap true", env={"SBATCH_OUTPUT": "o", "SBATCH_ERROR": "e", "SBATCH_BURST_BUFFER": "b"}),
        Do("scontrol -o show job <a>", like(".* StdErr=<dir>/e .* StdOut=<dir>/o BurstBuffer=b .*")),
    ),
)

REFUSED = (
    refused("memory of two kinds", "--mem=1 --mem-per-cpu=1", EXCLUSIVE_MEMORY, 1),
    refused("memory by node and by GPU", "--mem=0 --mem-per-gpu=1 --gpus=1", EXCLUSIVE_MEMORY, 1),
    row(
        "memory of one kind in the script, of another beside it",
        Do("sbatch --mem-per-cpu=1", "", EXCLUSIVE_MEMORY, 1, stdin=f"{FIRST}--mem=1\ntrue\n"),
    ),
    row(
        "the environment's memory gives way",
        submit("-H --mem=5 --wrap true", env={"SBATCH_MEM_PER_CPU": "7"}),
        queue("<a>", "5M", "%m"),
    ),
    refused(
        "memory by a GPU that is not asked for",
        "--mem-per-gpu=10",
        f"sbatch: error: Requested mem_per_tres=gres:gpu:10 but did not request any GPU.\n{GRES}",
        1,
    ),
    refused(
        "CPUs by task and by GPU",
        "--gpus=1 -c 2 --cpus-per-gpu=3",
        f"sbatch: error: --cpus-per-gpu is mutually exclusive with --cpus-per-task\n{GRES}",
        1,
    ),
    refused(
        "GPUs of tasks that nobody counts",
        "--gpus-per-task=1",
        "sbatch: error: Failed to validate job spec. --gpus-per-task used without either --gpus or -n/--ntasks is not "
        f"allowed.\n{GRES}",
        1,
    ),
    refused(
        "GPUs that tasks cannot share",
        "--gpus=3 --gpus-per-task=2",
        f"sbatch: error: Failed to validate job spec, --gpus not multiple of --gpus-per-task\n{GRES}",
        1,
    ),
    refused(
        "GPUs that nodes cannot share",
        "--gpus=3 --gpus-per-node=2",
        f"sbatch: error: Failed to validate job spec, --gpus is not multiple of --gres=gpu/--gpus-per-node\n{GRES}",
        1,
    ),
    refused(
        "tasks for GPUs of no number",
        "--ntasks-per-gpu=2",
        "sbatch: error: gres_job_state_validate: --ntasks-per-tres needs either a GRES GPU specification or a "
        f"node/ntask specification\n{GRES}",
        1,
    ),
    refused(
        "tasks that GPUs cannot share",
        "-n3 --ntasks-per-gpu=2",
        f"sbatch: error: Failed to validate job spec, -n/--ntasks has to be a multiple of --ntasks-per-gpu.\n{GRES}",
        1,
    ),
    refused(
        "tasks by node and by GPU",
        "-n4 --ntasks-per-gpu=2 --ntasks-per-node=2",
        "sbatch: fatal: --ntasks-per-node is mutually exclusive with --ntasks-per-gpu and SLURM_NTASKS_PER_GPU",
        1,
    ),
    refused(
        "GPUs by a socket of no number",
        "--gpus-per-socket=1",
        f"sbatch: error: --gpus-per-socket option requires --sockets-per-node specification\n{GRES}",
        1,
    ),
    refused(
        "more CPUs than a node has",
        "--mincpus=9",
        f"sbatch: error: CPU count per node can not be satisfied\n{UNAVAILABLE}",
        1,
    ),
    refused(
        "more tasks than a node has CPUs",
        "--ntasks-per-node=3 -c 3 -N1",
        f"sbatch: error: CPU count per node can not be satisfied\n{UNAVAILABLE}",
        1,
    ),
    refused(
        "more memory for a CPU than a node has",
        "--mem-per-cpu=17G",
        f"sbatch: error: Memory specification can not be satisfied\n{UNAVAILABLE}",
        1,
    ),
    refused(
        "sockets that no node has",
        "--sockets-per-node=9",
        f"sbatch: error: Socket, core and/or thread specification can not be satisfied\n{UNAVAILABLE}",
        1,
    ),
    refused("CPUs by GPU beyond a node's", "-N1 --gpus=2 --cpus-per-gpu=5", UNAVAILABLE, 1),
    refused("a type of GPU that no node has", "--gpus=a100:2", UNAVAILABLE, 1),
    refused(
        "more space than a node has",
        "--tmp=1T",
        f"sbatch: error: Temporary disk specification can not be satisfied\n{UNAVAILABLE}",
        1,
    ),
    refused(
        "threads that no core has",
        "--threads-per-core=2",
        f"sbatch: error: Socket, core and/or thread specification can not be satisfied\n{UNAVAILABLE}",
        1,
    ),
    refused(
        "a shortest time beyond the limit",
        "--time-min=10 -t 5",
        f"{FAILED}Invalid time-min specification (exceeds job's time or other limits)",
        1,
    ),
    refused(
        "a deadline that is over",
        "--deadline=now-1",
        f"{FAILED}Requested time limit is invalid (missing or exceeds some limit)",
        1,
    ),
    refused(
        "a deadline before the beginning",
        "--deadline=now+1hour --begin=now+2hours",
        "sbatch: error: Incompatible begin and deadline time specification",
        1,
    ),
    refused(
        "a deadline that is none",
        "--deadline=x",
        "Invalid time specification (pos=0): x\nsbatch: error: Invalid --deadline specification",
    ),
    refused(
        "no partition",
        "--partition=",
        f"sbatch: error: invalid partition specified: (null)\n{FAILED}Invalid partition name specified",
        1,
    ),
    refused("no such feature, if possible", "--prefer=x", f"{FAILED}Invalid preferred feature specification", 1),
    refused(
        "a batch host by a feature not asked for",
        "--batch=x",
        f"{FAILED}Job --batch option is invalid or not a subset of --constraints",
        1,
    ),
    refused("a count that is none", "--gpus=2x", f"{FAILED}Invalid Trackable RESource (TRES) specification", 1),
    refused(
        "an option of another program",
        "--burst-buffer=x",
        "sbatch: unrecognized option '--burst-buffer=x'\nTry \"sbatch --help\" for more information",
    ),
    *(
        no_number(option)
        for option in (
            "switches mincpus sockets-per-node cores-per-socket threads-per-core ntasks-per-core ntasks-per-socket "
            "ntasks-per-gpu cpus-per-gpu core-spec wait-all-nodes"
        ).split()
    ),
    no_number("mincpus", "0"),
    no_number("ntasks", "1k"),
    *(
        invalid(option, value)
        for option, value in (
            pair.split("=")
            for pair in (
                "tmp=x time-min=x mem-per-gpu=x delay-boot=x distribution=x gres-flags=x no-kill=on get-user-env=x "
                "wait-all-nodes=2 uid=nosuch gid=nosuch mail-type="
            ).split()
        )
    ),
    invalid("acctg-freq", "x", "Invalid --acctg-freq specification: x"),
    invalid("profile", "x", "invalid --profile=x option"),
    invalid("hint", "x", 'unrecognized --hint argument "x", see --hint=help', 1),
    invalid("cpu-freq", "x", 'unrecognized --cpu-freq argument "x"\nInvalid --cpu-freq argument'),
    invalid("propagate", "stack", "Bad rlimit name: stack\n--propagate=stack is not valid.", 1),
    invalid("gpu-bind", "single", "Invalid --gpu-bind argument: gpu:single"),
    invalid("gpu-freq", "x", "Invalid --gpu-freq argument: gpu:x"),
    invalid("mem-bind", "x", 'unrecognized --mem-bind argument "x"'),
    invalid("priority", "-1", "Priority must be >= 0"),
    invalid("bbf", "/no/such", rc=1),
    invalid(
        "nodefile",
        "/no",
        "slurm_allocate_resources error opening file /no, No such file or directory\nInvalid --nodefile node file",
    ),
    invalid("nodes", "1-x", '"x" is not a valid node count'),
)


def misplaced(why: str, line: str, word: str) -> Row:
    """A row of a directive with a word too many."""
    err = f"sbatch: error: Invalid directive found in batch script: {word}"
    return row(why, Do("sbatch", "", err, 255, stdin=f"{FIRST}{line}\ntrue\n"))


OLD = "sbatch: error: Change from #SLURM to #SBATCH in your script and verify the options are valid in sbatch"
PACK = 'sbatch: Warning: the "packjob" component separator is being deprecated. Please, use "hetjob" instead.'
DIRECTIVES = (
    row(
        "a hard blank in a word",
        submit("-H", stdin=f"{FIRST}-J a\N{NO-BREAK SPACE}b\ntrue\n"),
        queue("<a>", "a\N{NO-BREAK SPACE}b", "%j"),
    ),
    row(
        "another word for #SBATCH",
        Do("sbatch --parsable -H", like(r"\d+"), OLD, keep="a", stdin="#!/bin/sh\n#SLURM -n 3\n#SLURM -J x\ntrue\n"),
        queue("<a>", "x|3", "%j|%C"),
    ),
    row(
        "another word for hetjob",
        Do("sbatch --parsable -H", like(r"\d+"), PACK, stdin=f"{FIRST}-n1\n#SBATCH packjob\n#SBATCH -n2\ntrue\n"),
    ),
    misplaced("an explanation behind a directive", "--job-name=x      (sets the name)", "(sets"),
    misplaced("a word too many", "-J x extra", "extra"),
    misplaced("a blank behind a backslash", "-J a\\ b", "b"),
    misplaced("a value of an option that takes it with = only", "--exclusive user", "user"),
    misplaced("blanks around =", "--output = x", "x"),
    misplaced("a word alone", "hello", "hello"),
    misplaced("words behind --", "-- -J x", "-J"),
    misplaced("a dash that is none", "\N{EN DASH}-job-name=x", "\N{EN DASH}-job-name=x"),
    misplaced("a hard blank of a web page", "\N{NO-BREAK SPACE}-n 2", "\N{NO-BREAK SPACE}-n"),
    misplaced("a number sign in quotes", "-J a '# no'", "# no"),
    row(
        "a word too many in a later line, before an option that is none",
        Do(
            "sbatch",
            "",
            "sbatch: error: Invalid directive found in batch script: b",
            255,
            stdin="#!/bin/sh\n#SBATCH -J a\n#SBATCH b\n#SBATCH --frob\n",
        ),
    ),
    row(
        "what only the command line may say",
        Do("sbatch --parsable -H", like(r"\d+"), keep="a", stdin=f"{FIRST}--wrap=hostname -Q\ntrue\n"),
        queue("<a>", "sbatch", "%j"),
    ),
    row(
        "the script's name where a quote is not closed",
        Writes("bad.sh", "#!/bin/sh\n#SBATCH -J 'x\n"),
        Do("sbatch <dir>/bad.sh", "", "sbatch: fatal: bad.sh: line 2: Unmatched `'` in [ 'x]", 1),
    ),
)

# What runs on GPUs does so in their lane: a job that waits for them changes why others wait.
GPUS = "-p gpu -N1 -o out"
ASK = "--wrap 'echo $SLURM_CPUS_ON_NODE $SLURM_NTASKS $SLURM_GPUS_ON_NODE'"
RUNNING = (
    row(
        "CPUs for each GPU",
        submit(f"{GPUS} --gpus=2 --cpus-per-gpu=3 --wrap 'echo $SLURM_CPUS_ON_NODE $SLURM_CPUS_PER_GPU'"),
        Reads("out", "6 3\n"),
        Do("scontrol -o show job <a>", like(r".* NumCPUs=6 .* CpusPerTres=gres:gpu:3 .*")),
        lane="gpu",
    ),
    row(
        "memory for each GPU",
        submit(f"{GPUS} --gres=gpu:2 --mem-per-gpu=100 --wrap 'echo $SLURM_MEM_PER_GPU'"),
        Reads("out", "100\n"),
        Do("scontrol -o show job <a>", like(r".* MemPerTres=gres:gpu:100 .*")),
        lane="gpu",
    ),
    row(
        "tasks for each GPU",
        submit(f"{GPUS} --gpus=2 --ntasks-per-gpu=2 {ASK}"),
        Reads("out", "4 4 2\n"),
        lane="gpu",
    ),
    row(
        "GPUs for tasks",
        submit(f"{GPUS} -n4 --ntasks-per-gpu=2 {ASK}"),
        Reads("out", "4 4 2\n"),
        lane="gpu",
    ),
    row(
        "tasks for GPUs",
        submit("-p gpu -o out --gpus=4 --gpus-per-task=2 --wrap 'echo $SLURM_NTASKS'"),
        Reads("out", "2\n"),
        lane="gpu",
    ),
    row(
        "nodes for GPUs",
        submit(f"-p gpu -o out --gpus=2 --gpus-per-node=1 {ASK}"),
        Reads("out", like(r"1 \d* ?1\n?")),
        lane="gpu",
    ),
    row(
        "CPUs for the GPU of each task",
        submit(f"{GPUS} -n2 --gpus-per-task=1 --cpus-per-gpu=2 {ASK}"),
        Reads("out", "4 2 2\n"),
        lane="gpu",
    ),
    row(
        "CPUs on each node",
        submit("-o out --mincpus=3 --wrap 'echo $SLURM_CPUS_ON_NODE $SLURM_TASKS_PER_NODE'"),
        Reads("out", "3 3\n"),
    ),
    row(
        "a limit that the deadline cuts",
        submit("-o /dev/null --deadline=now+5minutes --time-min=1 -t 10 --wrap true"),
        await_end("<a>", "COMPLETED"),
        Do("scontrol -o show job <a>", like(r".* TimeLimit=00:0[45]:00 TimeMin=00:01:00 .*")),
    ),
    row(
        "a deadline that cannot be met",
        submit("--deadline=now+90 -t 5 --wrap true"),
        queue("<a>", "DEADLINE|DeadLine"),
    ),
    row(
        "a deadline that waiting makes impossible",
        submit("--deadline=now+62 --time-min=1 -t 5 --begin=now+3 --wrap true"),
        queue("<a>", "DEADLINE|DeadLine"),
    ),
    row(
        "a held job waits beyond its deadline",
        submit("-H --deadline=now+30 -t 5 --wrap true"),
        queue("<a>", "PENDING|JobHeldUser"),
    ),
)

PARTS = "sbatch --parsable -H -n1 -J one : -n2 -p gpu : -n3"
TWO = "#!/bin/sh\n#SBATCH -n1 -o out -J one\n#SBATCH hetjob\n#SBATCH -n2 -p gpu\n"
NOT_ALONE = "Operation not permitted on individual component of heterogeneous job"


def parts(job: str, out: str, form: str = "%i|%T") -> Until:
    """The wait until squeue tells this about the parts of a job, in order."""
    return Until(("squeue", "-h", "-t", "all", "-S", "i", "-j", job, "-o", form), out)


HETEROGENEOUS = (
    row(
        "a job of three parts",
        Writes("job.sh", "#!/bin/sh\ntrue\n"),
        Do(f"{PARTS} job.sh", like(r"\d+"), keep="a"),
        parts("<a>", "<a>+0|one|1|cpu\n<a>+1|one|2|gpu\n<a>+2|one|3|cpu", "%i|%j|%C|%P"),
        Do("squeue -h -S i -j <a>+1 -O HetJobID:|,HetJobOffset:|", "<a>|0|\n<a>|1|\n<a>|2|"),
        Do(
            "scontrol -o show job <a>+2",
            like(r"JobId=\d+ HetJobId=<a> HetJobOffset=2 JobName=one HetJobIdSet=<a>-\d+ .*"),
        ),
        Do("scontrol -o show job <a>", like("JobId=<a> .*\nJobId=.*\nJobId=.*")),
    ),
    row(
        "what the next part takes over, and what not",
        submit(
            "",
            stdin=f"{FIRST}-H -J a -n2 -c2 -p gpu -t 30 --comment=c --mem=100 --gres=gpu:1 --nice=5\n"
            "#SBATCH hetjob\ntrue\n",
        ),
        parts("<a>", "a|4|gpu|30:00|c|100M|gres:gpu:1|5\na|1|cpu|30:00|c|100M|N/A|5", "%j|%C|%P|%l|%k|%m|%b|%y"),
    ),
    row(
        "its script runs once and knows all parts",
        submit(
            "",
            stdin=f"{TWO}echo $SLURM_HET_SIZE $SLURM_JOB_ID $SLURM_NTASKS $SLURM_NTASKS_HET_GROUP_1 "
            "$SLURM_JOB_PARTITION_HET_GROUP_1 $SLURM_JOB_ID_HET_GROUP_0\n",
        ),
        Reads("out", "2 <a> 1 2 gpu <a>\n"),
        parts("<a>", "<a>+0|COMPLETED\n<a>+1|COMPLETED"),
        Until("sacct -X -n -P -j <a> -o JobID,State,ExitCode", "<a>+0|COMPLETED|0:0\n<a>+1|COMPLETED|0:0"),
        Do("sacct -X -n -P -j <a>+1 -o JobID,NCPUS", "<a>+1|2"),
        Do("sacct -n -P -j <a> -o JobID", "<a>+0\n<a>+0.batch\n<a>+1"),
        lane="gpu",
    ),
    row(
        "all parts fail with the script",
        submit("", stdin=f"{TWO}exit 3\n"),
        parts("<a>", "<a>+0|FAILED|NonZeroExitCode\n<a>+1|FAILED|NonZeroExitCode", "%i|%T|%r"),
        Until("sacct -X -n -P -j <a> -o State,ExitCode", "FAILED|3:0\nFAILED|3:0"),
        lane="gpu",
    ),
    row(
        "a part alone cannot be cancelled before the start, the whole can",
        submit("-H", stdin=f"{TWO}true\n"),
        Do("scancel <a>+1", "", f"scancel: error: Kill job error on job id <a>+1: {NOT_ALONE}", 60),
        parts("<a>", "<a>+0|PENDING\n<a>+1|PENDING"),
        Do("scancel <a>"),
        parts("<a>", "<a>+0|CANCELLED\n<a>+1|CANCELLED"),
    ),
    row(
        "a running part is cancelled alone, the first with all",
        submit("", stdin=f"{TWO}sleep 300\n"),
        parts("<a>", "<a>+0|RUNNING\n<a>+1|RUNNING"),
        Do("scancel <a>+1"),
        parts("<a>", "<a>+0|RUNNING\n<a>+1|CANCELLED"),
        Do("scancel <a>+0"),
        parts("<a>", "<a>+0|CANCELLED\n<a>+1|CANCELLED"),
        lane="gpu",
    ),
    row(
        "its parts are suspended together",
        submit("-o /dev/null", stdin="#!/bin/sh\n#SBATCH -n1\n#SBATCH hetjob\n#SBATCH -n2\nsleep 600\n"),
        parts("<a>", "<a>+0|RUNNING\n<a>+1|RUNNING"),
        Do("scontrol suspend <a>"),
        parts("<a>", "<a>+0|SUSPENDED\n<a>+1|SUSPENDED"),
        Do("scontrol resume <a>"),
        parts("<a>", "<a>+0|RUNNING\n<a>+1|RUNNING"),
    ),
    row(
        "parts start together or not at all",
        submit("", stdin="#!/bin/sh\n#SBATCH -n1\n#SBATCH hetjob\n#SBATCH -N9\ntrue\n"),
        parts("<a>", "<a>+0|PENDING|Resources\n<a>+1|PENDING|PartitionNodeLimit", "%i|%T|%r"),
    ),
    row(
        "held and released as a whole",
        submit("--begin=now+1hour", stdin=f"{TWO}true\n"),
        Do("scontrol hold <a>"),
        parts("<a>", "PENDING|<hold>\nPENDING|<hold>", "%T|%r"),
        Do("scontrol release <a>"),
        parts("<a>", "PENDING|BeginTime\nPENDING|BeginTime", "%T|%r"),
    ),
    row(
        "jobs that wait for the whole, and for a part",
        submit("-H", stdin=f"{TWO}true\n"),
        submit("-d afterok:<a> --wrap true", "b"),
        submit("-d afterok:<a>+1 --wrap true", "c"),
        queue("<b>", "afterok:<a>(unfulfilled)", "%E"),
        queue("<c>", "afterok:<a>+1(unfulfilled)", "%E"),
        Do("scancel <a>"),
        queue("<b>", "PENDING|DependencyNeverSatisfied"),
    ),
    row(
        "no array of parts",
        Do("sbatch --array=1-2 : -n1 -H", "", f"{FAILED}Invalid job array specification", 1, stdin="#!/bin/sh\ntrue\n"),
    ),
    row(
        "one part that cannot run refuses all",
        Do(
            "sbatch -n1 : --mem=1T",
            "",
            f"sbatch: error: Memory specification can not be satisfied\n{UNAVAILABLE}",
            1,
            stdin="#!/bin/sh\ntrue\n",
        ),
    ),
    row(
        "steps of several parts, and of one",
        submit(
            "",
            stdin=f"{TWO}srun --het-group=0,1 -l sh -c 'echo $SLURMD_NODENAME $SLURM_NODEID' | cut -c1-7,10- | sort\n"
            "srun --het-group=1 -n1 sh -c 'echo $SLURM_PROCID $SLURM_NTASKS $SLURM_JOB_ID' 2>/dev/null\n"
            "srun --het-group=5 true 2>&1; echo $?\n",
        ),
        Reads(
            "out",
            "0: node 0\n1: node 1\n2: node 1\n0 1 <a>\n"
            "srun: error: Requested het-group offset exceeds highest hetjob index (5 > 1)\n1\n",
        ),
        Until("sacct -n -P -j <a> -o JobID,NTasks", "<a>+0|\n<a>+0.batch|1\n<a>+0.0|1\n<a>+1|\n<a>+1.0|2\n<a>+1.1|1"),
        lane="gpu",
    ),
    row("the parts of no job", Do("squeue -h -j 99999999+1", "", "slurm_load_jobs error: Invalid job id specified", 1)),
)

ROWS = (*TAKEN, *REFUSED, *DIRECTIVES, *RUNNING, *HETEROGENEOUS)

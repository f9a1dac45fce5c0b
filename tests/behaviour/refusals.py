"""What SLURM's programs refuse, with their texts and exit codes (Slurm 22.05.8)."""

from __future__ import annotations

from tests.behaviour.row import ANY, Do, Row, Text, Until, Writes, await_end, like, queue, row, submit

FAILED = "sbatch: error: Batch job submission failed: "
SQUEUE_HEADER = "             JOBID PARTITION     NAME     USER ST       TIME  NODES NODELIST(REASON)"
NO_SCRIPT = """\
sbatch: error: This does not look like a batch script.  The first
sbatch: error: line must start with #! followed by the path to an interpreter.
sbatch: error: For instance: #!/bin/sh"""
GONE = "Invalid job id specified"


def make_refusal(why: str, argv: str, err: Text, rc: int = 1, out: Text = "", stdin: str = "") -> Row:
    """Make a row of one command that fails."""
    return row(why, Do(argv, out, err, rc, stdin=stdin))


SBATCH = (
    make_refusal(
        "a partition that is not there is named",
        "sbatch -p nope --wrap true",
        f"sbatch: error: invalid partition specified: nope\n{FAILED}Invalid partition name specified",
    ),
    make_refusal(
        "an option that cannot be read: 255",
        "sbatch -t abc --wrap true",
        "sbatch: error: Invalid --time specification",
        255,
    ),
    make_refusal(
        "memory is an integer and a unit",
        "sbatch --mem=lots --wrap true",
        "sbatch: error: Invalid --mem specification",
        255,
    ),
    make_refusal(
        "memory with a fraction", "sbatch --mem=1.5G --wrap true", "sbatch: error: Invalid --mem specification", 255
    ),
    make_refusal("negative memory", "sbatch --mem=-5 --wrap true", "sbatch: error: Invalid --mem specification", 255),
    make_refusal(
        "a time that is none",
        "sbatch --begin=xyz --wrap true",
        "Invalid time specification (pos=0): xyz\nsbatch: error: Invalid --begin specification",
        255,
    ),
    make_refusal(
        "an unknown option is never ignored",
        "sbatch --frobnicate --wrap true",
        "sbatch: unrecognized option '--frobnicate'\nTry \"sbatch --help\" for more information",
        255,
    ),
    make_refusal(
        "an unknown letter",
        "sbatch -y --wrap true",
        "sbatch: invalid option -- 'y'\nTry \"sbatch --help\" for more information",
        255,
    ),
    make_refusal(
        "an option that lacks its value",
        "sbatch --job-name",
        "sbatch: option '--job-name' requires an argument\nTry \"sbatch --help\" for more information",
        255,
    ),
    make_refusal(
        "a value where none is taken",
        "sbatch --hold=yes --wrap true",
        "sbatch: option '--hold' doesn't allow an argument\nTry \"sbatch --help\" for more information",
        255,
    ),
    make_refusal(
        "an abbreviation of several options",
        "sbatch --no=1 --wrap true",
        like(r"sbatch: option '--no=1' is ambiguous; possibilities: .*\nTry \"sbatch --help\" for more information"),
        255,
    ),
    make_refusal(
        "mail types are checked",
        "sbatch --mail-type=FOO --wrap true",
        "sbatch: error: Invalid --mail-type specification",
        255,
    ),
    make_refusal(
        "a number of tasks that is none",
        "sbatch -n x --wrap true",
        'sbatch: error: Invalid numeric value "x" for --ntasks.',
    ),
    make_refusal(
        "a number of CPUs that is none",
        "sbatch -c 0 --wrap true",
        'sbatch: error: Invalid numeric value "0" for --cpus-per-task.',
    ),
    make_refusal(
        "a file that is not there", "sbatch /no/such/file.sh", "sbatch: error: Unable to open file /no/such/file.sh"
    ),
    make_refusal("an empty script from stdin", "sbatch", "sbatch: error: Batch script is empty!"),
    make_refusal("a script without #!", "sbatch", NO_SCRIPT, stdin="echo hi\n"),
    make_refusal("a binary", "sbatch /bin/ls", NO_SCRIPT),
    make_refusal(
        "line ends of DOS",
        "sbatch",
        "sbatch: error: Batch script contains DOS line breaks (\\r\\n)\n"
        "sbatch: error: instead of expected UNIX line breaks (\\n).",
        stdin="#!/bin/sh\r\necho hi\r\n",
    ),
    make_refusal(
        "a script of blanks only", "sbatch", "sbatch: error: Batch script contains only whitespace!", stdin=" \n\n"
    ),
    make_refusal(
        "a script and --wrap",
        "sbatch --wrap true /bin/ls",
        "sbatch: error: Script arguments not permitted with --wrap option",
    ),
    make_refusal(
        "an option in the script that is unknown", "sbatch", ANY, 255, stdin="#!/bin/sh\n#SBATCH --frobnicate\ntrue\n"
    ),
    make_refusal(
        "a quote that is not closed",
        "sbatch",
        'sbatch: fatal: stdin: line 2: Unmatched `"` in [--comment="a]',
        stdin='#!/bin/sh\n#SBATCH --comment="a\ntrue\n',
    ),
    make_refusal(
        "a word that begins with a colon",
        "sbatch",
        "sbatch: fatal: stdin: line 3: Unexpected `:` in [ : b]",
        stdin="#!/bin/sh\n\n#SBATCH -J a : b\ntrue\n",
    ),
    make_refusal(
        "an unknown kind of dependency", "sbatch -d afterfoo:1 --wrap true", f"{FAILED}Job dependency problem"
    ),
    make_refusal("a dependency without a job", "sbatch -d afterok: --wrap true", f"{FAILED}Job dependency problem"),
    make_refusal(
        "a kind of gres that is not there",
        "sbatch --gres=fpga:1 --wrap true",
        "sbatch: error: Invalid generic resource (gres) specification",
    ),
    make_refusal(
        "more GPUs than a node has",
        "sbatch -p gpu --gres=gpu:9 -N1 --wrap true",
        f"{FAILED}Requested node configuration is not available",
    ),
    make_refusal(
        "more memory than a node has",
        "sbatch --mem=1T --wrap true",
        like(
            f"sbatch: error: Memory specification can not be satisfied\n"
            f"{FAILED}Requested node configuration is not available"
        ),
    ),
    make_refusal(
        "more CPUs per task than a node has",
        "sbatch -c 9 --wrap true",
        f"sbatch: error: CPU count per node can not be satisfied\n"
        f"{FAILED}Requested node configuration is not available",
    ),
    make_refusal("no nodes", "sbatch -N 0 --wrap true", f"{FAILED}Node count specification invalid"),
    make_refusal("a node that is not there", "sbatch -w node99 --wrap true", f"{FAILED}Invalid node name specified"),
    make_refusal(
        "a feature that no node has", "sbatch -C nosuch --wrap true", f"{FAILED}Invalid feature specification"
    ),
    make_refusal("an array that is none", "sbatch --array=x --wrap true", f"{FAILED}Invalid job array specification"),
    make_refusal(
        "an array beyond MaxArraySize", "sbatch --array=0-4999 --wrap true", f"{FAILED}Invalid job array specification"
    ),
    make_refusal(
        "a reservation that is not there",
        "sbatch --reservation=nope --wrap true",
        f"{FAILED}Requested reservation is invalid",
    ),
    make_refusal(
        "a license that is not there", "sbatch -L matlab:1 --wrap true", f"{FAILED}Invalid license specification"
    ),
    make_refusal(
        "a name beyond 1 KiB",
        f"sbatch -J {'x' * 1500} --wrap true",
        f"{FAILED}Pathname of a file, directory or other parameter too long",
    ),
    make_refusal(
        "a comment beyond 1 KiB",
        f"sbatch --comment={'x' * 1025} --wrap true",
        f"{FAILED}Pathname of a file, directory or other parameter too long",
    ),
    row("an unknown account is taken", submit("-H -A nope --wrap true"), queue("<a>", like("PENDING"), "%T")),
    row("an unknown QOS is taken where accounting is not enforced", submit("-H --qos=nope --wrap true")),
    row(
        "more nodes than the partition has: taken, never started",
        submit("-N 9 --wrap true"),
        queue("<a>", "PENDING|PartitionNodeLimit"),
    ),
    row(
        "a time beyond the partition's: taken, never started",
        submit("-p gpu -t 8-0 --wrap true"),
        queue("<a>", "PENDING|PartitionTimeLimit"),
    ),
)

SCANCEL = (
    make_refusal("an unknown job: silence and 0", "scancel 99999999", "", 0),
    make_refusal("several unknown jobs: the same", "scancel 99999998 99999999", "", 0),
    make_refusal(
        "an unknown job, asked to speak",
        "scancel -v 99999999",
        f"scancel: Terminating job 99999999\nscancel: error: Kill job error on job id 99999999: {GONE}",
        0,
    ),
    make_refusal("a word", "scancel abc", "scancel: error: Invalid job id abc"),
    make_refusal("zero", "scancel 0", "scancel: error: Invalid job id 0"),
    make_refusal("a negative number", "scancel -- -5", "scancel: error: Invalid job id -5"),
    make_refusal("a fraction", "scancel 4.5.6", "scancel: error: Invalid job id 4.5.6"),
    make_refusal("nothing", "scancel", "scancel: error: No job identification provided"),
    make_refusal("an unknown signal", "scancel -s FOO 4", "Unknown job signal: FOO"),
    row(
        "a finished job: silence and 0; asked to speak, the reason",
        submit("-o /dev/null --wrap true"),
        await_end("<a>", "COMPLETED"),
        Do("scancel <a>"),
        Do("scancel -v <a>", err=ANY),
    ),
    row(
        "a signal to a waiting job",
        submit("-H --wrap true"),
        Do(
            "scancel -s USR1 <a>",
            err="scancel: error: Kill job error on job id <a>: Job can not be altered now, try again later",
            rc=228,
            timeout_s=115,
        ),
        slow=True,  # scancel tries ten times, with pauses of 5 to 14 s
    ),
    row(
        "a task that the array does not have: silence and 0",
        submit("-H --array=1-2 --wrap true"),
        Do("scancel <a>_99"),
        queue("<a>", "<a>_[1-2]|PENDING", "%i|%T"),
    ),
)

SCONTROL = (
    make_refusal("an unknown job", "scontrol show job 99999999", f"slurm_load_jobs error: {GONE}"),
    make_refusal("a job that is a word", "scontrol show job abc", f"scontrol_print_job error: {GONE}"),
    make_refusal("an unknown node: told on stdout", "scontrol show node nope", "", out="Node nope not found"),
    make_refusal(
        "an unknown partition: told on stdout", "scontrol show partition nope", "", out="Partition nope not found"
    ),
    make_refusal(
        "hold of an unknown job",
        "scontrol hold 99999999",
        f"{GONE} for job 99999999\nslurm_suspend error: {GONE}",
    ),
    make_refusal("requeue of an unknown job", "scontrol requeue 99999999", f"{GONE} for job 99999999"),
    make_refusal("update of an unknown job", "scontrol update jobid=99999999 nice=5", f"{GONE} for job 99999999"),
    make_refusal("a keyword that is none", "scontrol frobnicate", "invalid keyword: frobnicate"),
    make_refusal(
        "update of a node that is not there",
        "scontrol update nodename=nope state=drain reason=x",
        "slurm_update error: Invalid node name specified",
    ),
    make_refusal(
        "no drain without a reason",
        "scontrol update nodename=node01 state=drain",
        "You must specify a reason when DOWNING or DRAINING a node. Request denied",
    ),
    row(
        "a waiting job cannot be requeued",
        submit("-H --wrap true"),
        Do("scontrol requeue <a>", err="Job is pending execution for job <a>", rc=1),
    ),
    row(
        "a priority is a number of 32 bits",
        submit("--begin=now+1hour --wrap true"),
        Do("scontrol update jobid=<a> priority=abc", err="scontrol: error: Invalid Priority value: abc", rc=1),
        Do("scontrol update jobid=<a> priority=-1", err="scontrol: error: Invalid Priority value: -1", rc=1),
    ),
    row(
        "a field that is none",
        submit("-H --wrap true"),
        Do(
            "scontrol update jobid=<a> frob=1",
            err="Update of this parameter is not supported: frob=1\nRequest aborted",
            rc=1,
        ),
    ),
    row(
        "a finished job can be neither held nor changed",
        submit("-o /dev/null --wrap true"),
        queue("<a>", "COMPLETED|None"),
        Do(
            "scontrol hold <a>",
            err="Job has already finished for job <a>\nslurm_suspend error: Job has already finished",
            rc=1,
        ),
        Do("scontrol update jobid=<a> nice=5", err="Job has already finished for job <a>", rc=1),
        Do("scontrol update jobid=<a> priority=5", err="Job has already finished for job <a>", rc=1),
    ),
    row(
        "a priority does not free a held job",
        submit("-H --wrap true"),
        Do(
            "scontrol update jobid=<a> priority=5",
            err="Job is in held state, pending scheduler release for job <a>",
            rc=1,
        ),
    ),
    row(
        "nor that of an array: its tasks are named",
        submit("-H --array=1-6 --wrap true"),
        Do(
            "scontrol update jobid=<a> priority=5",
            err="<a>_1-6: Job is in held state, pending scheduler release",
            rc=1,
        ),
    ),
    row(
        "what waits, has ended or is unknown is neither suspended nor resumed",
        submit("-H --wrap true"),
        submit("-o /dev/null --wrap true", "b"),
        queue("<b>", "COMPLETED|None"),
        *(
            Do(
                f"scontrol {verb} <a>,<b>,99999999",
                err="Job is pending execution for job <a>\n"
                "Job/step already completing or completed for job <b>\n"
                "Unexpected message received for job 99999999",
                rc=1,
            )
            for verb in ("suspend", "resume")
        ),
    ),
    row(
        "a job that runs is not resumed; one that is suspended may be suspended again",
        submit("-o /dev/null --wrap 'sleep 60'"),
        queue("<a>", "RUNNING|None"),
        Do("scontrol resume <a>", err="Job is not suspended for job <a>", rc=1),
        Do("scontrol suspend <a>"),
        queue("<a>", "SUSPENDED|None"),
        Do("scontrol suspend <a>"),
        Do("scontrol resume <a>"),
        queue("<a>", "RUNNING|None"),
    ),
    row(
        "a component is not suspended alone",
        submit("-n1 -o /dev/null --wrap 'sleep 60' : -n1"),
        Until("squeue -h -j <a> -t all -o %T", "RUNNING\nRUNNING"),
        Do(
            "scontrol suspend <a>+1",
            err="Operation not permitted on individual component of heterogeneous job for job <a>+1",
            rc=1,
        ),
        Do("scontrol requeue <a>+1", err=f"{GONE} for job <a>+1", rc=1),
    ),
    row(
        "hold goes on after a job it does not find",
        submit("--begin=now+1hour --wrap true", "a"),
        submit("--begin=now+1hour --wrap true", "b"),
        Do(
            "scontrol hold <a> 99999999 <b>",
            err=f"{GONE} for job 99999999\nslurm_suspend error: {GONE}",
            rc=1,
        ),
        queue("<a>,<b>", "PENDING|<hold>\nPENDING|<hold>"),
    ),
)

QUERIES = (
    make_refusal("squeue: one unknown job", "squeue -j 99999999", f"slurm_load_jobs error: {GONE}"),
    make_refusal("squeue: several unknown jobs are an empty list", "squeue -h -j 99999998,99999999", "", 0),
    make_refusal("squeue: a word", "squeue -j abc", "squeue: error: Invalid job id: abc"),
    make_refusal("squeue: an unknown partition is an empty list", "squeue -p nope", "", 0, SQUEUE_HEADER),
    make_refusal(
        "squeue: an unknown user",
        "squeue -u nosuchuser",
        "squeue: error: Invalid user: nosuchuser\n\n",
        0,
        SQUEUE_HEADER,
    ),
    make_refusal(
        "squeue: an unknown state",
        "squeue -t FROB",
        like(
            "squeue: error: Invalid job state specified: FROB\n"
            "squeue: error: Valid job states include: PENDING,RUNNING,SUSPENDED,.*,STAGE_OUT,STOPPED\n?"
        ),
    ),
    make_refusal("sinfo: an unknown node", "sinfo -h -n nope", "", 0, ANY),
    make_refusal(
        "sinfo: an unknown partition", "sinfo -p nope", "", 0, "PARTITION AVAIL  TIMELIMIT  NODES  STATE NODELIST"
    ),
    make_refusal(
        "sinfo: an unknown state",
        "sinfo -t frob",
        like('sinfo: error: Bad state string: "frob"\nsinfo: error: valid states: unknown,down,idle,.*'),
    ),
    make_refusal(
        "sacct: an unknown job is an empty table",
        "sacct -X -P -j 99999999",
        "",
        0,
        "JobID|JobName|Partition|Account|AllocCPUS|State|ExitCode",
    ),
    make_refusal("sacct: a word", "sacct -X -P -j abc", "sacct: fatal: Bad job/step specified: abc"),
    make_refusal("sacct: an unknown state", "sacct -X -P -s FROB", "sacct: fatal: unrecognized job state value 'FROB'"),
    make_refusal(
        "sacct: an unknown field", "sacct -X -P -o JobID,Frob", 'sacct: error: Invalid field requested: "Frob"'
    ),
    make_refusal(
        "sacct: a time that is none", "sacct -X -P -S xyz", like(r"Invalid time specification \(pos=0\): xyz")
    ),
    make_refusal("sacctmgr: an unknown user is an empty list", "sacctmgr -nP show user nosuch", "", 0),
    make_refusal(
        "sstat: an unknown job", "sstat -a -n -P -j 99999999", "sstat: error: couldn't get steps for job 99999999", 0
    ),
)

NO_CONTROLLER = "Unable to contact slurm controller (connect failure)"


def unreachable(why: str, argv: str, err: str, rc: int = 1, out: str = "") -> Row:
    """A row of one command whose slurmctld does not answer."""
    return row(why, Do(argv, out, err, rc, env={"SLURM_CONF": "<down>"}))


DOWN = (
    unreachable("no controller: sbatch", "sbatch --wrap true", f"{FAILED}{NO_CONTROLLER}"),
    unreachable("no controller: squeue", "squeue", f"slurm_load_jobs error: {NO_CONTROLLER}"),
    unreachable("no controller: sinfo", "sinfo", f"slurm_load_partitions: {NO_CONTROLLER}"),
    unreachable("no controller: scontrol show job", "scontrol show job 4", f"slurm_load_jobs error: {NO_CONTROLLER}"),
    unreachable(
        "no controller: ping says so on stdout",
        "scontrol ping",
        "",
        1,
        "Slurmctld(primary) at <host> is DOWN\n*****************************************\n"
        "** RESTORE SLURMCTLD DAEMON TO SERVICE **\n*****************************************",
    ),
    unreachable(
        "no controller: scancel", "scancel 4", f"scancel: error: Kill job error on job id 4: {NO_CONTROLLER}", 8
    ),
    unreachable("no controller: sdiag", "sdiag", f"slurm_get_statistics: {NO_CONTROLLER}", 255),
)

SCRIPT_FILES = (
    row(
        "an empty file is told from no file",
        Writes("empty.sh", ""),
        Do("sbatch empty.sh", err="sbatch: error: Batch script is empty!", rc=1),
    ),
)

ROWS = (*SBATCH, *SCANCEL, *SCONTROL, *QUERIES, *DOWN, *SCRIPT_FILES)

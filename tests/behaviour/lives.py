"""What becomes of jobs: arrays, dependencies, holding, requeueing, signals and ends."""

from __future__ import annotations

from tests.behaviour.row import ANY, Do, Looks, Reads, Row, RowFolder, Step, Until, await_end, like, queue, row, submit

ARRAYS = (
    row(
        "an array waiting is one row, running ones have their own",
        submit("-H --array=0-9%3 -o /dev/null --wrap true"),
        queue("<a>", "<a>_[0-9%3]|<a>|0-9%3|PENDING", "%i|%A|%K|%T"),
        Do("squeue -h -r -j <a> -o %i", "\n".join(f"<a>_{n}" for n in range(10))),
    ),
    row(
        "strides and lists",
        submit("-H --array=0-8:4 --wrap true", "a"),
        submit("-H --array=1,3,5-7 --wrap true", "b"),
        submit("-H --array=5 --wrap true", "c"),
        queue("<a>", "<a>_[0,4,8]", "%i"),
        queue("<b>", "<b>_[1,3,5-7]", "%i"),
        queue("<c>", "<c>_[5]", "%i"),
    ),
    row(
        "a task knows which it is; its log is named after it",
        submit(
            "--array=3,5 --wrap 'echo $SLURM_ARRAY_JOB_ID $SLURM_ARRAY_TASK_ID $SLURM_ARRAY_TASK_COUNT "
            "$SLURM_ARRAY_TASK_MIN $SLURM_ARRAY_TASK_MAX $SLURM_ARRAY_TASK_STEP'"
        ),
        Reads("slurm-<a>_3.out", "<a> 3 2 3 5 1\n"),
        Reads("slurm-<a>_5.out", "<a> 5 2 3 5 1\n"),
        Until(
            "sacct -X -n -P -j <a> -o JobID,State,ExitCode",
            like(r"<a>_3\|COMPLETED\|0:0\n<a>_5\|COMPLETED\|0:0|<a>_5\|COMPLETED\|0:0\n<a>_3\|COMPLETED\|0:0"),
        ),
    ),
    row(
        "patterns of array tasks",
        submit("-J nm --array=3 -o '%x-%A-%a-%4a.txt' --wrap 'echo hi'"),
        Reads("nm-<a>-3-0003.txt", "hi\n"),
    ),
    row(
        "never more at once than the array allows",
        submit(
            "--array=0-7%3 -o /dev/null",
            stdin="#!/bin/sh\nmkdir -p in; mkdir in/$SLURM_ARRAY_TASK_ID; ls in | wc -l >> counts; sleep 0.4; "
            "rmdir in/$SLURM_ARRAY_TASK_ID; echo >> done\n",
        ),
        Until(("sh", "-c", "cat done 2>/dev/null | wc -l"), "8"),
        Looks(lambda place: most(place, 3)),
    ),
    row(
        "what is left of an array while some run",
        submit("--array=1-6%2 -o /dev/null --wrap 'sleep 600'"),
        Until(
            "squeue -h -j <a> -S i -o %i|%T|%r",
            like(
                r"<a>_\[3-6%2\]\|PENDING\|JobArrayTaskLimit\n<a>_[12]\|RUNNING\|None\n<a>_[12]\|RUNNING\|None|<a>_[12]\|RUNNING\|None\n<a>_[12]\|RUNNING\|None\n<a>_\[3-6%2\]\|PENDING\|JobArrayTaskLimit"
            ),
        ),
        Do("scancel <a>_5"),
        Until("squeue -h -j <a> -t PD -o %i", "<a>_[3-4,6%2]"),
        Do("scancel <a>_[3-4]"),
        Until("squeue -h -j <a> -t PD -o %i", "<a>_[6%2]"),
        Do("scancel <a>"),
        Until("squeue -h -j <a> -o %i", ""),
        Until("sacct -X -n -P -j <a> -o JobID,State", ANY),
    ),
    row(
        "a task that was held alone waits for the others as before",
        submit("--array=1-3%1 -o /dev/null --wrap 'sleep 600'"),
        Until("squeue -h -j <a> -t R -o %i", "<a>_1"),
        Do("scontrol hold <a>_2"),
        Do("scontrol release <a>_2"),
        Until(
            "squeue -h -r -j <a> -t PD -o '%K %r'",
            like(r"2 JobArrayTaskLimit\n3 JobArrayTaskLimit|3 JobArrayTaskLimit\n2 JobArrayTaskLimit"),
        ),
        Do("scancel <a>"),
    ),
    row(
        "one failing task fails only itself",
        submit("--array=0-2 -o /dev/null --wrap 'exit $SLURM_ARRAY_TASK_ID'"),
        Until(
            "sacct -X -n -P -j <a>_0,<a>_1,<a>_2 -o State,ExitCode",
            like(r"(?=.*COMPLETED\|0:0)(?=.*FAILED\|1:0)(?=.*FAILED\|2:0).*"),
        ),
        queue("<a>_1", "<a>_1|FAILED|NonZeroExitCode", "%i|%T|%r"),
    ),
    row(
        "one task can be held and looked at",
        submit("-H --array=1-3 --wrap true"),
        Do("scontrol -o show job <a>_2", like(r"JobId=\d+ ArrayJobId=<a> ArrayTaskId=.*")),
    ),
)


def most(place: RowFolder, limit: int) -> None:
    """Check that just as many tasks ran at once as are allowed."""
    counts = [int(line) for line in (place.folder / "counts").read_text().split()]
    assert max(counts) == limit, f"tasks at once: {counts}"


NEVER = "PENDING|DependencyNeverSatisfied"
OK = "-o /dev/null --wrap 'sleep 0.5'"
BAD = "-o /dev/null --wrap 'sleep 0.5; exit 1'"


def after(why: str, first: str, dependency: str, *then: Step) -> Row:
    """A row of a first job <a> and a second job <b> that depends on it."""
    return row(why, submit(first), submit(f"-o /dev/null -d {dependency} --wrap true", "b"), *then)


DEPENDENCIES = (
    after(
        "afterok: told while it waits",
        "-H --wrap true",
        "afterok:<a>",
        queue("<b>", "PENDING|Dependency|afterok:<a>(unfulfilled)", "%T|%r|%E"),
    ),
    after("afterok after success", OK, "afterok:<a>", await_end("<b>", "COMPLETED")),
    after(
        "afterok after failure never starts",
        BAD,
        "afterok:<a>",
        queue("<b>", f"{NEVER}|afterok:<a>(failed)", "%T|%r|%E"),
    ),
    after(
        "... and ends where that was asked",
        BAD,
        "afterok:<a> --kill-on-invalid-dep=yes",
        queue("<b>", "CANCELLED|DependencyNeverSatisfied"),
    ),
    after("afternotok after failure", BAD, "afternotok:<a>", await_end("<b>", "COMPLETED")),
    after("afternotok after success never starts", OK, "afternotok:<a>", queue("<b>", NEVER)),
    after(
        "... and ends where that was asked, too",
        OK,
        "afternotok:<a> --kill-on-invalid-dep=yes",
        queue("<b>", "CANCELLED|DependencyNeverSatisfied"),
    ),
    after("afterany after failure", BAD, "afterany:<a>", await_end("<b>", "COMPLETED")),
    after("afterany after success", OK, "afterany:<a>", await_end("<b>", "COMPLETED")),
    after("a bare id is afterany", BAD, "<a>", await_end("<b>", "COMPLETED")),
    after(
        "after: once the first has begun",
        "-o /dev/null --wrap 'sleep 600'",
        "after:<a>",
        await_end("<b>", "COMPLETED"),
        queue("<a>", "RUNNING|None"),
    ),
    after(
        "after with minutes waits",
        "-o /dev/null --wrap 'sleep 600'",
        "after:<a>+5",
        queue("<a>", "RUNNING|None"),
        queue("<b>", "PENDING|Dependency"),
    ),
    after("a first job that is held holds all", "-H --wrap true", "afterany:<a>", queue("<b>", "PENDING|Dependency")),
    row(
        "a cancelled first job is no success",
        submit("-o /dev/null -H --wrap true"),
        submit("-o /dev/null -d afterok:<a> --wrap true", "b"),
        submit("-o /dev/null -d afterany:<a> --wrap true", "c"),
        submit("-o /dev/null -d afternotok:<a> --wrap true", "d"),
        Do("scancel <a>"),
        queue("<b>", NEVER),
        await_end("<c>", "COMPLETED"),
        await_end("<d>", "COMPLETED"),
    ),
    row(
        "on a job that has already ended",
        submit("-o /dev/null --wrap true"),
        submit("-o /dev/null --wrap false", "f"),
        queue("<a>", "COMPLETED|None"),
        queue("<f>", "FAILED|NonZeroExitCode"),
        submit("-o /dev/null -d afterok:<a> --wrap true", "b"),
        submit("-o /dev/null -d afternotok:<f> --wrap true", "c"),
        submit("-o /dev/null -d afterok:<f> --wrap true", "d"),
        await_end("<b>", "COMPLETED"),
        await_end("<c>", "COMPLETED"),
        queue("<d>", NEVER),
    ),
    row(
        "on a job that nobody knows: as if it were done",
        submit("-o /dev/null -d afterok:99999999 --wrap true"),
        await_end("<a>", "COMPLETED"),
    ),
    row(
        "all of several",
        submit(OK, "a"),
        submit("-H -o /dev/null --wrap true", "h"),
        submit("-o /dev/null -d afterok:<a>:<h> --wrap true", "b"),
        submit("-o /dev/null -d afterok:<a>,afterany:<h> --wrap true", "c"),
        queue("<a>", "COMPLETED|None"),
        queue("<b>", "PENDING|Dependency|afterok:<h>(unfulfilled)", "%T|%r|%E"),
        Do("scontrol release <h>"),
        await_end("<b>", "COMPLETED"),
        await_end("<c>", "COMPLETED"),
    ),
    row(
        "any of several",
        submit("-H -o /dev/null --wrap true", "h"),
        submit(OK, "a"),
        submit("-o /dev/null -d afterok:<h>?afterok:<a> --wrap true", "b"),
        await_end("<b>", "COMPLETED"),
    ),
    row(
        "on a whole array, and on one of its tasks",
        submit("--array=1-2 -o /dev/null --wrap 'sleep 0.3; exit $((SLURM_ARRAY_TASK_ID - 1))'"),
        submit("-o /dev/null -d afterok:<a>_1 --wrap true", "b"),
        submit("-o /dev/null -d afterok:<a> --wrap true", "c"),
        submit("-o /dev/null -d afterany:<a> --wrap true", "d"),
        submit("-o /dev/null -d afternotok:<a>_2 --wrap true", "e"),
        await_end("<b>", "COMPLETED"),
        await_end("<d>", "COMPLETED"),
        await_end("<e>", "COMPLETED"),
        queue("<c>", NEVER),
    ),
    row(
        "aftercorr: task by task",
        submit("--array=1-2 -o /dev/null --wrap 'sleep 0.3; exit $((SLURM_ARRAY_TASK_ID - 1))'"),
        submit("--array=1-2 -o corr-%a -d aftercorr:<a> --wrap 'echo hi'", "b"),
        Reads("corr-1", "hi\n"),
        Until("squeue -h -t PD -j <b> -o %T|%r", NEVER),
    ),
    row(
        "a burst buffer that is written back: none here, so that the end is enough",
        submit("-o /dev/null --wrap 'sleep 0.3; exit 1'"),
        submit("-H -o /dev/null -d afterburstbuffer:<a> --wrap true", "b"),
        queue("<b>", "afterburstbuffer:<a>(unfulfilled)", "%E"),
        Do("scontrol release <b>"),
        await_end("<b>", "COMPLETED"),
    ),
    row(
        "singleton: one of a name at a time",
        submit("-J one-<dir> -o /dev/null --wrap 'sleep 600'"),
        submit("-J one-<dir> -o /dev/null -d singleton --wrap true", "b"),
        queue("<a>", "RUNNING|None"),
        queue("<b>", "PENDING|Dependency|singleton(unfulfilled)", "%T|%r|%E"),
        Do("scancel <a>"),
        await_end("<b>", "COMPLETED"),
    ),
    row(
        "a dependency can be changed and taken away",
        submit("-H -o /dev/null --wrap true"),
        submit("-o /dev/null -d afterok:<a> --wrap true", "b"),
        Do("scontrol update jobid=<b> dependency=afterany:<a>"),
        queue("<b>", "PENDING|Dependency|afterany:<a>(unfulfilled)", "%T|%r|%E"),
        Do("scontrol update jobid=<b> dependency="),
        await_end("<b>", "COMPLETED"),
    ),
)

CONTROL = (
    row(
        "hold by the operator, hold by the user",
        submit("--begin=now+1hour --wrap true"),
        Do("scontrol hold <a>"),
        queue("<a>", "PENDING|<hold>|0", "%T|%r|%Q"),
        Do("scontrol release <a>"),
        queue("<a>", "PENDING|BeginTime"),
        Do("scontrol uhold <a>"),
        queue("<a>", "PENDING|JobHeldUser|0", "%T|%r|%Q"),
        Do("scontrol hold <a>"),
        queue("<a>", "PENDING|<hold>|0", "%T|%r|%Q"),
        Do("scontrol uhold <a>"),
        queue("<a>", "PENDING|JobHeldUser|0", "%T|%r|%Q"),
        Do("scontrol release <a>"),
        queue("<a>", like(r"PENDING\|BeginTime\|[1-9]\d*"), "%T|%r|%Q"),
    ),
    row(
        "several at once, with commas",
        submit("--begin=now+1hour --wrap true"),
        submit("--begin=now+1hour --wrap true", "b"),
        Do("scontrol uhold <a>,<b>"),
        queue("<a>,<b>", "PENDING|JobHeldUser\nPENDING|JobHeldUser"),
    ),
    row(
        "release of what is not held: no complaint", submit("--begin=now+1hour --wrap true"), Do("scontrol release <a>")
    ),
    row(
        "priority, release and hold do nothing to a running job, without complaint",
        submit("-o /dev/null --wrap 'sleep 600'"),
        queue("<a>", "RUNNING|None"),
        Do("scontrol update jobid=<a> priority=1500"),
        Do("scontrol release <a>"),
        Do("scontrol hold <a>"),
        queue("<a>", like(r"RUNNING\|(None|<hold>)")),
    ),
    row(
        "a priority is set; 0 holds",
        submit("--begin=now+1hour --wrap true"),
        Do("scontrol update jobid=<a> priority=1234"),
        queue("<a>", "1234", "%Q"),
        Do("scontrol update jobid=<a> priority=0"),
        queue("<a>", "PENDING|<hold>|0", "%T|%r|%Q"),
    ),
    row(
        "what can be changed in a waiting job",
        submit("--begin=now+1hour -t 60 --wrap true"),
        Do("scontrol update jobid=<a> timelimit=+30"),
        Do(("scontrol", "update", "jobid=<a>", "name=new name", "comment=why not")),
        Do("scontrol update JobId=<a> Nice=100"),
        queue("<a>", "1:30:00|new name|why not|100", "%l|%j|%k|%y"),
        Do("scontrol update jobid=<a> timelimit=UNLIMITED partition=gpu"),
        queue("<a>", like("(UNLIMITED|7-00:00:00)\\|gpu"), "%l|%P"),
    ),
    row(
        "what begins later can be made to begin now",
        submit("-o /dev/null --begin=now+1hour --wrap true"),
        Do("scontrol update jobid=<a> starttime=now"),
        await_end("<a>", "COMPLETED"),
    ),
    row(
        "a running job that is requeued starts once more, and knows it",
        submit(
            "-o out --open-mode=append --wrap '"
            'echo run $SLURM_RESTART_COUNT; [ -n "$SLURM_RESTART_COUNT" ] || sleep 600\''
        ),
        Reads("out", "run\n"),
        Do("scontrol requeue <a>"),
        Until("squeue -h -t all -j <a> -O RestartCnt:|,State:|", like(r"1\|(PENDING|COMPLETED|RUNNING|COMPLETING)\|")),
        Until("cat out", like(r"run\n(.*\n)?run 1\n?")),
        await_end("<a>", "COMPLETED"),
        Do("scontrol -o show job <a>", like(".* Restarts=1 .*")),
    ),
    row(
        "a finished job can be requeued",
        submit("-o /dev/null --wrap 'exit 3'"),
        queue("<a>", "FAILED|NonZeroExitCode"),
        Do("scontrol requeue <a>"),
        Until("squeue -h -t all -j <a> -O RestartCnt:|", "1|"),
        Until("squeue -h -t all -j <a> -o %T|%r", "FAILED|NonZeroExitCode"),
    ),
    row(
        "requeued into hold",
        submit("-o /dev/null --wrap 'sleep 600'"),
        queue("<a>", "RUNNING|None"),
        Do("scontrol requeuehold <a>"),
        queue("<a>", "PENDING|job requeued in held state"),
    ),
)

TRAP = """\
#!/bin/bash
trap 'echo usr1' USR1
trap 'echo term; exit 15' TERM
echo ready
for i in $(seq 600); do sleep 0.1; done
"""
TRAP_CHILD = """\
#!/bin/bash
trap : USR1
bash -c 'trap "echo child" USR1; echo ready; for i in $(seq 600); do sleep 0.1; done'
"""

ENDS = (
    row("success", submit("-o /dev/null --wrap true"), queue("<a>", "COMPLETED|None"), await_end("<a>", "COMPLETED")),
    row(
        "an exit code",
        submit("-o /dev/null --wrap 'exit 7'"),
        queue("<a>", "FAILED|NonZeroExitCode"),
        await_end("<a>", "FAILED", "7:0"),
    ),
    row(
        "a death by signal",
        submit("-o /dev/null --wrap 'kill -9 $$'"),
        await_end("<a>", "FAILED", "0:9"),
        Until("squeue -h -t all -j <a> -O State:|,exit_code:|", "FAILED|9|"),
    ),
    row(
        "the raw status in the queue is that of wait(2)",
        submit("-o /dev/null --wrap 'exit 7'"),
        Until("squeue -h -t all -j <a> -O State:|,exit_code:|", "FAILED|1792|"),
    ),
    row(
        "a program that is not there",
        submit("-o /dev/null --wrap no-such-program"),
        await_end("<a>", "FAILED", "127:0"),
    ),
    row(
        "cancelled while waiting",
        submit("-H -o out --wrap 'echo never'"),
        Do("scancel <a>"),
        queue("<a>", "CANCELLED|JobHeldUser|0:00", "%T|%r|%M"),
        Until("sacct -X -n -P -j <a> -o State,ExitCode,Start", ANY),
        await_end("<a>", "CANCELLED by <uid>"),
    ),
    row(
        "cancelled while running",
        submit("-o out --wrap 'echo begun; sleep 600; echo never'"),
        Reads("out", "begun\n"),
        Do("scancel <a>"),
        await_end("<a>", "CANCELLED by <uid>"),
        queue("<a>", "CANCELLED|None"),
        Reads("out", like("begun\n(.*CANCELLED AT.*)?")),
    ),
    row(
        "all processes of a cancelled job end, whatever they ignore",
        submit(
            "-o out",
            stdin="#!/bin/bash\ntrap '' TERM\n"
            "(echo $BASHPID > child; sleep 600; sleep 600) &\necho ready\nwait; sleep 600\n",
        ),
        Reads("out", "ready\n"),
        Do("scancel <a>"),
        await_end("<a>", "CANCELLED by <uid>"),
        Until(("sh", "-c", "kill -0 $(cat child) 2>/dev/null || echo gone"), "gone"),
    ),
    row(
        "cancel tells the script, which may clean up",
        submit("-o out", stdin=TRAP),
        Reads("out", "ready\n"),
        Do("scancel <a>"),
        await_end("<a>", "CANCELLED by <uid>"),
    ),
    row(
        "a signal reaches the script only with --batch",
        submit("-o out", stdin=TRAP),
        Reads("out", "ready\n"),
        Do("scancel -s USR1 <a>"),
        Do("scancel -b -s USR1 <a>"),
        Reads("out", "ready\nusr1\n"),
        queue("<a>", "RUNNING|None"),
        Do("scancel -b -s TERM <a>"),
        await_end("<a>", "FAILED", "15:0"),
        Reads("out", like("ready\nusr1\n(.*CANCELLED AT.*\n)?term\n?")),
    ),
    row(
        "--full reaches the script's children",
        submit("-o out", stdin=TRAP_CHILD),
        Reads("out", "ready\n"),
        Do("scancel --full --signal=SIGUSR1 <a>"),
        Reads("out", like(r"ready\n(.*\n)?child\n?")),
        queue("<a>", "RUNNING|None"),
    ),
    row(
        "TERM alone leaves a batch job running",
        submit("-o out", stdin=TRAP),
        Reads("out", "ready\n"),
        Do("scancel -s TERM <a>"),
        Until("squeue -h -j <a> -o %T", "RUNNING"),
        Reads("out", "ready\n"),
    ),
    row(
        "KILL with --full",
        submit("-o out", stdin=TRAP),
        Reads("out", "ready\n"),
        Do("scancel -f -s KILL <a>"),
        await_end("<a>", "CANCELLED by <uid>"),
    ),
    row(
        "signals by number",
        submit("-o out", stdin=TRAP),
        Reads("out", "ready\n"),
        Do("scancel -b -s 10 <a>"),
        Reads("out", "ready\nusr1\n"),
    ),
    row(
        "cancel by name and state",
        submit("-H -J mine-<dir> --wrap true", "a"),
        submit("-J mine-<dir> -o /dev/null --wrap 'sleep 600'", "b"),
        queue("<b>", "RUNNING|None"),
        Do("scancel -n mine-<dir> -u <user> -t PENDING"),
        queue("<a>", "CANCELLED|JobHeldUser"),
        queue("<b>", "RUNNING|None"),
        Do("scancel --name=mine-<dir>"),
        queue("<b>", "CANCELLED|None"),
    ),
    row(
        "several at once, one of them unknown",
        submit("-H --wrap true", "a"),
        submit("-H --wrap true", "b"),
        Do("scancel <a> 99999999 <b>"),
        queue("<a>,<b>", "CANCELLED|JobHeldUser\nCANCELLED|JobHeldUser"),
    ),
    row(
        "a job beyond its time ends",
        submit("-t 1 -o out --wrap 'echo begun; sleep 300'"),
        Reads("out", "begun\n"),
        Until("squeue -h -t all -j <a> -o %T|%r", "TIMEOUT|TimeLimit", timeout_s=170),
        await_end("<a>", "TIMEOUT"),
        slow=True,
    ),
)

ROWS = (*ARRAYS, *DEPENDENCIES, *CONTROL, *ENDS)

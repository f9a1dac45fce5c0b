"""How jobs are submitted, and what they find around them when they run."""

from __future__ import annotations

from tests.behaviour.row import Do, Reads, Until, Writes, await_end, like, queue, row, submit

SAY = "#!/bin/sh\n"

FORMS = (
    row(
        "a command line as a job",
        Do("sbatch -o out --wrap 'echo hi; pwd'", like(r"Submitted batch job \d+"), keep="a"),
        Reads("out", "hi\n<dir>\n"),
        queue("<a>", "wrap|(null)|<dir>", "%j|%o|%Z"),
        await_end("<a>", "COMPLETED"),
    ),
    row("the default log", submit("--wrap 'echo hi; echo err >&2'"), Reads("slurm-<a>.out", "hi\nerr\n")),
    row(
        "a script from stdin",
        submit("-o out", stdin="#!/bin/sh\necho in; cat\n"),
        Reads("out", "in\n"),
        queue("<a>", "sbatch|(null)", "%j|%o"),
    ),
    row(
        "a script file with arguments, whatever they look like",
        Writes("args.sh", '#!/bin/sh\nfor a in "$@"; do echo "[$a]"; done\n'),
        submit("-o out args.sh 'two words' --array=1 -n '\"q\"' '' '$HOME'"),
        Reads("out", '[two words]\n[--array=1]\n[-n]\n["q"]\n[]\n[$HOME]\n'),
        queue("<a>", 'args.sh|<dir>/args.sh two words --array=1 -n "q"  $HOME', "%j|%o"),
    ),
    row(
        "#SBATCH lines up to the first command",
        submit(
            "",
            stdin="#!/bin/sh\n# a comment\n#SBATCH --job-name='two words'\n#SBATCH -o out --comment \"c d\" # why\n"
            "##SBATCH -p nope\n\n#SBATCH -n2\necho $SLURM_NTASKS\n#SBATCH -p nope\n",
        ),
        Reads("out", "2\n"),
        queue("<a>", "two words|c d|cpu|2", "%j|%k|%P|%C"),
    ),
    row(
        "the command line wins over the environment, that over the script",
        submit(
            "-H -J cli",
            stdin="#!/bin/sh\n#SBATCH -J script --comment=script -n 3\n#SBATCH --nice=7\ntrue\n",
            env={"SBATCH_JOB_NAME": "env", "SBATCH_COMMENT": "env", "SBATCH_PARTITION": "gpu"},
        ),
        queue("<a>", like(r"cli\|(env|script)\|gpu\|3\|7"), "%j|%k|%P|%C|%y"),
    ),
    row(
        "what a #SBATCH line takes for a word",
        submit("-H", "a", stdin="#!/bin/sh\n#SBATCH -J a\\'\\#b --comment=a#b -n 2\ntrue\n"),
        submit("-H", "b", stdin="#!/bin/sh\n#SBATCH-J\n#SBATCH -n2\ntrue\n"),
        queue("<a>", "a'#b|a|1", "%j|%k|%C"),
        queue("<b>", "-n2|1", "%j|%C"),
    ),
    row(
        "another interpreter",
        submit("-o out", stdin="#!/usr/bin/env python3\nprint(6 * 7)\n"),
        Reads("out", "42\n"),
    ),
    row(
        "spellings that getopt takes",
        submit("-H -Jx -n2 --comm=c --wrap=true", "a"),
        submit("-HJ y --job-name z --nice=5 --partition gpu --wrap true", "b"),
        queue("<a>", "x|2|c|cpu", "%j|%C|%k|%P"),
        queue("<b>", "z|1|(null)|gpu", "%j|%C|%k|%P"),
    ),
    row(
        "options after -- and after the script belong to the script",
        Writes("args.sh", '#!/bin/sh\necho "$@"\n'),
        submit("-o out -- args.sh -o other"),
        Reads("out", "-o other\n"),
    ),
    row("--quiet says nothing", Do("sbatch -Q -o /dev/null --wrap true")),
    row(
        "--wait gives the job's exit code",
        Do("sbatch -W -o /dev/null --wrap 'exit 7'", like(r"Submitted batch job \d+"), rc=7),
        Do("sbatch --wait --parsable -o /dev/null --wrap 'true'", like(r"\d+")),
    ),
    row(
        "the script can be read back",
        submit("-H", stdin="#!/bin/sh\n#SBATCH -J x\necho  'as it was'\n"),
        Do("scontrol write batch_script <a> -", "#!/bin/sh\n#SBATCH -J x\necho  'as it was'\n"),
    ),
    row(
        "--wrap makes a script of it",
        submit("-H --wrap 'echo hi'"),
        Do(
            "scontrol write batch_script <a> -",
            "#!/bin/sh\n# This script was created by sbatch --wrap.\n\necho hi\n",
        ),
    ),
    row(
        "--test-only submits nothing",
        Do(
            "sbatch --test-only --wrap true",
            "",
            like(r"sbatch: Job \d+ to start at .* using 1 processors on nodes? node0[12] in partition cpu"),
        ),
    ),
)

FILES = (
    row(
        "patterns in file names",
        submit("-J nm -o 'o-%j-%A-%x-%u-%N-%n-%t-%s-%%.txt' --wrap 'echo hi'"),
        Reads("o-<a>-<a>-nm-<user>-<host>-0-0-batch-%.txt", "hi\n"),
    ),
    row("padded numbers", submit("-o 'o-%10j.txt' --wrap 'echo hi'"), Until(("ls",), like(r"o-0\d{9}\.txt"))),
    row(
        "stderr apart",
        submit("-o %x.out -e %x.err -J nm --wrap 'echo out; echo err >&2'"),
        Reads("nm.out", "out\n"),
        Reads("nm.err", "err\n"),
        Do("squeue -h -t all -j <a> -O STDOUT:|,STDERR:|", "<dir>/%x.out|<dir>/%x.err|"),
    ),
    row(
        "a log is begun anew unless asked otherwise",
        Writes("log", "old\n"),
        Writes("app", "old\n"),
        submit("-o log --wrap 'echo new'"),
        submit("-o app --open-mode=append --wrap 'echo new'"),
        Reads("log", "new\n"),
        Reads("app", "old\nnew\n"),
    ),
    row("input from a file", Writes("in", "given\n"), submit("-i in -o out --wrap cat"), Reads("out", "given\n")),
    row(
        "--chdir is where the job and its files are",
        submit("-D /tmp -o <dir>/out --wrap pwd"),
        Reads("out", "/tmp\n"),
        queue("<a>", "/tmp", "%Z"),
    ),
    row(
        "a folder that is not there fails the job",
        submit("-o no/such/out --wrap true"),
        queue("<a>", "FAILED|JobLaunchFailure"),
        await_end("<a>", "FAILED", "0:53"),
    ),
    row(
        "a working directory that is not there: the job runs in /tmp and its log says so",
        submit("-D /no/such -o <dir>/out --wrap pwd"),
        Reads(
            "out", like(r".*couldn't chdir to `/no/such': No such file or directory: going to /tmp instead\n/tmp\n?")
        ),
        await_end("<a>", "COMPLETED"),
    ),
)

ENVIRONMENT = (
    row(
        "the caller's variables travel",
        submit("-o out --wrap 'echo $FOO'", env={"FOO": "a b"}),
        Reads("out", "a b\n"),
    ),
    row(
        "--export=NONE keeps them back, SLURM's own are there",
        submit("--export=NONE -o out --wrap 'echo [$FOO] $SLURM_JOB_ID'", env={"FOO": "x"}),
        Reads("out", "[] <a>\n"),
    ),
    row(
        "--export=ALL,NAME=value adds",
        submit("--export=ALL,BAR=y -o out --wrap 'echo $FOO $BAR'", env={"FOO": "x"}),
        Reads("out", "x y\n"),
    ),
    row(
        "--export=NAME takes only these",
        submit("--export=FOO,BAR=y -o out --wrap 'echo [$FOO] [$BAR] [$BAZ]'", env={"FOO": "x", "BAZ": "z"}),
        Reads("out", "[x] [y] []\n"),
    ),
    row(
        "what SLURM tells a job",
        submit(
            "-J nm -n 2 -c 2 --mem=100 -o out",
            stdin="#!/bin/bash\n"
            "for v in JOB_ID JOBID JOB_NAME JOB_PARTITION JOB_NUM_NODES NNODES NTASKS NPROCS CPUS_PER_TASK "
            "SUBMIT_DIR SUBMIT_HOST CLUSTER_NAME CONF PROCID LOCALID NODEID MEM_PER_NODE JOB_USER JOB_UID GTIDS; do "
            'n=SLURM_$v; echo "$v=${!n}"; done\n',
        ),
        Reads(
            "out",
            "JOB_ID=<a>\nJOBID=<a>\nJOB_NAME=nm\nJOB_PARTITION=cpu\nJOB_NUM_NODES=1\nNNODES=1\nNTASKS=2\nNPROCS=2\n"
            "CPUS_PER_TASK=2\nSUBMIT_DIR=<dir>\nSUBMIT_HOST=<host>\nCLUSTER_NAME=<clustername>\nCONF=<conf>\nPROCID=0\n"
            "LOCALID=0\nNODEID=0\nMEM_PER_NODE=100\nJOB_USER=<user>\nJOB_UID=<uid>\nGTIDS=0\n",
        ),
    ),
    row(
        "what SLURM tells a job of two nodes",
        submit(
            "-N 2 --ntasks-per-node=1 -o out --wrap 'echo $SLURM_JOB_NODELIST $SLURM_NODELIST $SLURM_JOB_CPUS_PER_NODE "
            "$SLURM_TASKS_PER_NODE $SLURM_CPUS_ON_NODE $SLURMD_NODENAME $ENVIRONMENT'"
        ),
        Reads("out", "node[01-02] node[01-02] 1(x2) 1(x2) 1 node01 BATCH\n"),
    ),
    row(
        "a job that never restarted is told nothing about it",
        submit("-o out --wrap 'echo [$SLURM_RESTART_COUNT] [$SLURM_ARRAY_TASK_ID] [$CUDA_VISIBLE_DEVICES]'"),
        Reads("out", "[] [] []\n"),
    ),
    row("stdin of a job is empty", submit("-o out --wrap 'cat; echo done'"), Reads("out", "done\n")),
    row(
        "the mask of the submitting process travels",
        Do(("sh", "-c", "umask 027; sbatch --parsable -o out --wrap 'umask; ls -l out | cut -c1-10'"), like(r"\d+")),
        Reads("out", "0027\n-rw-r-----\n"),
    ),
    row(
        "the mask of the submitting process travels, whoever lets the job start",
        Do(("sh", "-c", "umask 027; sbatch --parsable -H -o out --wrap 'umask'"), like(r"\d+"), keep="j"),
        Do("scontrol release <j>"),
        Reads("out", "0027\n"),
    ),
)

REQUESTS = (
    row(
        "times are read in all their forms",
        *(
            submit(f"-H -t {text} --wrap true", f"t{n}")
            for n, text in enumerate(("90", "1:30", "1:00:00", "1-0", "1-12:30:00", "0", "00:00:10", "infinite"))
        ),
        *(
            queue(f"<t{n}>", limit, "%l")
            for n, limit in enumerate(
                ("1:30:00", "2:00", "1:00:00", "1-00:00:00", "1-12:30:00", "UNLIMITED", "1:00", "UNLIMITED")
            )
        ),
    ),
    row(
        "memory is read in all its forms",
        *(
            submit(f"-H --mem={text} --wrap true", f"t{n}")
            for n, text in enumerate(("500K", "1024M", "1G", "1536M", "100", "0"))
        ),
        *(queue(f"<t{n}>", memory, "%m") for n, memory in enumerate(("1M", "1G", "1G", "1.50G", "100M", "0"))),
    ),
    row(
        "memory per CPU",
        submit("-H -n2 --mem-per-cpu=1500 --wrap true"),
        queue("<a>", "1500M", "%m"),
    ),
    row(
        "tasks, CPUs and nodes",
        submit("-H -n 3 -c 2 --wrap true", "a"),
        submit("-H -N 1-2 --wrap true", "b"),
        submit("-H -N 2 --ntasks-per-node=4 --wrap true", "c"),
        queue("<a>", like(r"6\|[12]"), "%C|%D"),
        queue("<b>", "1|1", "%C|%D"),
        queue("<c>", "8|2", "%C|%D"),
    ),
    row(
        "a comment is kept, in the queue and in accounting",
        submit("-o /dev/null --comment='sluice:00ff | x' --wrap true"),
        queue("<a>", "sluice:00ff | x", "%k"),
        Until("sacct -X -n -P -j <a> -o State,Comment", "COMPLETED|sluice:00ff | x"),
    ),
    row("nice", submit("-H --nice=100 --wrap true"), queue("<a>", "100", "%y")),
    row("a priority", submit("--begin=now+1hour --priority=77 --wrap true"), queue("<a>", "77", "%Q")),
    row(
        "a time to begin",
        submit("-o out --begin=now+1hour --wrap 'echo hi'"),
        queue("<a>", "PENDING|BeginTime"),
        Do("scontrol update jobid=<a> starttime=now+1"),
        Reads("out", "hi\n"),
        await_end("<a>", "COMPLETED"),
    ),
    row(
        "submitted held, by the user",
        submit("-H -o /dev/null --wrap true"),
        queue("<a>", "PENDING|JobHeldUser|0", "%T|%r|%Q"),
        Do("scontrol release <a>"),
        await_end("<a>", "COMPLETED"),
    ),
    row(
        "a named node",
        submit("-w node02 -o out --wrap 'echo $SLURMD_NODENAME $SLURM_JOB_NODELIST'"),
        Reads("out", "node02 node02\n"),
    ),
    row(
        "a node to stay away from", submit("-x node01 -o out --wrap 'echo $SLURMD_NODENAME'"), Reads("out", "node02\n")
    ),
    row(
        "whether it may be requeued",
        submit("-H --requeue --wrap true", "a"),
        submit("-H --no-requeue --wrap true", "b"),
        Do("scontrol -o show job <a>", like(".* Requeue=1 .*")),
        Do("scontrol -o show job <b>", like(".* Requeue=0 .*")),
    ),
    row(
        "what accounting keeps of the command line",
        submit("-o /dev/null --wrap 'echo  two'"),
        Until("sacct -X -n -P -j <a> -o State,SubmitLine", "COMPLETED|sbatch --parsable -o /dev/null --wrap echo  two"),
    ),
    row("several partitions", submit("-H -p cpu,gpu --wrap true"), queue("<a>", "cpu,gpu", "%P")),
)

STEPS = (
    row(
        "srun starts the tasks of the allocation",
        submit("-n 3 -o out --wrap 'srun sh -c \"echo task \\$SLURM_PROCID of \\$SLURM_NTASKS\" | sort'"),
        Reads("out", "task 0 of 3\ntask 1 of 3\ntask 2 of 3\n"),
    ),
    row(
        "srun gives the worst exit code, the job that of its last command",
        submit("-n 2 -o out -e /dev/null --wrap 'srun sh -c \"exit \\$SLURM_PROCID\"; echo $?; srun true; exit 3'"),
        Reads("out", "1\n"),
        await_end("<a>", "FAILED", "3:0"),
    ),
    row(
        "steps are rows of their own",
        submit("-o /dev/null --wrap 'srun -J stepname true'"),
        Until(
            "sacct -n -P -j <a> -o JobID,JobName,State,ExitCode",
            "<a>|wrap|COMPLETED|0:0\n<a>.batch|batch|COMPLETED|0:0\n<a>.0|stepname|COMPLETED|0:0",
        ),
    ),
    row(
        "srun -n narrows",
        submit("-n 4 -o out --wrap 'srun -n 2 echo x'"),
        Reads("out", "x\nx\n"),
    ),
    row(
        "srun refuses what it does not know",
        submit("-o out --wrap 'srun --frobnicate true; echo $?'"),
        Reads(
            "out", like(r"srun: unrecognized option '--frobnicate'\nTry \"srun --help\" for more information\n255\n?")
        ),
    ),
    row(
        "srun passes text through as it is",
        submit('-o out --wrap \'srun printf "%s|" "a b" "\\$c"\''),
        Reads("out", "a b|$c|"),
    ),
)

ROWS = (*FORMS, *FILES, *ENVIRONMENT, *REQUESTS, *STEPS)

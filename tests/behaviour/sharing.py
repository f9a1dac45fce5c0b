"""How CPUs, GPUs and nodes are shared out; every row has the partition of the GPUs to itself."""

from __future__ import annotations

from tests.behaviour.row import Do, Reads, Until, await_end, like, queue, row, submit

ROWS = (
    row(
        "GPUs of a job: their numbers, and the account of them",
        submit(
            "-p gpu --gres=gpu:2 -o out --wrap '"
            "echo $CUDA_VISIBLE_DEVICES $SLURM_JOB_GPUS $SLURM_GPUS_ON_NODE; sleep 1'"
        ),
        Reads("out", "0,1 0,1 2\n"),
        Do("squeue -h -t all -j <a> -O tres-alloc:|,tres-per-node:|", "cpu=1,node=1,billing=1,gres/gpu=2|gres:gpu:2|"),
        Until("sacct -X -n -P -j <a> -o State,AllocTRES", "COMPLETED|billing=1,cpu=1,gres/gpu=2,node=1"),
        lane="gpu",
    ),
    row(
        "two jobs on one node never share a GPU",
        submit("-p gpu -w node03 --gres=gpu:1 -o 1 --wrap 'echo $CUDA_VISIBLE_DEVICES; sleep 600'"),
        Reads("1", "0\n"),
        submit("-p gpu -N1 -w node03 --gpus=2 -o 2 --wrap 'echo $CUDA_VISIBLE_DEVICES; sleep 600'", "b"),
        Reads("2", "1,2\n"),
        submit("-p gpu -N1 -w node03 --gpus=2 -o 3 --wrap 'echo $CUDA_VISIBLE_DEVICES'", "c"),
        queue("<c>", like(r"PENDING\|Resources")),
        Do("scontrol -o show node node03", like(".* AllocTRES=cpu=2,gres/gpu=3 .*")),
        Until("sinfo -h -N -n node03 -O Gres:|,GresUsed:|,StateLong:|", like(r"gpu:4\|gpu:3.*\|mixed\|")),
        Do("scancel <a>"),
        Reads("3", like("[03],[03]\n?")),
        lane="gpu",
    ),
    row(
        "GPUs counted over nodes",
        submit("-p gpu -N 2 --gpus-per-node=3 -o /dev/null --wrap 'sleep 600'"),
        queue("<a>", "RUNNING|None"),
        Do("squeue -h -j <a> -O tres-alloc:|,NodeList:|", "cpu=2,node=2,billing=2,gres/gpu=6|node[03-04]|"),
        lane="gpu",
    ),
    row(
        "more GPUs than there are",
        Do(
            "sbatch -p gpu --gpus=9 --wrap true",
            "",
            "sbatch: error: Batch job submission failed: Requested node configuration is not available",
            1,
        ),
    ),
    row(
        "CPUs are never given twice, and the queue says why one waits",
        submit("-p gpu -N 2 --ntasks-per-node=8 -o /dev/null --wrap 'sleep 600'"),
        queue("<a>", "RUNNING|None"),
        submit("-p gpu -o /dev/null --wrap true", "b"),
        submit("-p gpu -o /dev/null --wrap true", "c"),
        queue("<b>", "PENDING|Resources"),
        queue("<c>", "PENDING|Priority"),
        Do("scontrol update jobid=<c> priority=4294967290"),
        Do("scancel <a>"),
        await_end("<b>", "COMPLETED"),
        await_end("<c>", "COMPLETED"),
        lane="gpu",
    ),
    # The counts of a real SLURM may stay as they were until another node changes.
    row(
        "a full node says so",
        submit("-p gpu -w node04 --ntasks=8 -o /dev/null --wrap 'sleep 600'"),
        Until("sinfo -h -N -n node04 -o %T|%C", "allocated|8/0/0/8"),
        lane="gpu",
        on="embedded",
    ),
    row(
        "a higher priority goes first",
        submit("-p gpu -w node04 -n 8 -o /dev/null --wrap 'sleep 600'"),
        queue("<a>", "RUNNING|None"),
        submit("-p gpu -w node04 -n 8 -o low --open-mode=append --wrap 'echo low >> order; sleep 0.2'", "b"),
        submit("-p gpu -w node04 -n 8 --nice=1000 -o /dev/null --wrap 'echo nice >> order; sleep 0.2'", "c"),
        submit("-p gpu -w node04 -n 8 --priority=4294967290 -o /dev/null --wrap 'echo high >> order; sleep 0.2'", "d"),
        queue("<d>", "PENDING|Resources"),
        Do("scancel <a>"),
        Reads("order", "high\nlow\nnice\n"),
        lane="gpu",
    ),
    row(
        "a node for oneself",
        submit("-p gpu -w node04 --exclusive -o out --wrap 'echo $SLURM_CPUS_ON_NODE; sleep 600'"),
        Reads("out", "8\n"),
        submit("-p gpu -w node04 -o /dev/null --wrap true", "b"),
        queue("<b>", "PENDING|Resources"),
        lane="gpu",
    ),
    row(
        "a node that is drained takes nothing new, and is given back",
        Do("scontrol update nodename=node04 state=drain reason='hard | ware'"),
        Until("sinfo -h -N -n node04 -o '%N|%t|%T|%E'", like(r"node04\|drain\|drained\|hard \| ware")),
        submit("-p gpu -w node04 -o /dev/null --wrap true"),
        queue("<a>", like(r"PENDING\|ReqNodeNotAvail, UnavailableNodes:node04")),
        Do(
            "scontrol -o show node node04",
            like(r".* State=IDLE\+DRAIN(\+PLANNED)? .*Reason=hard \| ware \[<user>@\S+\] ?"),
        ),
        Do("scontrol update nodename=node04 state=resume"),
        await_end("<a>", "COMPLETED"),
        Until("sinfo -h -N -n node04 -o %T", "idle"),
        Do(
            "scontrol update nodename=node04 state=resume", err="slurm_update error: Invalid node state specified", rc=1
        ),
        lane="gpu",
    ),
)

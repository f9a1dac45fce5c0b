"""Nodes as an operator changes them, reservations, users and QOS; every row has the partition of the GPUs to itself."""

from __future__ import annotations

from tests.behaviour.row import ANY, Do, Until, await_end, like, queue, row, submit

UPDATE = "scontrol update nodename=node04"
SHOW = "scontrol -o show node node04"
# On a real SLURM a node that was given back is silent until it has answered, and backfill may have plans for it.
SILENT = r"(\+NOT_RESPONDING|\+PLANNED)*"

ROWS = (
    row(
        "one flag takes the place of another, and a reason stays while there is one",
        Do(f"{UPDATE} state=fail reason=f"),
        Do(SHOW, like(rf".* State=IDLE\+FAIL{SILENT} .*Reason=f \[<user>@\S+\] ?")),
        Do(f"{UPDATE} state=drain reason=g"),
        Do(SHOW, like(rf".* State=IDLE\+DRAIN{SILENT} .*Reason=g \[<user>@\S+\] ?")),
        Do(f"{UPDATE} reason=h"),
        Do(SHOW, like(rf".* State=IDLE\+DRAIN{SILENT} .*Reason=h \[<user>@\S+\] ?")),
        Do(f"{UPDATE} state=fail reason=i"),
        Do(SHOW, like(rf".* State=IDLE\+FAIL{SILENT} .*Reason=i \[<user>@\S+\] ?")),
        Do(f"{UPDATE} state=undrain"),
        Do(SHOW, like(rf".* State=IDLE{SILENT} (?!.*Reason=).*")),
        Do(f"{UPDATE} state=undrain"),
        Do(f"{UPDATE} state=idle"),
        Do(f"{UPDATE} state=resume", err="slurm_update error: Invalid node state specified", rc=1),
        lane="gpu",
    ),
    # The real SLURM of the tests gives a node back as soon as it answers again (ReturnToService=2).
    row(
        "a node that is down and drained is drained no more, then up",
        Do(f"{UPDATE} state=drain reason=a"),
        Do(f"{UPDATE} state=down reason=b"),
        Do(SHOW, like(rf".* State=DOWN\+DRAIN{SILENT} .*Reason=b \[<user>@\S+\] ?")),
        Do(f"{UPDATE} state=idle"),
        Do(SHOW, like(rf".* State=IDLE{SILENT} (?!.*Reason=).*")),
        lane="gpu",
        on="embedded",
    ),
    row(
        "many nodes in one call; those that are there are changed also beside one that is not",
        Do("scontrol update nodename=node[03-04] state=drain reason='all of it'"),
        Do("sinfo -R -h -N -o '%N %E'", "node03 all of it\nnode04 all of it"),
        Do(
            "scontrol update nodename=node03,nope state=resume",
            err="slurm_update error: Invalid node name specified",
            rc=1,
        ),
        Do("sinfo -R -h -N -o '%N %E'", "node04 all of it"),
        Do(
            "scontrol update nodename=node[03-04] state=resume",
            err="slurm_update error: Invalid node state specified",
            rc=1,
        ),
        Do("sinfo -R -h -N -o '%N %E'", ""),
        Do("scontrol update nodename=node[03 state=drain reason=x", err=ANY, rc=1),
        Do(f"{UPDATE} state=FROB reason=x", err=like("(?s)Invalid input: state=FROB.*"), rc=1),
        lane="gpu",
    ),
    row(
        "what runs on a node that goes down ends, or waits again",
        submit("-p gpu -w node04 --no-requeue -o /dev/null --wrap 'sleep 600'"),
        submit("-p gpu -w node04 --requeue -o /dev/null --wrap 'sleep 600'", "b"),
        queue("<a>", "RUNNING|None"),
        queue("<b>", "RUNNING|None"),
        Do(f"{UPDATE} state=down reason='no power'"),
        queue("<a>", "NODE_FAIL|NodeDown"),
        Until("squeue -h -t all -j <b> -o %T", like("PENDING|RUNNING")),
        Do("scancel <b>"),
        Do(f"{UPDATE} state=idle"),
        lane="gpu",
    ),
    row(
        "a job that runs on a node while it is drained ends as it would",
        submit("-p gpu -w node04 -o /dev/null --wrap 'sleep 1'"),
        queue("<a>", "RUNNING|None"),
        Do(f"{UPDATE} state=drain reason=soon"),
        await_end("<a>", "COMPLETED"),
        Do(f"{UPDATE} state=resume"),
        lane="gpu",
    ),
    row(
        "no reservations",
        Do("scontrol -o -a show reservation", "No reservations in the system"),
        Do("scontrol show reservation nope", "Reservation nope not found", rc=1),
    ),
    row(
        "users with their associations, and QOS",
        Do(
            "sacctmgr -nP show user <user> withassoc format=User,DefaultAccount,Account,Partition,QOS,DefaultQOS,"
            "MaxJobs,MaxSubmitJobs,MaxWall,MaxTRES",
            like(r"<user>\|<user>\|<user>\|\|normal\|\|\|\|\|"),
        ),
        Do(
            "sacctmgr -nP show qos normal format=Name,Priority,GraceTime,Preempt,PreemptMode,Flags,UsageFactor,MaxWall,"
            "MaxJobsPerUser,MaxTRESPerUser,Description",
            "normal|0|00:00:00||cluster||1.000000||||Normal QOS default",
        ),
        Do("sacctmgr -nP show qos nope", ""),
        Do("sacctmgr -nP show user format=User,Frob", err="Unknown field 'frob'", rc=1),
    ),
)

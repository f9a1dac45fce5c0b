"""Fields of a submission as options of sbatch, scripts as they are given, secrets that are kept nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.queue import submission
from slurm_shim.errors import SlurmInvalid, SlurmRefused
from store.errors import Invalid
from tests.engine.servers.pretended import CALLER, open_server
from tests.pretended import asynchronous

URL = "http://localhost/v1"


@pytest.mark.parametrize(
    ("why", "body", "expected"),
    [
        ("nothing but a script", {}, {}),
        ("names",
         {"partition": "gpu", "account": "a", "qos": "q", "nodes": 2, "standard_output": "o", "standard_error": "e"},
         {"partition": "gpu", "account": "a", "qos": "q", "nodes": 2, "output": "o", "error": "e"}),
        ("CPUs are those of one task a node", {"cpus_per_node": 16}, {"ntasks_per_node": 1, "cpus_per_task": 16}),
        ("no GPUs", {"gpus": 0}, {}),
        ("GPUs of the whole job", {"gpus": 2}, {"gpus": 2}),
        ("gigabytes", {"memory": "64GB"}, {"mem": "65536M"}),
        ("half ones", {"memory": "1.5G"}, {"mem": "1536M"}),
        ("kilobytes, rounded up", {"memory": "1025 KB"}, {"mem": "2M"}),
        ("MB without a unit", {"memory": "100"}, {"mem": "100M"}),
        ("small letters", {"memory": "1gib"}, {"mem": "1024M"}),
        ("a time", {"time_limit": "7-00:00:00"}, {"time": "7-00:00:00"}),
        ("no limit", {"time_limit": "UNLIMITED"}, {"time": "UNLIMITED"}),
        ("dependencies", {"dependencies": [{"type": "afterok", "job_id": "5"}, {"type": "singleton"}]},
         {"dependency": "afterok:5,singleton"}),
        ("variables", {"environment": {"A": "1"}}, {"export": "ALL"}),
    ],
)  # fmt: skip
def test_fields_become_options(why: str, body: dict[str, Any], expected: dict[str, Any]) -> None:
    assert submission.build_options({"script": "x", **body}) == expected, why


def test_folders_that_are_made_before() -> None:
    body = {"standard_output": "/a/b/%j.out", "standard_error": "/a/%u/x.err"}
    assert submission.list_folders(body, "/w") == {"work_dir": "/w", "standard_output": "/a/b"}
    assert submission.list_folders({"standard_output": "x.out", "standard_error": "/dev/null"}, None) == {}


@asynchronous
async def test_secrets_reach_sbatch_and_no_file(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue()
        body = {"script": "env", "environment": {"HF_TOKEN": "hf_secret", "N": "1"}}
        await submission.submit_job(world.server, body, "key", CALLER, URL)
        assert world.slurm.secrets == [{"HF_TOKEN": "hf_secret", "N": "1"}]
        (name,) = world.store.jobs.list_names()
        assert world.store.jobs.get(name).environment == {"HF_TOKEN": "***", "N": "1"}
        assert "hf_secret" not in (world.store.jobs.path / f"{name}.json").read_text()
        await submission.submit_job(world.server, body, "key", CALLER, URL)
        assert len(world.slurm.submitted) == 1
        with pytest.raises(Invalid, match="another body"):
            await submission.submit_job(world.server, body | {"environment": {"HF_TOKEN": "x"}}, "key", CALLER, URL)


@pytest.mark.parametrize(
    ("why", "stderr", "field"),
    [
        ("the partition", "Invalid partition name specified", "partition"),
        ("the memory", "Memory specification can not be satisfied", "memory"),
        ("a field that was not given", "Invalid qos specification", None),
        ("none", "Requested node configuration is not available", None),
    ],
)
@asynchronous
async def test_what_sbatch_refuses_is_told_with_its_field(
    tmp_path: Path, why: str, stderr: str, field: str | None
) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue()
        world.slurm.refusal = SlurmInvalid("sbatch", 1, f"sbatch: error: Batch job submission failed: {stderr}\n")
        with pytest.raises((Invalid, SlurmRefused)) as caught:
            await submission.submit_job(
                world.server, {"script": "x", "partition": "p", "memory": "1G"}, None, CALLER, "/v1"
            )
        found = caught.value.problems[0]["loc"][-1] if isinstance(caught.value, Invalid) else None
        assert (found, stderr in str(caught.value)) == (field, True), why


@asynchronous
async def test_a_chosen_folder_wins_over_that_of_the_script(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue()
        script = "#!/bin/bash\n#SBATCH --chdir=/elsewhere\ntrue\n"
        await submission.submit_job(
            world.server, {"script": script, "working_directory": "/chosen"}, None, CALLER, "/v1"
        )
        text, options = world.slurm.submitted[0]
        assert options["chdir"] == "/chosen" and "cd -- /chosen ||" in text and "cd -- /elsewhere" not in text

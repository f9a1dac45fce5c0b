"""A run is planned as a whole, with its scripts, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import planning
from slurm_shim.errors import SlurmUnreachable
from store.errors import Conflict, Denied, Invalid, NotFound
from tests.engine.servers.pretended import FLOW, HERE, TWO, World, open_server
from tests.pretended import asynchronous

GIVEN = {"cluster": HERE, "mount": None, "source": "web"}


async def plan(world: World, name: str, **body: Any) -> Any:
    workflow = world.store.workflows.get(name)
    return await planning.plan_run(world.server, workflow, body, "r", GIVEN)


@pytest.mark.parametrize(
    ("why", "body", "names"),
    [
        ("all of it", {}, ["a", "b"]),
        ("one job alone", {"single_job": "b"}, ["b"]),
        ("up to a job", {"to_job": "a"}, ["a"]),
    ],
)
@asynchronous
async def test_the_jobs_of_a_run(tmp_path: Path, why: str, body: dict[str, Any], names: list[str]) -> None:
    async with open_server(tmp_path, TWO) as world:
        run = await plan(world, "two", **body)
        assert [job.name for job in run.jobs] == names, why
        for job in run.jobs:
            assert f"/.sluice/r/{job.name}." in job.script and job.options["job_name"] == job.name
        assert (run.cluster, run.status, run.syncs) == (HERE, "submitting", False)
        assert run.work_dir == str(tmp_path / "store" / "work" / "r")
        assert len(world.store.runs) == 0 and not Path(run.work_dir).exists() and world.slurm.submitted == []


@asynchronous
async def test_arguments_of_the_request_are_those_of_the_scripts(tmp_path: Path) -> None:
    async with open_server(tmp_path, FLOW) as world:
        run = await plan(world, "flow", args_override={"n": 42})
        assert "echo 42" in (run.jobs[0].script or "") and run.args == {"n": 42}


FILES = {
    "store/workflows/own.sh": "#!/bin/bash\necho own {{ word }}\n",
    "store/templates/mine.sh": "#!/bin/bash\necho template {{ job_name }}\n",
    "elsewhere.sh": "#!/bin/bash\n",
}
BARE = {"name": "a", "command": "echo made", "result_path": "/results/a.%j.json"}


@pytest.mark.parametrize(
    ("why", "more", "line"),
    [
        ("made for its command", {}, "echo made"),
        ("the built-in template is the same", {"template": "base"}, "echo made"),
        ("a template of the store", {"template": "mine"}, "echo template a"),
        ("a file of its own", {"script_path": "own.sh", "script_vars": {"word": "x"}}, "echo own x"),
        ("its own file counts before a template", {"script_path": "own.sh", "template": "mine"}, "echo own "),
    ],
)
@asynchronous
async def test_where_a_script_comes_from(tmp_path: Path, why: str, more: dict[str, Any], line: str) -> None:
    async with open_server(tmp_path, FILES) as world:
        more = {"script_vars": {"word": ""}} | more if "script_path" in more else more
        script = planning.render_script(world.server, BARE | more, tmp_path / "store" / "workflows")
        assert line in script and script.startswith("#!/bin/bash\n"), why
        assert "/results/a." in script, "every job is told where its result goes"


@pytest.mark.parametrize(
    ("why", "more", "error"),
    [
        ("there is no such file", {"script_path": "none.sh"}, (Invalid, NotFound)),
        ("outside of the folders for scripts", {"script_path": "../../elsewhere.sh"}, (Invalid, Denied)),
        ("there is no such template", {"template": "none"}, NotFound),
    ],
)
@asynchronous
async def test_a_script_that_cannot_be_had(tmp_path: Path, why: str, more: dict[str, Any], error: Any) -> None:
    async with open_server(tmp_path, FILES) as world:
        with pytest.raises(error):
            planning.render_script(world.server, BARE | more, tmp_path / "store" / "workflows")


REMOTE = """\
current: gpu
profiles: {gpu: {hostname: gpu.example, mounts: [{name: ml, local: %s, remote: /there/ml}]}}
"""


@pytest.mark.parametrize(
    ("why", "auto", "syncs"), [("as a rule", "true", True), ("unless told otherwise", "false", False)]
)
@asynchronous
async def test_a_run_on_another_machine_works_in_a_copy_of_its_mount(
    tmp_path: Path, why: str, auto: str, syncs: bool
) -> None:
    local = tmp_path / "ml"
    files = {
        "store/workflows/far.yaml": "name: far\njobs: [{name: a, script_path: beside.sh}, {name: b, command: x}]\n",
        "store/profiles.yaml": REMOTE % local,
        "ml/srunx.json": f'{{"sync": {{"auto": {auto}}}, "resources": {{"nodes": 3}}}}',
        "ml/beside.sh": "#!/bin/bash\necho beside\n",
    }
    async with open_server(tmp_path, files) as world:
        workflow = world.store.workflows.get("far")
        given = {"cluster": "ssh:gpu", "mount": "ml", "source": "web"}
        run = await planning.plan_run(world.server, workflow, {}, "r", given)
        assert (run.work_dir, run.syncs) == ("/there/ml", syncs), why
        assert "echo beside" in (run.jobs[0].script or ""), "read on this machine"
        assert "--nodes=3" in (run.jobs[1].script or ""), "by the mount's own defaults"


@asynchronous
async def test_nothing_is_planned_for_a_cluster_that_is_not_in_view(tmp_path: Path) -> None:
    async with open_server(tmp_path, FLOW) as world:
        workflow = world.store.workflows.get("flow")
        with pytest.raises(SlurmUnreachable, match="elsewhere"):
            await planning.plan_run(world.server, workflow, {}, "r", {**GIVEN, "cluster": "elsewhere"})


@pytest.mark.parametrize(
    ("why", "given", "folder"),
    [
        ("our own home", "~/x", "{home}/x"),
        ("the home itself", "~", "{home}"),
        ("somebody's", "~root/x y", "/root/x y"),
        ("no home, only a name", "~x/../~", None),
        ("a tilde elsewhere", "/a/~/b", "/a/~/b"),
        ("from an arg", "{{ place }}/x", "{home}/x"),
    ],
)
@asynchronous
async def test_homes_at_the_beginning_of_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, given: str, folder: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folders = f"work_dir: '{given}', log_dir: '{given}', environment: {{venv: '{given}'}}"
    text = f"name: homes\nargs: {{place: '~'}}\njobs:\n  - {{name: a, command: pwd, {folders}}}\n"
    async with open_server(tmp_path, {"store/workflows/homes.yaml": text}) as world:
        if folder is None:
            with pytest.raises(Invalid, match=r"jobs\.a\.work_dir: there is no user 'x' on"):
                await plan(world, "homes")
            return
        (job,) = (await plan(world, "homes")).jobs
        folder = folder.format(home=tmp_path)
        assert (job.work_dir, job.log_dir) == (folder, folder), why
        assert f"source {folder}/bin/activate" in job.script or f"source '{folder}'/bin/activate" in job.script


@asynchronous
async def test_a_cell_knows_its_number(tmp_path: Path) -> None:
    text = (
        "name: cells\nargs: {own: 'c{{ sweep.cell }}'}\njobs:\n  - {name: a, command: pwd, work_dir: 'out/{{ own }}'}\n"
    )
    async with open_server(tmp_path, {"store/workflows/cells.yaml": text}) as world:
        workflow = world.store.workflows.get("cells")
        runs = [
            await planning.plan_run(world.server, workflow, {}, "r", {**GIVEN, **more}) for more in ({}, {"cell": 7})
        ]
        assert [run.jobs[0].work_dir for run in runs] == [f"{runs[0].work_dir}/out/c{number}" for number in (0, 7)]
        assert [run.args for run in runs] == [{"own": "c0"}, {"own": "c7"}]


SECRET = {
    "store/config.yaml": "environment: {env_vars: {HF_TOKEN: hf_1, N: '8', PROXY: 'http://me:pw@proxy'}}\n",
    "store/workflows/own.yaml": "name: own\nargs: {word: w1}\njobs:\n  - name: a\n    command: printenv\n"
    "    environment:\n      env_vars: {API_KEY: '{{ word }}', HF_TOKEN: hf_2}\n"
    "      container: {image: i, mounts: ['smb://me:pw@h:/x']}\n"
    "  - {name: b, command: printenv}\n",
}
OF_A = {
    "SLURM_SLUICE_env_vars_API_KEY": "w1",
    "SLURM_SLUICE_env_vars_HF_TOKEN": "hf_2",
    "SLURM_SLUICE_container_mounts_0": "smb://me:pw@h:/x",
}
OF_B = {"SLURM_SLUICE_env_vars_HF_TOKEN": "hf_1"}
PROXY = {"SLURM_SLUICE_env_vars_PROXY": "http://me:pw@proxy"}


@pytest.mark.parametrize(
    ("why", "name", "change", "found"),
    [
        ("as it was", "none.yaml", None, (OF_A | PROXY, OF_B | PROXY)),
        (
            "the configuration has another now",
            "config.yaml",
            SECRET["store/config.yaml"].replace("hf_1", "hf_3"),
            (OF_A | PROXY, {"SLURM_SLUICE_env_vars_HF_TOKEN": "hf_3"} | PROXY),
        ),
        (
            "the workflow has another now",
            "workflows/own.yaml",
            SECRET["store/workflows/own.yaml"].replace("hf_2", "hf_3"),
            (OF_A | {"SLURM_SLUICE_env_vars_HF_TOKEN": "hf_3"} | PROXY, OF_B | PROXY),
        ),
        ("gone from the configuration", "config.yaml", "{}", ("environment.env_vars.PROXY", "env_vars.HF_TOKEN")),
        ("gone with the workflow", "workflows/own.yaml", None, ("Workflow 'own' not found", OF_B | PROXY)),
        ("gone with the job", "workflows/own.yaml", FLOW["store/workflows/flow.yaml"], ("job 'a'", OF_B | PROXY)),
    ],
)
@asynchronous
async def test_secrets_are_those_of_now(
    tmp_path: Path, why: str, name: str, change: str | None, found: tuple[dict[str, str] | str, ...]
) -> None:
    async with open_server(tmp_path, SECRET) as world:
        run = await plan(world, "own")
        text = run.model_dump_json()
        assert not [value for value in ("hf_1", "hf_2", ":pw@") if value in text], why
        assert "export N=8\n" in run.jobs[1].script
        path = tmp_path / "store" / name
        path.unlink(missing_ok=True)
        if change is not None:
            path.write_text(change.replace("name: flow", "name: own"))
        for folder in (world.store.configuration.user, world.store.workflows):
            await folder.refresh([path.name])
        for job, wanted in zip(run.jobs, found, strict=True):
            if isinstance(wanted, str):
                with pytest.raises(Conflict, match=wanted):
                    await planning.load_secrets(world.server, run, job)
            else:
                assert await planning.load_secrets(world.server, run, job) == wanted, why

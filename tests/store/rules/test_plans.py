"""What a run of a workflow is to do, with its templates rendered; what answers show of it; script templates."""

# ruff: noqa: E501  (rows of the tables are read as rows)

from __future__ import annotations

from typing import Any

import pytest

from store.errors import Invalid, describe_problem
from store.rendering import templates
from store.rendering.renderer import Renderer
from store.rules import workflows
from store.workflow_files import edits
from tests.pipeline import PIPELINE


def job(**keys: Any) -> dict[str, Any]:
    return {"name": "a", "command": ["true"]} | keys


def plan_jobs(
    renderer: Renderer, jobs: list[dict[str, Any]], args: dict[str, Any] | None = None, **options: Any
) -> Any:
    data = edits.compose_yaml({"name": "w", "args": args or {}, "jobs": jobs})
    return workflows.plan_workflow(workflows.parse_workflow(data), renderer=renderer, **options)


# ---- planning


def test_the_plan_of_the_pipeline(renderer: Renderer) -> None:
    plan = workflows.plan_workflow(workflows.parse_workflow(PIPELINE), defaults={"log_dir": "logs"}, renderer=renderer)
    assert plan["args"] == {"n": 1000, "out": "work-1000"}
    assert plan["order"] == ["preprocess", "total", "report", "cleanup"]
    first, total, report, cleanup = plan["jobs"]
    assert first["command"] == ["bash", "-c", "mkdir -p work-1000 && seq 1000 > work-1000/data"]
    assert first["exports"] == {"DATA": "work-1000/data"}
    assert first["resources"] == {
        "nodes": 1,
        "gpus_per_node": 0,
        "ntasks_per_node": 1,
        "cpus_per_task": 1,
        "memory_per_node": None,
        "time_limit": "0:05:00",
        "nodelist": None,
        "partition": None,
    }
    assert total["command"] == ["cat", "work-1000/data"]
    assert (total["retry"], total["retry_delay"], total["depends_on"]) == (2, 60, ["afterok:preprocess"])
    assert report["command"] == "echo done > work-1000/report"
    assert cleanup["depends_on"] == ["afternotok:total"]
    assert {job["log_dir"] for job in plan["jobs"]} == {"logs"}


def test_what_the_caller_sets_wins_and_keeps_its_type(renderer: Renderer) -> None:
    plan = workflows.plan_workflow(
        workflows.parse_workflow(PIPELINE), args_override={"n": 7, "extra": True}, renderer=renderer
    )
    assert plan["args"] == {"n": 7, "out": "work-7", "extra": True}


ARGS = [
    ("in any order", {"c": "{{ b }}x", "b": "{{ a }}y", "a": 1}, {"c": "1yx", "b": "1y", "a": 1}),
    ("types survive", {"a": 1, "b": "{{ a }}", "c": "{{ a / 2 }}"}, {"a": 1, "b": 1, "c": 0.5}),
    ("lists too", {"a": [1, 2], "b": "{{ a }}", "c": "{{ a | length }}"}, {"a": [1, 2], "b": [1, 2], "c": 2}),
    ("inside lists", {"a": 1, "b": [{"x": "{{ a }}-"}]}, {"a": 1, "b": [{"x": "1-"}]}),
    ("not in a condition's own names", {"a": "{% set b = 2 %}{{ b }}", "b": "{{ a }}"}, {"a": "2", "b": "2"}),
]


@pytest.mark.parametrize(("why", "args", "values"), ARGS, ids=[row[0] for row in ARGS])
def test_args_may_use_other_args(renderer: Renderer, why: str, args: Any, values: Any) -> None:
    assert plan_jobs(renderer, [job()], args)["args"] == values


def test_args_that_need_each_other_are_named(renderer: Renderer) -> None:
    with pytest.raises(Invalid, match=r"line 4.*circle: b -> c -> b"):
        workflows.plan_workflow(
            workflows.parse_workflow(b"jobs: []\nargs:\n  a: 1\n  b: '{{ c }}'\n  c: '{{ b }}{{ a }}'"),
            renderer=renderer,
        )


def test_exports_reach_over_several_jobs_and_typed_dependencies(renderer: Renderer) -> None:
    plan = plan_jobs(
        renderer,
        [
            job(name="c", command=["{{ deps.b.x }}"], depends_on=["afterany:b"]),
            job(name="b", exports={"x": "{{ deps['a-1'].x }}/b"}, depends_on=["after:a-1"]),
            job(name="a-1", exports={"x": "{{ n }}"}),
        ],
        {"n": 1},
    )
    assert plan["order"] == ["a-1", "b", "c"]
    assert [job["name"] for job in plan["jobs"]] == ["c", "b", "a-1"]
    assert plan["jobs"][0]["command"] == ["1/b"]
    assert plan["jobs"][2]["exports"] == {"x": "1"}


UNRENDERED = [
    ("an undefined name", job(command=["{{ nodez }}"]), "line 8, column 9: jobs.0.command.0: 'nodez' is undefined; did you mean 'nodes'?"),
    ("an export of no dependency", job(command=["{{ deps.b.x }}"]), "does not depend on a job 'b'"),
    ("an export that is not there", job(command=["{{ deps.b.X }}"], depends_on=["b"]), "exports no 'X'; there is x"),
    ("the sandbox", job(command=["{{ ''.__class__ }}"]), "access to attribute '__class__' of 'str' object is unsafe"),
    ("a count that is none", job(resources={"nodes": "{{ word }}"}), "jobs.0.resources.nodes: must be a whole number, not 'x y'"),
    ("too few", job(resources={"nodes": "{{ nodes - 3 }}"}), "jobs.0.resources.nodes: must be between 1"),
    ("a partition that is none", job(resources={"partition": "{{ word }}"}), "jobs.0.resources.partition: 'x y' is not the name"),
    ("a line break in a folder", job(work_dir="{{ 'a\\nb' }}"), "jobs.0.work_dir: must be one line"),
    ("an empty command", job(command="{{ '' }}"), "jobs.0.command: the command is empty"),
    ("a partition that was meant as text", job(resources={"partition": "{% raw %}{{ x }}{% endraw %}"}), "'{{ x }}' is not the name"),
    ("too much memory", job(command=["{{ 'a' * 10 ** 9 }}"]), "jobs.0.command.0: rendering needed more than 256 MB"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "given_job", "message"), UNRENDERED, ids=[row[0] for row in UNRENDERED])
def test_what_templates_give_is_checked_with_the_place_of_the_template(
    renderer: Renderer, why: str, given_job: Any, message: str
) -> None:
    with pytest.raises(Invalid) as caught:
        plan_jobs(renderer, [given_job, job(name="b", exports={"x": "1"})], {"nodes": 2, "word": "x y"})
    assert any(message in describe_problem(problem) for problem in caught.value.problems), caught.value.problems
    assert all(problem["line"] for problem in caught.value.problems)


def test_all_jobs_that_cannot_be_rendered_are_named(renderer: Renderer) -> None:
    with pytest.raises(Invalid) as caught:
        plan_jobs(renderer, [job(name="a", command="{{ x }}"), job(name="b", command=["{{ y }}", "{{ z }}"])])
    assert [problem["loc"] for problem in caught.value.problems] == [
        ["jobs", 0, "command"],
        ["jobs", 1, "command", 0],
        ["jobs", 1, "command", 1],
    ]


def test_an_arg_of_the_caller_is_the_callers_fault(renderer: Renderer) -> None:
    with pytest.raises(Invalid) as caught:
        plan_jobs(renderer, [job()], {"a": 1}, args_override={"a": "{{ x }}"})
    assert (caught.value.problems[0]["loc"], caught.value.problems[0]["line"]) == (["args_override", "a"], None)


def test_python_is_refused_in_what_the_caller_sets(renderer: Renderer) -> None:
    with pytest.raises(Invalid, match="args_override at 'a' contains 'python:' prefix"):
        plan_jobs(renderer, [job()], args_override={"a": "python:1"})


def test_numbers_as_text_are_numbers_because_forms_send_text(renderer: Renderer) -> None:
    jobs = [
        job(resources={"nodes": "{{ n }}", "time_limit": "{{ t }}", "memory_per_node": "{{ n }}G"}, retry="{{ n }}")
    ]
    resources = plan_jobs(renderer, jobs, {"n": 1, "t": 5}, args_override={"n": "4", "t": "30"})["jobs"][0]["resources"]
    assert (resources["nodes"], resources["time_limit"], resources["memory_per_node"]) == (4, "0:30:00", "4G")


def test_one_expression_may_be_the_whole_command(renderer: Renderer) -> None:
    jobs = plan_jobs(renderer, [job(command="{{ words }}")], {"words": ["echo", 1]})["jobs"]
    assert jobs[0]["command"] == ["echo", "1"]


def test_text_that_looks_like_a_template_after_rendering_is_text(renderer: Renderer) -> None:
    raw = "{% raw %}docker ps --format {{.Names}}{% endraw %}"
    assert plan_jobs(renderer, [job(command=raw)])["jobs"][0]["command"] == "docker ps --format {{.Names}}"


CHAIN = [
    job(name="a", exports={"x": "1"}),
    job(name="b", depends_on=["a"], command=["{{ deps.a.x }}"]),
    job(name="c", depends_on=["afterany:b", "a"]),
]
SELECTIONS = [
    ("all", {}, {"a": [], "b": ["afterok:a"], "c": ["afterany:b", "afterok:a"]}),
    ("from", {"from_job": "b"}, {"b": [], "c": ["afterany:b"]}),
    ("to", {"to_job": "b"}, {"a": [], "b": ["afterok:a"]}),
    ("from and to the same", {"from_job": "b", "to_job": "b"}, {"b": []}),
    ("one", {"single_job": "c"}, {"c": []}),
]


@pytest.mark.parametrize(("why", "chosen", "depends_on"), SELECTIONS, ids=[row[0] for row in SELECTIONS])
def test_a_selection_drops_dependencies_on_what_does_not_run(
    renderer: Renderer, why: str, chosen: Any, depends_on: Any
) -> None:
    plan = plan_jobs(renderer, CHAIN, **chosen)
    assert {job["name"]: job["depends_on"] for job in plan["jobs"]} == depends_on
    assert plan["order"] == list(depends_on)
    if "b" in depends_on:  # what a job exports is known though it does not run
        assert next(job for job in plan["jobs"] if job["name"] == "b")["command"] == ["1"]


NO_SELECTION = [
    ("from nothing", {"from_job": "x"}, "from_job: Job 'x' not found in workflow"),
    ("to nothing", {"to_job": "x"}, "to_job: Job 'x' not found in workflow"),
    ("nothing alone", {"single_job": "x"}, "single_job: Job 'x' not found in workflow"),
    ("backwards", {"from_job": "c", "to_job": "a"}, "from_job 'c' must appear before to_job 'a'"),
]


@pytest.mark.parametrize(("why", "chosen", "message"), NO_SELECTION, ids=[row[0] for row in NO_SELECTION])
def test_a_selection_that_is_not_there_is_refused(renderer: Renderer, why: str, chosen: Any, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        plan_jobs(renderer, CHAIN, **chosen)


DEFAULTS = {
    "resources": {"nodes": 2, "partition": "gpu", "time_limit": 60, "memory_per_node": None},
    "environment": {"conda": "base", "env_vars": {"A": "1", "B": "1"}, "container": None},
    "log_dir": "logs",
    "work_dir": "/scratch",
}


def test_the_configuration_fills_what_the_job_does_not_say(renderer: Renderer) -> None:
    given_job = job(resources={"nodes": 1}, environment={"venv": "v", "env_vars": {"B": "2"}}, work_dir="/home")
    filled = plan_jobs(renderer, [given_job], defaults=DEFAULTS)["jobs"][0]
    assert filled["resources"]["nodes"] == 1
    assert (filled["resources"]["partition"], filled["resources"]["time_limit"]) == ("gpu", "1:00:00")
    assert filled["environment"] == {"conda": None, "venv": "v", "container": None, "env_vars": {"A": "1", "B": "2"}}
    assert (filled["work_dir"], filled["log_dir"]) == ("/home", "logs")


def test_a_script_file_keeps_its_own_lines(renderer: Renderer) -> None:
    given_job = {"name": "a", "script_path": "{{ dir }}/run.sh", "script_vars": {"n": "{{ n }}", "m": "x"}}
    filled = plan_jobs(renderer, [given_job], {"dir": "scripts", "n": 3}, defaults=DEFAULTS)["jobs"][0]
    assert (filled["script_path"], filled["script_vars"], filled["command"]) == (
        "scripts/run.sh",
        {"n": 3, "m": "x"},
        None,
    )
    assert set(filled["resources"].values()) == {None}
    assert (filled["work_dir"], filled["log_dir"]) == (None, None)


def test_a_container_may_be_its_image_alone(renderer: Renderer) -> None:
    container = plan_jobs(renderer, [job(environment={"container": "{{ i }}"})], {"i": "a.sqsh"})["jobs"][0][
        "environment"
    ]
    assert container["container"]["image"] == "a.sqsh"
    assert container["container"]["runtime"] == "pyxis"


def test_a_file_is_checked_with_the_first_cell_of_its_own_sweep(renderer: Renderer) -> None:
    data = (
        b"jobs: [{name: a, command: ['{{ lr }}', '{{ n }}']}]\nargs: {n: 1}\nsweep: {matrix: {lr: [0.1, 0.2], n: [5]}}"
    )
    _, plan = workflows.check_workflow(data, renderer=renderer)
    assert plan["jobs"][0]["command"] == ["0.1", "1"]
    with pytest.raises(Invalid, match=r"line 1.*'lr' is undefined"):
        workflows.check_workflow(data.partition(b"\nsweep")[0], renderer=renderer)


# ---- showing


def test_the_view_shows_what_the_file_says_rendered(renderer: Renderer) -> None:
    workflow_json = workflows.to_rendered_json(workflows.parse_workflow(PIPELINE), renderer)
    assert list(workflow_json) == ["name", "jobs", "args"]
    assert workflow_json["args"] == {"n": 1000, "out": "work-{{ n }}"}
    assert workflow_json["jobs"][0] == {
        "name": "preprocess",
        "job_id": None,
        "status": "UNKNOWN",
        "depends_on": [],
        "command": ["bash", "-c", "mkdir -p work-1000 && seq 1000 > work-1000/data"],
        "resources": {"nodes": 1, "gpus_per_node": None, "partition": None, "time_limit": "0:05:00"},
        "exports": {"DATA": "work-1000/data"},
        "environment": {},
        "work_dir": None,
        "log_dir": None,
        "retry": 0,
        "retry_delay": 60,
        "srun_args": None,
    }
    assert workflow_json["jobs"][1]["depends_on"] == ["preprocess"]
    assert workflow_json["jobs"][2]["command"] == ["echo done > work-1000/report"]
    assert workflow_json["jobs"][3]["depends_on"] == ["afternotok:total"]


def test_the_view_shows_templates_where_they_cannot_be_rendered(renderer: Renderer) -> None:
    data = b"jobs: [{name: a, command: 'x {{ lr }}'}, {name: b, path: b.sh, template: t}]"
    with pytest.raises(Invalid):
        workflows.parse_workflow(data)
    workflow_json = workflows.to_rendered_json(workflows.parse_workflow(data.replace(b", template: t", b"")), renderer)
    assert workflow_json["jobs"][0]["command"] == ["x {{ lr }}"]
    assert (workflow_json["jobs"][1]["command"], workflow_json["jobs"][1]["resources"]) == ([], {})
    assert workflow_json["jobs"][1]["script_path"] == "b.sh"


def test_the_view_shows_more_where_the_file_says_more(renderer: Renderer) -> None:
    given_job = job(
        template="big",
        launch_prefix="time",
        resources={"memory_per_node": "4GB"},
        environment={"conda": "e{{ n }}", "env_vars": {"N": "{{ n }}"}},
    )
    workflow = workflows.parse_workflow(
        edits.compose_yaml({"name": "w", "jobs": [given_job], "args": {"n": 1}, "default_project": "p"})
    )
    workflow_json = workflows.to_rendered_json(workflow, renderer)
    assert workflow_json["default_project"] == "p"
    assert workflow_json["jobs"][0]["resources"]["memory_per_node"] == "4G"
    assert workflow_json["jobs"][0]["environment"] == {"conda": "e1", "env_vars": {"N": "1"}}
    assert (workflow_json["jobs"][0]["template"], workflow_json["jobs"][0]["launch_prefix"]) == ("big", "time")


# ---- script templates


def test_the_built_in_template_is_named_first() -> None:
    assert templates.list_names({"big": "#!/bin/bash\n{{ command }}\n"}) == ["base", "big"]


def test_a_template_is_rendered_as_text(renderer: Renderer) -> None:
    script = "#!/bin/bash\nlist=(1 2)\necho ${#list[@]} {{ n }}\n{% if gpus %}nvidia-smi{% endif %}\n"
    assert templates.render_text(script, {"n": 3, "gpus": 1}, renderer) == (
        "#!/bin/bash\nlist=(1 2)\necho ${#list[@]} 3\nnvidia-smi\n"
    )
    assert templates.render_text("{{ n }}", {"n": 3}, renderer) == "3"
    with pytest.raises(Invalid, match="script: 'm' is undefined"):
        templates.render_text("x {{ m }}", {}, renderer, name="script")


@pytest.mark.parametrize("data", [b"", b" \n", b"a\0b", b"\xff"])
def test_a_template_file_is_text(data: bytes) -> None:
    with pytest.raises(Invalid):
        templates.decode_script(data)

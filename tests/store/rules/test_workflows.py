"""Workflow files: what is read, what is refused and where, what runs of them do, how they are shown and written."""

# ruff: noqa: E501  (rows of the tables are read as rows)

from __future__ import annotations

import itertools
import re
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.errors import Invalid, describe_problem
from store.rendering.renderer import Renderer
from store.rules import fields, graphs, workflows
from store.workflow_files import edits
from store.yaml import writer
from tests.pipeline import PIPELINE


def problems(data: str | bytes, **options: Any) -> list[str]:
    """The problems of a file as lines of text; fails when it is accepted."""
    with pytest.raises(Invalid) as caught:
        workflows.parse_workflow(data.encode() if isinstance(data, str) else data, **options)
    return [describe_problem(problem) for problem in caught.value.problems]


def job(**keys: Any) -> dict[str, Any]:
    return {"name": "a", "command": ["true"]} | keys


# ---- reading


def test_a_good_file_is_read_with_its_templates_untouched() -> None:
    workflow = workflows.parse_workflow(PIPELINE, stem="ml-pipeline")
    assert workflow.args == {"n": 1000, "out": "work-{{ n }}"}
    assert [job.name for job in workflow.jobs] == ["preprocess", "total", "report", "cleanup"]
    assert [job.depends_on for job in workflow.jobs] == [
        [],
        ["afterok:preprocess"],
        ["afterany:total"],
        ["afternotok:total"],
    ]
    assert workflow.jobs[0].resources.time_limit == "0:05:00"
    assert workflow.jobs[0].exports == {"DATA": "{{ out }}/data"}


NAMES = [
    ("the name is the file's when the file says none", "jobs: []", "a", "a"),
    ("both may agree", "name: a\njobs: []", "a", "a"),
    ("without a file there is a name too", "jobs: []", None, "unnamed"),
    ("a number is a name as it is spelled", "name: '2024'\njobs: []", "2024", "2024"),
]


@pytest.mark.parametrize(("why", "data", "stem", "name"), NAMES, ids=[row[0] for row in NAMES])
def test_names(why: str, data: str, stem: str | None, name: str) -> None:
    assert workflows.parse_workflow(data.encode(), stem=stem).name == name


J = "jobs:\n  - name: a\n    command: x\n"

REFUSED = [
    ("nothing in it", "", "a workflow is a mapping with 'jobs'; the file is empty"),
    ("a list", "[1]", "the file holds a list"),
    ("text", "hello", "the file holds text"),
    ("no jobs", "name: a", "line 1, column 1: jobs: 'jobs' is missing"),
    ("jobs is no list", "jobs: {a: b}", "line 1, column 1: jobs: must be a list, not a mapping"),
    ("a job is no mapping", "jobs: [a]", "jobs.0: must be a mapping, not text"),
    ("a job without name", "jobs: [{command: x}]", "line 1, column 8: jobs.0.name: 'name' is missing"),
    ("the name would hide an operation", "name: runs\njobs: []", "'runs' is reserved"),
    ("the name has a slash", "name: a/b\njobs: []", "line 1, column 7: name: a name has only letters"),
    ("a line break after the name", 'name: "a\\n"\njobs: []', "a name has only letters"),
    ("a later version", "version: 2\njobs: []", "version"),
    ("a key that is misspelt", "descripton: x\njobs: []", "line 1, column 1: descripton: unknown key 'descripton'; did you mean 'description'?"),
    ("a misspelt resource beside resources", J + "    gpu_per_node: 2", "did you mean 'resources.gpus_per_node'?"),
    ("an old word", J + "    outputs: {A: b}", "did you mean 'exports'?"),
    ("a short word", J + "    resources: {mem: 3G}", "did you mean 'memory_per_node'?"),
    ("a misspelt resource", J + "    resources: {gpus_per_nod: 1}", "line 4, column 17: jobs.0.resources.gpus_per_nod: unknown key"),
    ("something quite else", J + "    resources: {colour: 1}", "known keys here: nodes, gpus_per_node"),
    ("no command", "jobs: [{name: a}]", "Job must have either 'command' or 'script_path'"),
    ("command and script", J + "    script_path: run.sh", "jobs.0.command: a job has a 'command' or a 'script_path', not both"),
    ("an empty command", "jobs: [{name: a, command: ''}]", "jobs.0.command: the command is empty"),
    ("a command without words", "jobs: [{name: a, command: []}]", "jobs.0.command: the command is empty"),
    ("a list in a command", "jobs: [{name: a, command: [x, [y]]}]", "line 1, column 31: jobs.0.command.1: must be text, not a list"),
    ("variables for a command", J + "    script_vars: {a: 1}", "jobs.0.script_vars: 'script_vars' goes with a 'script_path'"),
    ("an environment for a script", "jobs: [{name: a, path: x.sh, environment: {conda: e}}]", "jobs.0.environment: 'environment' goes with a 'command'"),
    ("two jobs of a name", J + "  - name: a\n    command: y", "line 4, column 11: jobs.1.name: Duplicate job names found in workflow: 'a'"),
    ("a name with a blank", "jobs: [{name: a b, command: x}]", "jobs.0.name: a name has only letters"),
    ("a name that is a template", "jobs: [{name: '{{ x }}', command: x}]", "a name cannot be a template"),
    ("a dependency on itself", J + "    depends_on: [a]", "line 4, column 18: jobs.0.depends_on.0: Job 'a' depends on itself"),
    ("a dependency on nothing", J + "  - name: train\n    command: x\n    depends_on: [trian]", "Job 'train' depends on unknown job 'trian'"),
    ("a dependency nearly right", "jobs: [{name: train, command: x}, {name: b, command: x, depends_on: [trian]}]", "did you mean 'train'?"),
    ("a kind of dependency", J + "    depends_on: ['aftercorr:b']", "Invalid dependency type 'aftercorr'. Valid types: afterok, after, afterany, afternotok"),
    ("a dependency twice", "jobs: [{name: b, command: x}, {name: a, command: x, depends_on: [b, 'afterok:b']}]", "the dependency 'afterok:b' stands here twice"),
    ("a dependency against itself", "jobs: [{name: b, command: x}, {name: a, command: x, depends_on: [b, 'afternotok:b']}]", "can never both come true"),
    ("a circle", "jobs: [{name: a, command: x, depends_on: [c]}, {name: b, command: x, depends_on: [a]}, {name: c, command: x, depends_on: [b]}]", "Circular job dependency: a -> c -> b -> a"),
    ("a circle with types", "jobs: [{name: a, command: x, depends_on: ['afterany:b']}, {name: b, command: x, depends_on: ['after:a']}]", "Circular job dependency: a -> b -> a"),
    ("conda and venv", J + "    environment: {conda: a, venv: b}", "line 4, column 35: jobs.0.environment.venv: Only one of conda or venv can be specified"),
    ("SLURM's variables", J + "    environment: {env_vars: {SLURM_JOB_ID: 1}}", "names that begin with SLURM_"),
    ("our variables", J + "    environment: {env_vars: {SLUICE_RESULT: x}}", "names that begin with SLURM_"),
    ("a variable with a blank", J + "    environment: {env_vars: {'A B': x}}", "jobs.0.environment.env_vars.A B: the name of an environment variable"),
    ("apptainer's word for pyxis", J + "    environment: {container: {image: i, nv: true}}", "jobs.0.environment.container.nv: 'nv' is only for runtime apptainer"),
    ("a container without image", J + "    environment: {container: {nv: false}}", "jobs.0.environment.container.image: 'image' is missing"),
    ("no nodes", J + "    resources: {nodes: 0}", "line 4, column 24: jobs.0.resources.nodes: must be between 1 and 1000000, not 0"),
    ("half a node", J + "    resources: {nodes: 1.5}", "must be a whole number, not 1.5"),
    ("true nodes", J + "    resources: {nodes: true}", "must be a whole number, not true or false"),
    ("a word for a time", J + "    resources: {time_limit: soon}", "'soon' is not a time"),
    ("a word for memory", J + "    resources: {memory_per_node: lots}", "'lots' is not an amount of memory"),
    ("an option as partition", J + "    resources: {partition: '-x'}", "'-x' is not the name of a partition"),
    ("a line break in a partition", J + '    resources: {partition: "a\\n#SBATCH --x"}', "is not the name of a partition"),
    ("a file as node list", J + "    resources: {nodelist: /etc/passwd}", "is not a list of nodes"),
    ("a line break in a folder", J + '    work_dir: "a\\nb"', "jobs.0.work_dir: must be one line without control characters"),
    ("negative retries", J + "    retry: -1", "jobs.0.retry: must be between 0 and 1000000, not -1"),
    ("an export that templates cannot name", J + "    exports: {a-b: c}", "must be an identifier"),
    ("an arg that templates cannot name", J + "args: {a-b: c}", "must be an identifier"),
    ("an arg that hides the exports", J + "args: {deps: c}", "the name 'deps' is reserved"),
    ("python in args", J + "args: {a: 'python: 1 + 1'}", "args at 'a' contains 'python:' prefix"),
    ("python deep in args", J + "args: {a: {b: [1, ' PyThOn : x']}}", "args at 'a.b.1' contains 'python:' prefix"),
    ("python in a sweep", J + "sweep: {matrix: {a: ['python:x']}}", "sweep at 'matrix.a.0' contains 'python:' prefix"),
    ("a sweep over nothing", J + "sweep: {matrix: {}}", "sweep.matrix"),
    ("an axis without values", J + "sweep: {matrix: {a: []}}", "sweep.matrix.a: must contain at least one value"),
    ("a sweep too large", J + f"sweep: {{matrix: {{a: {list(range(1001))}, b: {list(range(1000))}}}}}", "matrix cell_count=1001000 exceeds limit 1000000"),
    ("a range that leads nowhere", J + "sweep: {matrix: {a: {range: [1, 0]}}}", "sweep.matrix.a: range takes"),
    ("a series that is none", J + "sweep: {matrix: {a: {steps: [1, 0]}}}", "sweep.matrix.a: must be a list of values"),
    ("no cells at once", J + "sweep: {matrix: {a: [1]}, max_parallel: 0}", "sweep.max_parallel: must be between 1"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "data", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_wrong_is_said_with_its_place(why: str, data: str, message: str) -> None:
    assert any(message in problem for problem in problems(data)), problems(data)


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        "name: b\nargs: {a: 'python:x'}\njobs:\n- name: a\n  command: []\n  retry: -1\n  depends_on: [z]\n- name: a\n  comand: x\n",
        stem="a",
    )
    assert [re.match(r"line (\d+)", problem)[1] for problem in found] == ["2", "5", "6", "7", "8", "8", "9"]  # type: ignore[index]


def test_two_circles_are_two_problems() -> None:
    jobs = "".join(
        f"- {{name: {a}, command: x, depends_on: [{b}]}}\n" for a, b in [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]
    )
    assert [problem.split(": ", 2)[2] for problem in problems("jobs:\n" + jobs)] == [
        "Circular job dependency: a -> b -> a",
        "Circular job dependency: c -> d -> c",
    ]


def test_a_file_that_is_wrong_throughout_gives_a_list_that_can_be_read() -> None:
    found = problems("jobs: []\n" + "".join(f"k{number}: 1\n" for number in range(3000)))
    assert 50 <= len(found) <= 101
    found = problems(J + f"    depends_on: [{', '.join(f'x{number}' for number in range(3000))}]")
    assert 50 <= len(found) <= 101


SPELLED = [
    ("a version is not a number", "1.10", "1.10"),
    ("nor is a mode", "0644", "0644"),
    ("an integer", "8", "8"),
    ("a truth value", "true", "true"),
    ("with an exponent", "1e3", "1e3"),
    ("a word that YAML 1.1 took for false", "no", "no"),
    ("a time that YAML 1.1 took for a number", "1:30", "1:30"),
    ("quotes", "'1.10'", "1.10"),
]


@pytest.mark.parametrize(("why", "written", "meant"), SPELLED, ids=[row[0] for row in SPELLED])
def test_a_number_in_a_text_stays_as_it_is_spelled(why: str, written: str, meant: str) -> None:
    workflow = workflows.parse_workflow(
        f"jobs: [{{name: a, command: [x, {written}], environment: {{env_vars: {{V: {written}}}}}}}]".encode()
    )
    assert workflow.jobs[0].command == ["x", meant]
    assert workflow.jobs[0].environment.env_vars == {"V": meant}


def test_a_number_behind_an_alias_is_spelled_as_at_its_anchor() -> None:
    workflow = workflows.parse_workflow(b"jobs: [{name: a, command: [x, &v 1.10, *v]}]")
    assert workflow.jobs[0].command == ["x", "1.10", "1.10"]


def test_a_key_without_value_counts_as_not_written() -> None:
    workflow = workflows.parse_workflow(b"description:\njobs:\n- name: a\n  command: x\n  resources:\n  depends_on:\n")
    assert workflow.jobs[0].model_dump(exclude_unset=True) == {"name": "a", "command": "x"}


TIMES = [
    ("a number is minutes", 90, "1:30:00"),
    ("also as text", "90", "1:30:00"),
    ("minutes and seconds", "1:30", "0:01:30"),
    ("hours", "8:00:00", "8:00:00"),
    ("padded", "08:00:00", "8:00:00"),
    ("minutes beyond the hour", "0:90:00", "1:30:00"),
    ("days and hours", "2-12", "2-12:00:00"),
    ("days, hours, minutes", "1-2:30", "1-02:30:00"),
    ("days and all", "1-02:03:04", "1-02:03:04"),
    ("hours beyond the day", "36:00:00", "1-12:00:00"),
    ("no limit", "UNLIMITED", "UNLIMITED"),
    ("another word for it", "infinite", "UNLIMITED"),
    ("zero means no limit", 0, "UNLIMITED"),
]


@pytest.mark.parametrize(("why", "value", "canonical"), TIMES, ids=[row[0] for row in TIMES])
def test_times_have_one_form(why: str, value: Any, canonical: str) -> None:
    assert fields.check_time_limit(value) == canonical
    assert fields.check_time_limit(canonical) == canonical


MEMORY = [
    ("people's gigabytes", "32GB", "32G"),
    ("with a blank", "32 GB", "32G"),
    ("binary", "32GiB", "32G"),
    ("sbatch's own", "500M", "500M"),
    ("small letters", "2t", "2T"),
    ("a number is megabytes", 4000, "4000M"),
    ("as text too", "4000", "4000M"),
    ("a fraction", "1.5G", "1536M"),
    ("a fraction that is whole", "2.0G", "2G"),
    ("all of the node", 0, "0"),
]


@pytest.mark.parametrize(("why", "value", "canonical"), MEMORY, ids=[row[0] for row in MEMORY])
def test_memory_has_one_form(why: str, value: Any, canonical: str) -> None:
    assert fields.check_memory(value) == canonical
    assert fields.check_memory(canonical) == canonical


NOT_VALUES = [
    ("no time", fields.check_time_limit, "1h"),
    ("no time either", fields.check_time_limit, "1:2:3:4"),
    ("a negative time", fields.check_time_limit, -5),
    ("a fraction of a time", fields.check_time_limit, 1.5),
    ("truth is no time", fields.check_time_limit, True),
    ("a list is no time", fields.check_time_limit, ["1"]),
    ("digits of other scripts", fields.check_time_limit, "١٢"),
    ("no unit", fields.check_memory, "3X"),
    ("a fraction of a kilobyte", fields.check_memory, "0.5K"),
    ("negative memory", fields.check_memory, -1),
    ("bytes", fields.check_memory, "100B"),
    ("half a surrogate pair", fields.check_text, "\ud800"),
    ("NUL", fields.check_text, "a\0b"),
    ("nothing", fields.check_text, None),
]


@pytest.mark.parametrize(("why", "check", "value"), NOT_VALUES, ids=[row[0] for row in NOT_VALUES])
def test_values_that_are_refused(why: str, check: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=r"must|not"):
        check(value)


@given(st.integers(1, 10**8))
def test_a_clock_says_the_seconds_it_was_made_of(minutes: int) -> None:
    assert fields.parse_time_limit_s(fields.check_time_limit(minutes)) == minutes * 60


PYTHON = ["python:1", " python:1", "PYTHON: 1", "python :1", "\tPython\t:", "\u200bpython:1", "\ufeffpython:"]
HARMLESS = ["python x.py", "xpython:1", "pythonic: yes", "", "a python: b"]


@pytest.mark.parametrize("value", PYTHON)
def test_python_is_refused_however_it_is_spelled(value: str) -> None:
    with pytest.raises(Invalid) as caught:
        fields.refuse_python({"a": [{"b": value}]}, ("args_override",))
    assert caught.value.problems[0]["loc"] == ["args_override", "a", 0, "b"]


@pytest.mark.parametrize("value", HARMLESS)
def test_other_texts_are_not_python(value: str) -> None:
    fields.refuse_python({"a": [value, 1, None]}, ("args",))


# ---- order and circles


@st.composite
def graph(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"j{number}" for number in range(draw(st.integers(0, 9)))]
    pairs = draw(st.sets(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=14)) if names else set()
    return {name: sorted(b for a, b in pairs if a == name) for name in names}


def reach(edges: dict[str, list[str]]) -> dict[str, set[str]]:
    """Everything each name needs, by doing the obvious thing until nothing changes."""
    found = {name: set(needs) for name, needs in edges.items()}
    for _ in edges:
        for needs in found.values():
            needs |= {far for near in set(needs) for far in found[near]}
    return found


@given(graph())
def test_circles_are_found_exactly_where_a_name_needs_itself(edges: dict[str, list[str]]) -> None:
    far = reach(edges)
    found = graphs.find_cycles(edges)
    assert bool(found) == any(name in needs for name, needs in far.items())
    for cycle in found:
        assert cycle[0] == cycle[-1]
        assert all(b in edges[a] for a, b in itertools.pairwise(cycle))
        assert len(set(cycle)) == len(cycle) - 1
    assert len({name for cycle in found for name in cycle}) == sum(len(cycle) - 1 for cycle in found)


@given(graph())
def test_the_order_puts_each_after_what_it_needs(edges: dict[str, list[str]]) -> None:
    far = reach(edges)
    order = graphs.sort_by_needs(edges)
    stuck = {name for name, needs in far.items() if name in needs or any(need in far[need] for need in needs)}
    assert set(order) == set(edges) - stuck
    assert all(order.index(need) < order.index(name) for name in order for need in edges[name])
    if not any(edges.values()):
        assert order == list(edges)


# ---- writing


def test_a_body_is_written_in_a_settled_order_without_what_is_empty() -> None:
    body = {
        "jobs": [
            {
                "retry": 1,
                "command": ["echo", "a b", "no", "8:00:00"],
                "name": "a",
                "depends_on": [],
                "exports": {},
                "resources": {"nodes": 1, "partition": None},
                "environment": {"conda": None, "container": None},
                "template": None,
                "work_dir": "/w",
            }
        ],
        "args": {"n": 1},
        "overwrite": True,
        "default_project": None,
        "name": "w",
    }
    assert edits.compose_yaml(body).decode() == (
        'name: w\nargs:\n  "n": 1\njobs:\n  - name: a\n    command:\n      - echo\n      - a b\n      - "no"\n'
        '      - "8:00:00"\n    resources:\n      nodes: 1\n    work_dir: /w\n    retry: 1\n'
    )


def test_what_a_job_may_not_have_is_refused_when_read_again() -> None:
    assert any(
        "'exports'" in problem
        for problem in problems(edits.compose_yaml({"name": "w", "jobs": [job(outputs={"A": "b"})]}))
    )


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
PLAIN = TEXT.filter(lambda text: not fields.PYTHON.match(text))
IDENTIFIER = st.text(string.ascii_letters + "_", min_size=1, max_size=6).filter(lambda text: text != "deps")
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(IDENTIFIER, inner, max_size=3),
    max_leaves=6,
)
ENV_KEY = IDENTIFIER.filter(lambda text: not text.upper().startswith(("SLURM_", "SBATCH_", "SLUICE_")))


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.from_regex(r"[\w-]{1,8}", fullmatch=True), max_size=4, unique=True))
    jobs = []
    for index, name in enumerate(names):
        earlier = st.sampled_from(names[:index]) if index else st.nothing()
        fields_of_job = {
            "name": name,
            "command": draw(st.lists(TEXT, min_size=1, max_size=3)),
            "depends_on": [
                f"{draw(st.sampled_from(fields.DEPENDENCY_TYPES))}:{other}" for other in draw(st.sets(earlier))
            ],
            "exports": draw(st.dictionaries(IDENTIFIER, TEXT, max_size=2)),
            "resources": draw(st.fixed_dictionaries({}, optional={"nodes": st.integers(1, 99)})),
            "environment": {"env_vars": draw(st.dictionaries(ENV_KEY, TEXT, max_size=2))},
            "retry": draw(st.integers(0, 5)),
        }
        jobs.append(fields_of_job)
    return {"name": "w", "args": draw(st.dictionaries(IDENTIFIER, VALUES, max_size=3)), "jobs": jobs}


@given(bodies())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_what_is_read(body: dict[str, Any]) -> None:
    workflow = workflows.parse_workflow(edits.compose_yaml(body), stem="w")
    assert workflow.args == body["args"]
    for read, meant in zip(workflow.jobs, body["jobs"], strict=True):
        own = read.model_dump(exclude_unset=True)
        own.setdefault("environment", {}).setdefault("env_vars", {})
        assert {"depends_on": [], "exports": {}, "resources": {}} | own == meant


OLD = b"""\
name: w
description: kept
args: {n: 1, lr: 0.5}
jobs:
  - name: a
    command: [bash, -c, "echo {{ n }}  x"]
    exports: {X: "{{ n }}"}
    resources: {nodes: 1, cpus_per_task: 4}
    environment: {env_vars: {A: "{{ n }}"}}
    srun_args: --exclusive
    retry: 3
  - name: b
    path: b.sh
sweep: {matrix: {n: [1, 2]}}
"""


def test_an_edit_through_a_form_loses_nothing(renderer: Renderer) -> None:
    old = workflows.parse_workflow(OLD)
    workflow_json = workflows.to_rendered_json(old, renderer)
    form = {
        "name": "w",
        "args": {"n": "1", "lr": "0.7"},
        "jobs": [
            {
                "name": "a",
                "command": ["bash", "-c", "echo", "1", "x"],
                "exports": {"X": "1"},
                "resources": {"nodes": 2, "time_limit": "1:00:00"},
                "depends_on": ["b"],
            },
            {"name": "b", "command": ["true"]},
            {"name": "c", "command": ["new"]},
        ],
    }
    new = workflows.parse_workflow(edits.compose_yaml(edits.merge_workflow(old, form, workflow_json)), stem="w")
    assert (new.description, new.args) == ("kept", {"n": 1, "lr": "0.7"})
    assert new.sweep == old.sweep
    a, b, c = new.jobs
    assert a.command == ["bash", "-c", "echo {{ n }}  x"]
    assert a.exports == {"X": "{{ n }}"}
    assert a.resources.model_dump(exclude_unset=True) == {"nodes": 2, "cpus_per_task": 4, "time_limit": "1:00:00"}
    assert a.environment == old.jobs[0].environment
    assert (a.srun_args, a.retry, a.depends_on) == ("--exclusive", 3, ["afterok:b"])
    assert (b.command, b.script_path) == (["true"], None)
    assert c.command == ["new"]


def test_a_null_in_the_body_removes() -> None:
    form = {"name": "w", "jobs": [{"name": "a", "srun_args": None, "resources": {"cpus_per_task": None}}]}
    new = workflows.parse_workflow(edits.compose_yaml(edits.merge_workflow(workflows.parse_workflow(OLD), form)))
    assert [job.name for job in new.jobs] == ["a"]
    assert new.jobs[0].srun_args is None
    assert new.jobs[0].resources.model_dump(exclude_unset=True) == {"nodes": 1}


@given(st.just(OLD) | st.just(PIPELINE))
def test_sending_back_what_was_shown_changes_nothing(renderer: Renderer, data: bytes) -> None:
    old = workflows.parse_workflow(data)
    workflow_json = workflows.to_rendered_json(old, renderer)
    keys = {
        "name",
        "command",
        "depends_on",
        "exports",
        "resources",
        "environment",
        "retry",
        "retry_delay",
        "script_path",
    }
    form = {
        "name": workflow_json["name"],
        "args": {key: str(value) for key, value in workflow_json["args"].items()},
        "jobs": [{key: value for key, value in job.items() if key in keys and value} for job in workflow_json["jobs"]],
    }
    again = workflows.parse_workflow(edits.compose_yaml(edits.merge_workflow(old, form, workflow_json)))
    assert workflows.to_rendered_json(again, renderer) == workflow_json
    assert [job.command for job in again.jobs] == [job.command for job in old.jobs]


# ---- hostile files

HOSTILE = [
    ("brackets", b"jobs: " + b"[" * 50_000),
    ("braces", b"{a: " * 20_000),
    ("an alias bomb", b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9)) + b"jobs: []"),
    ("an alias to itself", b"jobs: &a [*a]"),
    ("more than 1 MB", b"jobs: []\n#" + b"x" * 1_000_000),
    ("NUL", b"jobs: []\0"),
    ("not UTF-8", b"jobs: [\xff]"),
    ("a tag that would make an object", b"jobs: !!python/object/apply:os.system [id]"),
    ("two documents", b"jobs: []\n---\njobs: []"),
    ("a key twice", b"jobs: []\njobs: []"),
    ("not a number", b"args: {a: .nan}\njobs: []"),
    ("a number of five thousand digits", b"args: {a: " + b"9" * 5000 + b"}\njobs: []"),
    ("too many jobs", b"jobs:\n" + b"".join(b"- {name: j%d, command: x}\n" % n for n in range(1100))),
]  # fmt: skip


@pytest.mark.parametrize(("why", "data"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_hostile_files_are_refused(why: str, data: bytes) -> None:
    with pytest.raises(Invalid):
        workflows.parse_workflow(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 9) | TEXT,
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from([*edits.TOP_KEYS, *edits.JOB_KEYS]), x),
        max_leaves=12,
    )
)
@settings(max_examples=150, deadline=None)
def test_whatever_a_file_holds_it_is_read_or_refused(value: Any) -> None:
    data = writer.dump_yaml({"jobs": value, "sweep": value} if not isinstance(value, dict) else value)
    try:
        workflows.to_json(workflows.parse_workflow(data))
    except Invalid as error:
        assert all(problem["line"] and problem["msg"] for problem in error.problems)


FLAT = "jobs:\n  - name: a\n    command: x\n    nodes: 4\n    time_limit: 8:00:00\n    memory_per_node: 32\n    conda: ml\n"


def test_keys_of_sections_may_stand_flat_under_the_job() -> None:
    (found,) = workflows.parse_workflow(f"{FLAT}    resources: {{nodes: 4, partition: gpu}}\n".encode()).jobs
    assert found.resources.model_dump(exclude_unset=True) == {
        "nodes": 4, "time_limit": "8:00:00", "memory_per_node": "32M", "partition": "gpu",
    }  # fmt: skip
    assert found.environment.conda == "ml"


@pytest.mark.parametrize(
    ("why", "old", "new"),
    [
        ("flat", "tasks_per_node: 2", "ntasks_per_node: 2"),
        ("in the section", "resources: {tasks_per_node: 2}", "resources: {ntasks_per_node: 2}"),
        ("an image", "sqsh: /i.sqsh", "environment: {container: /i.sqsh}"),
        ("an image in the section", "environment: {sqsh: /i.sqsh}", "container: /i.sqsh"),
        ("without effect", "async: true", "retry: 0"),
        (
            "a variable of that name",
            "env_vars: {sqsh: x, async: yes}",
            "environment: {env_vars: {sqsh: x, async: yes}}",
        ),
    ],
)
def test_words_of_the_oldest_examples_mean_those_of_today(why: str, old: str, new: str) -> None:
    jobs = "jobs:\n  - name: a\n    command: x\n    "
    found, expected = (workflows.parse_workflow(f"{jobs}{word}\n".encode()) for word in (old, new))
    assert found.model_dump() == expected.model_dump(), why


def test_a_flag_may_be_in_the_words_of_yaml_1_1() -> None:
    container = "jobs:\n  - {name: a, command: x, container: {image: i, runtime: apptainer, nv: yes, cleanenv: OFF}}\n"
    found = workflows.parse_workflow(container.encode()).jobs[0].environment.container
    assert found and (found.nv, found.cleanenv) == (True, False)


@pytest.mark.parametrize(
    ("why", "more", "problem"),
    [
        ("another value", "resources: {nodes: 2}", "line 4, column 12: jobs.0.nodes: 'nodes' stands here and under"),
        ("of the other section", "venv: /v", "line 8, column 11: jobs.0.environment.venv: Only one of conda or venv"),
        (
            "a wrong value",
            "gpus_per_node: x",
            "line 8, column 20: jobs.0.resources.gpus_per_node: must be a whole number",
        ),
        ("an old word too", "sqsh: /i\n    container: /j", "unknown key 'sqsh'"),
        ("a script has its own", "script_path: s.sh", "goes with a 'command'"),
    ],
)
def test_flat_keys_that_contradict_are_refused_in_their_place(why: str, more: str, problem: str) -> None:
    assert any(problem in row for row in problems(f"{FLAT}    {more}\n")), why

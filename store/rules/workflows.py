"""Workflows: read from a file, planned for a run, shown, and written.

A file is accepted whole or not at all; everything that is wrong with it comes back as one list, each problem with its
place. Templates stay as they are until `plan`, which renders values, never the text of the file.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from pydantic import ValidationError

from store.errors import Invalid, make_problem
from store.errors import describe_problem as line
from store.rendering.renderer import Renderer
from store.rules import fields, graphs
from store.rules.fields import refuse_python
from store.rules.shapes import (
    MAX_CELLS,
    MAX_JOBS,
    MAX_PROBLEMS,
    RESOURCES,
    Job,
    Loc,
    Problem,
    Workflow,
    find_exclusive_problems,
    to_field_problems,
)
from store.yaml import reader

__all__ = [
    "Plan",
    "Workflow",
    "check_workflow",
    "compose_yaml",
    "merge_workflow",
    "parse_workflow",
    "plan_workflow",
    "refuse_python",
    "pick_sample_args",
    "to_json",
]

# Keys whose values keep their type; in all others a number stays as it was spelled (`1.10`, `0644`).
TYPED_KEYS = frozenset({"resources", "retry", "retry_delay", "script_vars"})
# What the keys that a form sends are called, in the order in which they are written.
TOP_KEYS = ("version", "name", "description", "default_project", "args", "jobs", "sweep")
JOB_KEYS = (
    "name",
    "command",
    "script_path",
    "script_vars",
    "depends_on",
    "exports",
    "resources",
    "environment",
    "template",
    "work_dir",
    "log_dir",
    "retry",
    "retry_delay",
    "srun_args",
    "launch_prefix",
)
SHOWN_RESOURCES = ("nodes", "gpus_per_node", "partition", "time_limit")
# sbatch's own defaults, for what neither the job nor the configuration says.
SBATCH_DEFAULTS = {"nodes": 1, "gpus_per_node": 0, "ntasks_per_node": 1, "cpus_per_task": 1}


class Plan(TypedDict):
    """What a run is to do: args with their values, jobs in the order of the file, names in an order to submit them."""

    args: dict[str, Any]
    jobs: list[dict[str, Any]]
    order: list[str]


# ---- reading


def parse_workflow(data: bytes, *, stem: str | None = None) -> Workflow:
    """The workflow in a YAML file; `stem` is the file's name without suffix, which the workflow's name must equal.

    Raises Invalid with everything that is wrong, each problem with loc, line and column, in the order of the file.
    """
    loaded = reader.load_yaml(data)
    value = loaded.value
    if not isinstance(value, dict):
        found = "the file is empty" if value is None else f"the file holds {fields.describe_kind(value)}"
        raise Invalid([make_problem(f"a workflow is a mapping with 'jobs'; {found}", line=1, column=1)])
    if stem is not None and value.get("name") is None:
        value = {**value, "name": stem}
    tree = _keep_spelling(value, data, loaded)
    problems = [*_find_name_problems(tree, stem), *_find_relation_problems(tree)]
    try:
        workflow = Workflow.model_validate(tree)
    except ValidationError as error:
        raise Invalid(_locate_problems([*to_field_problems(error, tree), *problems], loaded)) from error
    if problems:
        raise Invalid(_locate_problems(problems, loaded))
    return workflow.keep_source(data)


def _locate_problems(problems: Iterable[Problem], loaded: reader.ParsedYaml) -> list[Problem]:
    placed = []
    for one in problems:
        line, column = loaded.locate(one["loc"], key=one["type"] in ("extra_forbidden", "missing"))
        placed.append({**one, "line": line, "column": column})
    placed.sort(key=lambda one: (one["line"], one["column"]))
    if (rest := len(placed) - MAX_PROBLEMS) > 0:
        placed[MAX_PROBLEMS:] = [{**placed[MAX_PROBLEMS], "msg": f"… and {rest} more problems", "loc": []}]
    return placed


def _keep_spelling(value: dict[str, Any], data: bytes, loaded: reader.ParsedYaml) -> dict[str, Any]:
    """The tree in which numbers and truth values in the texts of jobs are the words that stand in the file.

    `command: [chmod, 0644, file]` means 0644, and `VERSION: 1.10` means 1.10.
    """
    lines = reader.decode_text(data).splitlines()

    def spelled(part: Any, loc: Loc) -> Any:
        if isinstance(part, dict):
            return {key: spelled(one, (*loc, key)) for key, one in part.items()}
        if isinstance(part, list):
            return [spelled(one, (*loc, index)) for index, one in enumerate(part)]
        if isinstance(part, bool | int | float) and not TYPED_KEYS.intersection(loc[2:3]):
            return _find_spelling(part, lines, loaded.locate(loc))
        return part

    return {**value, "jobs": spelled(value["jobs"], ("jobs",))} if "jobs" in value else value


def _find_spelling(value: bool | float, lines: Sequence[str], place: tuple[int, int]) -> str:
    """The word at this place, or behind the anchor that an alias there names, when it means the value."""
    line, column = place
    text = lines[line - 1][column - 1 :] if line <= len(lines) else ""
    if alias := re.match(r"\*([^\s,\]}]+)", text):
        anchors = re.compile(rf"&{re.escape(alias[1])}\s+[\w.+-]+")
        text = next((found[0] for found in map(anchors.search, lines) if found), "")
    found = re.match(r"(?:&\S+\s+)?([\w.+-]+)", text)
    try:
        # Where the word was not found after all, the value itself has to do.
        same = found is not None and reader.parse_scalar(found[1]) == value
    except ValueError:
        same = False
    return found[1] if found and same else str(value)


def _find_name_problems(tree: Mapping[str, Any], stem: str | None) -> list[Problem]:
    name = tree.get("name")
    if stem is None or not isinstance(name, str) or name == stem:
        return []
    message = f"the workflow's name '{name[:128]}' and its file's name '{stem[:128]}' must be the same"
    return [make_problem(message, ("name",), type="name_differs", input=name[:200])]


def _find_relation_problems(tree: Mapping[str, Any]) -> list[Problem]:
    """What is wrong between parts: within each job, among the jobs, in the sweep; fields may be wrong as well."""
    problems = fields.find_python_problems(tree.get("args"), ("args",))
    jobs = tree.get("jobs")
    if isinstance(jobs, list):
        known = [job if isinstance(job, dict) else {} for job in jobs[:MAX_JOBS]]
        for index, job in enumerate(known):
            problems += find_exclusive_problems(job, ("jobs", index)) if job else []
        problems += graphs.find_graph_problems(known)
    sweep = tree.get("sweep")
    matrix = sweep.get("matrix") if isinstance(sweep, dict) else None
    if isinstance(matrix, dict):
        problems += fields.find_python_problems(matrix, ("sweep", "matrix"))
        cells = math.prod(len(axis) for axis in matrix.values() if isinstance(axis, list))
        if cells > MAX_CELLS:
            problems.append(make_problem(f"matrix cell_count={cells} exceeds limit {MAX_CELLS}", ("sweep", "matrix")))
    return problems


# ---- planning


def plan_workflow(
    workflow: Workflow,
    *,
    args_override: Mapping[str, Any] | None = None,
    from_job: str | None = None,
    to_job: str | None = None,
    single_job: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    renderer: Renderer,
) -> Plan:
    """What a run of the workflow is to do, every template rendered and every value checked once more.

    `defaults` are the configuration's resources, environment, log_dir and work_dir, used where a job says nothing.
    Raises Invalid for a selection that does not exist, for templates that cannot be rendered and for what they give.
    Blocks while the renderer works (see Renderer).
    """
    chosen = _choose_jobs(workflow, from_job, to_job, single_job)
    override = dict(args_override or {})
    refuse_python(override, ("args_override",))
    if override.get("deps") is not None:
        raise Invalid(
            [make_problem("the name 'deps' is reserved for the exports of other jobs", ("args_override", "deps"))]
        )
    try:
        args = _order_args({**workflow.args, **override}, renderer)
        edges = {job.name: job.list_needs() for job in workflow.jobs}
        order = graphs.sort_by_needs(edges)
        place = {job.name: index for index, job in enumerate(workflow.jobs)}
        asked = [_build_question(workflow.jobs[place[name]], place[name], name in chosen) for name in order]
        answer = renderer.render_workflow(args, asked)
    except Invalid as error:
        raise Invalid(_locate_in_file(error.problems, workflow, override)) from error
    rendered = dict(zip(order, answer["jobs"], strict=True))
    problems: list[Problem] = []
    jobs = [
        _plan_job(job, index, rendered[job.name], chosen, single_job, defaults or {}, problems)
        for index, job in enumerate(workflow.jobs)
        if job.name in chosen
    ]
    if problems:
        raise Invalid(_locate_in_file(problems, workflow, override))
    return {"args": answer["args"], "jobs": jobs, "order": [name for name in order if name in chosen]}


def _choose_jobs(workflow: Workflow, from_job: str | None, to_job: str | None, single_job: str | None) -> set[str]:
    """The names of the selected jobs; from and to go by the order of the file."""
    names = [job.name for job in workflow.jobs]
    for key, name in (("from_job", from_job), ("to_job", to_job), ("single_job", single_job)):
        if name is not None and name not in names:
            raise Invalid([make_problem(f"Job '{name}' not found in workflow", (key,), input=name)])
    if single_job is not None:
        return {single_job}
    first = names.index(from_job) if from_job is not None else 0
    last = names.index(to_job) if to_job is not None else len(names) - 1
    if from_job is not None and to_job is not None and first > last:
        message = f"from_job '{from_job}' must appear before to_job '{to_job}' in the workflow"
        raise Invalid([make_problem(message, ("from_job",), input=from_job)])
    return set(names[first : last + 1])


def _order_args(args: dict[str, Any], renderer: Renderer) -> list[tuple[str, Any]]:
    """The args so that each comes after those that its templates use; Invalid names those that need each other."""
    edges = {name: [one for one in used if one in args] for name, used in renderer.find_names(args).items()}
    if circles := graphs.find_cycles(edges):
        problems = [
            make_problem(f"args refer to each other in a circle: {' -> '.join(one)}", ("args", one[0]), type="cycle")
            for one in circles
        ]
        raise Invalid(problems)
    return [(name, args[name]) for name in graphs.sort_by_needs(edges)]


def _build_question(job: Job, index: int, chosen: bool) -> dict[str, Any]:
    """What the renderer is asked about a job; of a job that does not run only the exports matter."""
    body = job.model_dump(exclude_unset=True, exclude={"name", "depends_on", "exports"}) if chosen else None
    return {"name": job.name, "loc": ["jobs", index], "deps": job.list_needs(), "exports": job.exports, "body": body}


def _locate_in_file(problems: Iterable[Problem], workflow: Workflow, override: Mapping[str, Any]) -> list[Problem]:
    """The problems with line and column; an arg that the caller set is the caller's, not the file's."""
    return workflow.locate_problems(
        {**one, "loc": ["args_override", *one["loc"][1:]]}
        if one["loc"][:1] == ["args"] and one["loc"][1] in override
        else one
        for one in itertools.islice(problems, MAX_PROBLEMS)
    )


def _plan_job(
    job: Job,
    index: int,
    rendered: Mapping[str, Any],
    chosen: set[str],
    single_job: str | None,
    defaults: Mapping[str, Any],
    problems: list[Problem],
) -> dict[str, Any]:
    """The job as it will run; what its rendered values break is added to `problems`."""
    depends_on = [] if single_job else [one for one in job.depends_on if one.partition(":")[2] in chosen]
    tree = {"name": job.name, "depends_on": depends_on, "exports": rendered["exports"], **rendered["body"]}
    tree = _add_defaults(tree, defaults)
    loc = ("jobs", index)
    try:
        final = Job.model_validate(tree, context=fields.RENDERED)
    except ValidationError as error:
        problems += to_field_problems(error, tree, loc)
        return {}
    problems += find_exclusive_problems(tree, loc)
    return final.model_dump()


def _add_defaults(tree: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The job with the configuration's values where it says nothing; a script file keeps its own #SBATCH lines."""
    if tree.get("script_path") is not None:
        return tree
    own = tree.get("resources") or {}
    common = {**SBATCH_DEFAULTS, **_drop_nulls(defaults.get("resources"))}
    filled = {key: own[key] if own.get(key) is not None else common.get(key) for key in RESOURCES}
    return {
        **{key: defaults[key] for key in ("work_dir", "log_dir") if defaults.get(key)},
        **tree,
        "resources": filled,
        "environment": _merge_environment(tree.get("environment") or {}, _drop_nulls(defaults.get("environment"))),
    }


def _merge_environment(own: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    """One environment of the job's and the configuration's; a job that names conda or venv wants neither of theirs."""
    kept = dict(common)
    if own.get("conda") or own.get("venv"):
        kept = {key: one for key, one in kept.items() if key not in ("conda", "venv")}
    env_vars = {**(kept.get("env_vars") or {}), **(own.get("env_vars") or {})}
    return {**kept, **own, "env_vars": env_vars}


def _drop_nulls(section: Any) -> dict[str, Any]:
    return {key: one for key, one in (section or {}).items() if one is not None}


def pick_sample_args(workflow: Workflow) -> dict[str, Any]:
    """The first value of each axis of the file's own sweep that is not also an arg."""
    matrix = workflow.sweep.matrix if workflow.sweep else {}
    firsts = {
        axis: values if isinstance(values, list) else next(iter(values.values())) for axis, values in matrix.items()
    }
    return {axis: values[0] for axis, values in firsts.items() if axis not in workflow.args}


def check_workflow(
    data: bytes, *, stem: str | None = None, defaults: Mapping[str, Any] | None = None, renderer: Renderer
) -> tuple[Workflow, Plan]:
    """The workflow in a file that is about to be saved, and its plan with the args it gives itself.

    Raises Invalid as parse and plan do, so that nothing is written that could not run.
    """
    workflow = parse_workflow(data, stem=stem)
    return workflow, plan_workflow(
        workflow, args_override=pick_sample_args(workflow), defaults=defaults, renderer=renderer
    )


def list_complaints(text: str, renderer: Renderer) -> list[str]:
    """All that is wrong with the text of a workflow, a line each; [] when it would be accepted."""
    if not text.strip():
        return ["Empty YAML content"]
    try:
        check_workflow(text.encode("utf-8", "surrogatepass"), renderer=renderer)
    except Invalid as error:
        return [line(one) for one in error.problems]
    return []


def parse_uploaded_name(filename: str) -> str:
    """The name of an uploaded workflow: its file's name without folders and ending; Invalid names what is wrong."""
    stem, dot, ending = re.split(r"[/\\\\]", filename)[-1].rpartition(".")
    if not dot or ending not in ("yaml", "yml"):
        raise Invalid([make_problem("Filename must end in .yaml or .yml", ("body", "filename"), input=filename)])
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", stem):
        message = "Filename must be alphanumeric with hyphens/underscores only"
        raise Invalid([make_problem(message, ("body", "filename"), input=filename)])
    return stem


def to_sweep_request(workflow: Workflow) -> dict[str, Any] | None:
    """What the file itself says of a sweep, as a request would."""
    return workflow.sweep.model_dump(exclude_none=True) if workflow.sweep else None


# ---- showing


def to_json(workflow: Workflow, planned: Plan | None = None) -> dict[str, Any]:
    """The workflow as answers show it: rendered as `planned`, or as it stands in the file when there is no plan.

    Only what the file says: a value that comes from the configuration is null.
    """
    rendered = {job["name"]: job for job in planned["jobs"]} if planned else {}
    shown: dict[str, Any] = {
        "name": workflow.name,
        "jobs": [_to_job_json(job, rendered.get(job.name)) for job in workflow.jobs],
    }
    if workflow.args:
        shown["args"] = workflow.args
    if workflow.default_project:
        shown["default_project"] = workflow.default_project
    return shown


def to_rendered_json(workflow: Workflow, renderer: Renderer) -> dict[str, Any]:
    """The view with the templates rendered, where they can be. Blocks while the renderer works."""
    try:
        return to_json(workflow, plan_workflow(workflow, args_override=pick_sample_args(workflow), renderer=renderer))
    except Invalid:
        # An arg without a value is given with each run; until then the templates themselves are what there is to see.
        return to_json(workflow)


def _to_job_json(job: Job, planned: Mapping[str, Any] | None) -> dict[str, Any]:
    own = _pick_own_values(job, planned)
    command = own.get("command") or []
    shown: dict[str, Any] = {
        "name": job.name,
        "job_id": None,
        "status": "UNKNOWN",
        "depends_on": [one.removeprefix("afterok:") for one in job.depends_on],
        "command": [command] if isinstance(command, str) else command,
        "resources": _to_resources_json(job, own.get("resources", {})),
        "exports": own.get("exports", {}),
        "environment": own.get("environment", {}),
        "work_dir": own.get("work_dir"),
        "log_dir": own.get("log_dir"),
        "retry": own.get("retry", 0),
        "retry_delay": own.get("retry_delay", 60),
        "srun_args": own.get("srun_args"),
    }
    return shown | {key: own[key] for key in ("template", "launch_prefix", "script_path", "script_vars") if key in own}


def _pick_own_values(job: Job, planned: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the file says about the job, with the plan's values."""
    own = job.model_dump(exclude_unset=True)
    return _pick_same_keys(own, planned) if planned else own


def _pick_same_keys(own: Any, full: Any) -> Any:
    if isinstance(own, dict) and isinstance(full, dict):
        return {key: _pick_same_keys(one, full.get(key)) for key, one in own.items()}
    return full


def _to_resources_json(job: Job, resources: Mapping[str, Any]) -> dict[str, Any]:
    if job.script_path and not resources:
        return {}
    always = {key: resources.get(key) for key in SHOWN_RESOURCES}
    return always | {key: resources[key] for key in RESOURCES if resources.get(key) is not None}


# ---- writing


def compose_yaml(body: Mapping[str, Any]) -> bytes:
    """The YAML of a workflow given as plain values; what is null or empty is left out."""
    top = {key: body[key] for key in TOP_KEYS if key in body}
    top["jobs"] = [_order_keys(job, JOB_KEYS) for job in body.get("jobs", [])]
    return reader.dump_yaml({key: one for key, one in top.items() if key == "jobs" or one not in (None, "", {}, [])})


def _order_keys(value: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    ordered = [*(key for key in keys if key in value), *(key for key in value if key not in keys)]
    return {key: one for key in ordered if (one := _prune_empty(value[key])) not in (None, {}, [])}


def _prune_empty(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: one for key, part in value.items() if (one := _prune_empty(part)) not in (None, {}, [])}


def merge_workflow(old: Workflow, body: Mapping[str, Any], shown: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The body for `compose` with what the old file says and the body does not mention; a null in the body removes.

    `shown` is the view that the caller may have edited: where the body only repeats it, the old file's templates stay.
    """
    before = old.model_dump(exclude_unset=True)
    jobs = {job["name"]: job for job in before.pop("jobs")}
    seen = {job["name"]: job for job in (shown or {}).get("jobs", [])}
    merged = {**before, **body}
    # Forms send args as text, and none at all where they do not show them.
    args = {**(body.get("args") or before.get("args") or {})}
    merged["args"] = {key: _keep_typed(before.get("args", {}).get(key), one) for key, one in args.items()}
    merged["jobs"] = [
        _merge_job(jobs[job["name"]], job, seen.get(job["name"], {})) if job.get("name") in jobs else dict(job)
        for job in body.get("jobs", [])
    ]
    return merged


def _keep_typed(old: Any, new: Any) -> Any:
    return old if isinstance(old, bool | int | float) and str(old) == new else new


def _merge_job(old: Mapping[str, Any], new: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {**old}
    for key, value in new.items():
        before = old.get(key)
        if key in old and key in seen and _is_repeated(key, value, seen[key]):
            continue
        nested = key in ("resources", "environment") and isinstance(value, Mapping) and isinstance(before, Mapping)
        merged[key] = _merge_job(before, value, seen.get(key) or {}) if nested else value  # type: ignore[arg-type]
    if new.get("command"):
        merged.pop("script_path", None)
        merged.pop("script_vars", None)
    return merged


def _is_repeated(key: str, value: Any, shown: Any) -> bool:
    """Whether a form gives back what it was shown; forms join the words of a command by blanks and split them anew."""
    if key == "command" and isinstance(value, list) and isinstance(shown, list):
        return " ".join(map(str, value)).split() == " ".join(map(str, shown)).split()
    return bool(value == shown)

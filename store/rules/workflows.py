"""Workflows: parsed from a file, planned for a run, and shown.

A file is accepted whole or not at all; everything that is wrong with it comes back as one list, each problem with its
place. Templates stay as they are until `plan_workflow`, which renders values, never the text of the file.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from pydantic import ValidationError

from store.config import masks
from store.deadlines import check_deadline
from store.errors import Invalid, make_problem
from store.rendering.renderer import Renderer
from store.rules import fields, graphs
from store.rules.fields import refuse_python
from store.rules.matrix import MAX_CELLS, refuse_many_cells
from store.rules.shapes import (
    FLAT_KEYS,
    MAX_JOBS,
    MAX_PROBLEMS,
    RESOURCES,
    Job,
    Loc,
    Problem,
    Workflow,
    find_exclusive_problems,
    place_flat_keys,
    to_field_problems,
)
from store.yaml import reader

__all__ = [
    "Plan",
    "Workflow",
    "check_workflow",
    "parse_workflow",
    "pick_sample_args",
    "plan_workflow",
    "refuse_python",
    "to_json",
]

# Keys whose values keep their type; in all others a number stays as it is spelled in the file (`1.10`, `0644`).
TYPED_KEYS = frozenset({"resources", "retry", "retry_delay", "script_vars"})
SHOWN_RESOURCES = ("nodes", "gpus_per_node", "partition", "time_limit")
# sbatch's own defaults, where neither the job nor the configuration has a value.
SBATCH_DEFAULTS = {"nodes": 1, "gpus_per_node": 0, "ntasks_per_node": 1, "cpus_per_task": 1}


class Plan(TypedDict):
    """What a run is to do.

    `args` with their values, `jobs` in the order of the file, and `order`: the jobs' names in an order to submit them.
    """

    args: dict[str, Any]
    jobs: list[dict[str, Any]]
    order: list[str]


# ---- reading


def parse_workflow(data: bytes, *, stem: str | None = None) -> Workflow:
    """Parse the workflow in a YAML file.

    `stem` is the file's name without suffix, which is the workflow's name whatever the file says. Raises Invalid with
    everything that is wrong, each problem with loc, line and column, in the order of the file.
    """
    loaded = reader.load_yaml(data)
    value = loaded.value
    if not isinstance(value, dict):
        content = "the file is empty" if value is None else f"the file holds {fields.describe_kind(value)}"
        raise Invalid([make_problem(f"a workflow is a mapping with 'jobs'; {content}", line=1, column=1)])
    said = value.get("name")
    if stem is not None:
        value = {**value, "name": stem}
    tree, problems = _place_flat_keys(_keep_spelling(value, data, loaded))
    problems += _find_relation_problems(tree)
    try:
        workflow = Workflow.model_validate(tree)
    except ValidationError as error:
        raise Invalid(_locate_problems([*to_field_problems(error, tree), *problems], loaded)) from error
    if problems:
        raise Invalid(_locate_problems(problems, loaded))
    return workflow.keep_source(data, None if said in (None, workflow.name) else str(said)[:200])


def _locate_problems(problems: Iterable[Problem], loaded: reader.ParsedYaml) -> list[Problem]:
    """Add line and column to the problems; sort and limit them."""
    located = []
    for entry in problems:
        line, column = loaded.locate(entry["loc"], key=entry["type"] in ("extra_forbidden", "missing"))
        located.append({**entry, "line": line, "column": column})
    located.sort(key=lambda entry: (entry["line"], entry["column"]))
    if (left_out := len(located) - MAX_PROBLEMS) > 0:
        located[MAX_PROBLEMS:] = [{**located[MAX_PROBLEMS], "msg": f"… and {left_out} more problems", "loc": []}]
    return located


def _keep_spelling(value: dict[str, Any], data: bytes, loaded: reader.ParsedYaml) -> dict[str, Any]:
    """Replace numbers and truth values in jobs by the words in the file.

    `command: [chmod, 0644, file]` means 0644, and `VERSION: 1.10` means 1.10.
    """
    lines = reader.decode_text(data).splitlines()

    def keep_words(part: Any, loc: Loc) -> Any:
        if isinstance(part, dict):
            return {key: keep_words(item, (*loc, key)) for key, item in part.items()}
        if isinstance(part, list):
            return [keep_words(item, (*loc, index)) for index, item in enumerate(part)]
        if isinstance(part, bool | int | float) and not TYPED_KEYS.intersection(loc[2:3]):
            check_deadline()
            return _find_spelling(part, lines, loaded.locate(loc))
        return part

    return {**value, "jobs": keep_words(value["jobs"], ("jobs",))} if "jobs" in value else value


def _find_spelling(value: bool | float, lines: Sequence[str], place: tuple[int, int]) -> str:
    """Find the word that stands for the value at this place.

    An alias is followed to its anchor. Without such a word, the value's own text.
    """
    line, column = place
    text = lines[line - 1][column - 1 :] if line <= len(lines) else ""
    if alias := re.match(r"\*([^\s,\]}]+)", text):
        anchors = re.compile(rf"&{re.escape(alias[1])}\s+[\w.+-]+")
        text = next((match[0] for match in map(anchors.search, lines) if match), "")
    match = re.match(r"(?:&\S+\s+)?([\w.+-]+)", text)
    try:
        # If the word cannot be found, the value's own text is used.
        is_same = match is not None and reader.parse_scalar(match[1]) == value
    except ValueError:
        is_same = False
    return match[1] if match and is_same else str(value)


def _place_flat_keys(tree: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Put flat keys of jobs into their sections; return what contradicts."""
    if not isinstance(tree.get("jobs"), list):
        return tree, []
    jobs, problems = [], []
    for index, job in enumerate(tree["jobs"][:MAX_JOBS]):
        nested, refused = place_flat_keys(job) if isinstance(job, dict) else (job, [])
        jobs.append(nested)
        problems += [
            make_problem(f"'{key}' stands here and under {FLAT_KEYS[key]}: with another value", ("jobs", index, key))
            for key in refused
        ]
    return {**tree, "jobs": [*jobs, *tree["jobs"][MAX_JOBS:]]}, problems


def _find_relation_problems(tree: Mapping[str, Any]) -> list[Problem]:
    """Find problems between parts: within each job, among jobs, in the sweep.

    The fields themselves may be wrong as well.
    """
    problems = fields.find_python_problems(tree.get("args"), ("args",))
    jobs = tree.get("jobs")
    if isinstance(jobs, list):
        known_jobs = [job if isinstance(job, dict) else {} for job in jobs[:MAX_JOBS]]
        for index, job in enumerate(known_jobs):
            problems += find_exclusive_problems(job, ("jobs", index)) if job else []
        problems += graphs.find_graph_problems(known_jobs)
    sweep = tree.get("sweep")
    matrix = sweep.get("matrix") if isinstance(sweep, dict) else None
    if isinstance(matrix, dict):
        problems += fields.find_python_problems(matrix, ("sweep", "matrix"))
        try:
            refuse_many_cells(matrix, MAX_CELLS)
        except Invalid as error:
            problems += [{**entry, "loc": ["sweep", "matrix"]} for entry in error.problems]
    return problems


# ---- planning


def plan_workflow(
    workflow: Workflow,
    *,
    args_override: Mapping[str, Any] | None = None,
    from_job: str | None = None,
    to_job: str | None = None,
    single_job: str | None = None,
    cell: int = 0,
    defaults: Mapping[str, Any] | None = None,
    renderer: Renderer,
) -> Plan:
    """Plan a run: render every template, check every value once more.

    `cell` is the position in a sweep that templates know as `sweep.cell`, 0 for a run of its own. `defaults` are the
    configuration's resources, environment, log_dir and work_dir, used where a job says nothing. Raises Invalid for a
    selection that does not exist, for templates that cannot be rendered, and for what they give. Blocks while the
    renderer works (see Renderer).
    """
    chosen = _choose_jobs(workflow, from_job, to_job, single_job)
    override = dict(args_override or {})
    refuse_python(override, ("args_override",))
    if override.get("deps") is not None:
        raise Invalid(
            [make_problem("the name 'deps' is reserved for the exports of other jobs", ("args_override", "deps"))]
        )
    try:
        args = {**workflow.args, **override}
        ordered_args = _order_args(args, renderer)
        edges = {job.name: job.list_needs() for job in workflow.jobs}
        order = graphs.sort_by_needs(edges)
        position = {job.name: index for index, job in enumerate(workflow.jobs)}
        questions = [_build_question(workflow.jobs[position[name]], position[name], name in chosen) for name in order]
        # An arg of that name counts before it.
        own = [] if "sweep" in args else [("sweep", {"cell": cell})]
        answer = renderer.render_workflow([*own, *ordered_args], questions)
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
    rendered_args = {name: value for name, value in answer["args"].items() if name in args}
    return {"args": rendered_args, "jobs": jobs, "order": [name for name in order if name in chosen]}


def _choose_jobs(workflow: Workflow, from_job: str | None, to_job: str | None, single_job: str | None) -> set[str]:
    """Return the names of the selected jobs.

    `from_job` and `to_job` go by the order of the file.
    """
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
    """Sort the args so that each comes after those its templates use.

    Raises Invalid for args that need each other.
    """
    edges = {name: [arg for arg in used if arg in args] for name, used in renderer.find_names(args).items()}
    if circles := graphs.find_cycles(edges):
        problems = [
            make_problem(
                f"args refer to each other in a circle: {' -> '.join(cycle)}", ("args", cycle[0]), type="cycle"
            )
            for cycle in circles
        ]
        raise Invalid(problems)
    return [(name, args[name]) for name in graphs.sort_by_needs(edges)]


def _build_question(job: Job, index: int, chosen: bool) -> dict[str, Any]:
    """Build what the renderer is asked about a job.

    Of a job that does not run, only the exports matter.
    """
    body = job.model_dump(exclude_unset=True, exclude={"name", "depends_on", "exports"}) if chosen else None
    return {"name": job.name, "loc": ["jobs", index], "deps": job.list_needs(), "exports": job.exports, "body": body}


def _locate_in_file(problems: Iterable[Problem], workflow: Workflow, override: Mapping[str, Any]) -> list[Problem]:
    """Add line and column to the problems.

    An arg that the caller set is the caller's, not the file's.
    """
    return workflow.locate_problems(
        {**entry, "loc": ["args_override", *entry["loc"][1:]]}
        if entry["loc"][:1] == ["args"] and entry["loc"][1] in override
        else entry
        for entry in itertools.islice(problems, MAX_PROBLEMS)
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
    """Build the job as it will run.

    Problems of its rendered values are appended to `problems`.
    """
    check_deadline()
    depends_on = [] if single_job else [entry for entry in job.depends_on if entry.partition(":")[2] in chosen]
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
    """Fill in the configuration's values where the job says nothing.

    A script file keeps its own #SBATCH lines.
    """
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
    """Merge the job's environment with the configuration's.

    A job that names conda or venv gets neither from the configuration.
    """
    kept = dict(common)
    if own.get("conda") or own.get("venv"):
        kept = {key: value for key, value in kept.items() if key not in ("conda", "venv")}
    env_vars = {**(kept.get("env_vars") or {}), **(own.get("env_vars") or {})}
    return {**kept, **own, "env_vars": env_vars}


def _drop_nulls(section: Any) -> dict[str, Any]:
    """Drop keys without a value; None gives an empty mapping."""
    return {key: value for key, value in (section or {}).items() if value is not None}


def pick_sample_args(workflow: Workflow) -> dict[str, Any]:
    """Pick the first value of each axis of the file's own sweep.

    Axes that are also args are left out.
    """
    matrix = workflow.sweep.matrix if workflow.sweep else {}
    firsts = {
        axis: values if isinstance(values, list) else next(iter(values.values())) for axis, values in matrix.items()
    }
    return {axis: values[0] for axis, values in firsts.items() if axis not in workflow.args}


def check_workflow(
    data: bytes, *, stem: str | None = None, defaults: Mapping[str, Any] | None = None, renderer: Renderer
) -> tuple[Workflow, Plan]:
    """Check a file before it is saved; return its workflow and a plan.

    The plan uses the args in the file. Raises Invalid as `parse_workflow` and `plan_workflow` do, so that nothing is
    saved that could not run.
    """
    workflow = parse_workflow(data, stem=stem)
    return workflow, plan_workflow(
        workflow, args_override=pick_sample_args(workflow), defaults=defaults, renderer=renderer
    )


def find_complaints(text: str, renderer: Renderer) -> list[Problem]:
    """Find all that is wrong with a workflow's text."""
    if not text.strip():
        return [make_problem("Empty YAML content")]
    try:
        check_workflow(text.encode("utf-8", "surrogatepass"), renderer=renderer)
    except Invalid as error:
        return list(error.problems)
    return []


def parse_uploaded_name(filename: str) -> str:
    """Return the workflow's name from an uploaded file's name.

    Folders and suffix are dropped. Raises Invalid for a name that cannot be used.
    """
    stem, dot, ending = re.split(r"[/\\\\]", filename)[-1].rpartition(".")
    if not dot or ending.lower() not in ("yaml", "yml", "json"):
        raise Invalid([make_problem("Filename must end in .yaml, .yml or .json", ("body", "filename"), input=filename)])
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", stem):
        message = "Filename must be alphanumeric with hyphens/underscores only"
        raise Invalid([make_problem(message, ("body", "filename"), input=filename)])
    return stem


def to_sweep_request(workflow: Workflow) -> dict[str, Any] | None:
    """Convert the file's own sweep to what a request would say; or None."""
    return workflow.sweep.model_dump(exclude_none=True) if workflow.sweep else None


# ---- showing


def to_json(workflow: Workflow, planned: Plan | None = None) -> dict[str, Any]:
    """Build the workflow as answers show it.

    Rendered as in `planned`, or as it stands in the file without a plan. Values that come from the configuration are
    null, secrets are masked.
    """
    rendered = {job["name"]: job for job in planned["jobs"]} if planned else {}
    plain: dict[str, Any] = {
        "name": workflow.name,
        "jobs": [_to_job_json(job, rendered.get(job.name)) for job in workflow.jobs],
    }
    if workflow.args:
        plain["args"] = workflow.args
    if workflow.default_project:
        plain["default_project"] = workflow.default_project
    if workflow.description:
        plain["description"] = workflow.description
    if workflow.sweep:
        plain["sweep"] = to_sweep_request(workflow)
    return plain


def to_rendered_json(workflow: Workflow, renderer: Renderer) -> dict[str, Any]:
    """Build the workflow as answers show it, rendered where possible.

    Blocks while the renderer works.
    """
    try:
        return to_json(workflow, plan_workflow(workflow, args_override=pick_sample_args(workflow), renderer=renderer))
    except Invalid:
        # An arg without a value gets one with each run; until then the templates themselves are shown.
        return to_json(workflow)


def _to_job_json(job: Job, planned: Mapping[str, Any] | None) -> dict[str, Any]:
    own = _pick_own_values(job, planned)
    command = own.get("command") or []
    plain: dict[str, Any] = {
        "name": job.name,
        "job_id": None,
        "status": "UNKNOWN",
        "depends_on": [entry.removeprefix("afterok:") for entry in job.depends_on],
        "command": [command] if isinstance(command, str) else command,
        "resources": _to_resources_json(job, own.get("resources", {})),
        "exports": own.get("exports", {}),
        "environment": masks.mask_secrets(own.get("environment", {})),
        "work_dir": own.get("work_dir"),
        "log_dir": own.get("log_dir"),
        "retry": own.get("retry", 0),
        "retry_delay": own.get("retry_delay", 60),
        "srun_args": own.get("srun_args"),
    }
    return plain | {key: own[key] for key in ("template", "launch_prefix", "script_path", "script_vars") if key in own}


def _pick_own_values(job: Job, planned: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the file says about the job, with the plan's values."""
    own = job.model_dump(exclude_unset=True)
    return _pick_same_keys(own, planned) if planned else own


def _pick_same_keys(own: Any, full: Any) -> Any:
    """Return the values of `full` at the keys that `own` has."""
    if isinstance(own, dict) and isinstance(full, dict):
        return {key: _pick_same_keys(item, full.get(key)) for key, item in own.items()}
    return full


def _to_resources_json(job: Job, resources: Mapping[str, Any]) -> dict[str, Any]:
    if job.script_path and not resources:
        return {}
    always = {key: resources.get(key) for key in SHOWN_RESOURCES}
    return always | {key: resources[key] for key in RESOURCES if resources.get(key) is not None}

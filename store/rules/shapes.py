"""Models of a workflow file: its keys, their values, and messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationError,
    model_validator,
)

from store.errors import Invalid, make_problem
from store.rules import fields, matrix
from store.yaml import reader

MAX_JOBS = 1000
# More than a person reads. Near names are searched for each problem, so a limit bounds the time as well.
MAX_PROBLEMS = 100
RESOURCES = (
    "nodes",
    "gpus_per_node",
    "ntasks_per_node",
    "cpus_per_task",
    "memory_per_node",
    "time_limit",
    "nodelist",
    "partition",
)
# Keys that may also stand flat under a job, as in published examples of srunx, and the section that they belong to.
FLAT_KEYS = {
    **dict.fromkeys(RESOURCES, "resources"),
    **dict.fromkeys(("conda", "venv", "container", "env_vars"), "environment"),
}
# Words of the oldest examples of srunx for keys of today. Their `async` has no effect: a job starts when it can.
OLD_WORDS = {"tasks_per_node": "ntasks_per_node", "sqsh": "container"}
# Keys for scripts that Sluice writes itself; a script file has its own.
COMMAND_ONLY = ("environment", "template", "srun_args", "launch_prefix")
APPTAINER_ONLY = ("nv", "rocm", "cleanenv", "fakeroot", "writable_tmpfs", "overlay", "env")
# Keys that people write for ours, where the spelling alone does not suggest the right one.
SUGGESTIONS = {
    "outputs": "exports",
    "needs": "depends_on",
    "dependencies": "depends_on",
    "script": "script_path",
    "cmd": "command",
    "env": "environment.env_vars",
    "gpus": "resources.gpus_per_node",
    "cpus": "resources.cpus_per_task",
    "mem": "resources.memory_per_node",
    "memory": "resources.memory_per_node",
    "time": "resources.time_limit",
    "vars": "args",
    "variables": "args",
    "parameters": "args",
    "tasks": "jobs",
    "job_name": "name",
}
EXPECTED_KINDS = {"list_type": "a list", "dict_type": "a mapping"}

Loc = tuple[str | int, ...]
Problem = dict[str, Any]


class ClosedMapping(BaseModel):
    """A mapping that knows all its keys.

    A key without a value counts as absent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"must be a mapping, not {fields.describe_kind(value)}")
        return {key: item for key, item in value.items() if item is not None}


class Resources(ClosedMapping):
    """What a job requests from SLURM; None where the file says nothing."""

    nodes: fields.Positive | None = None
    gpus_per_node: fields.Count | None = None
    ntasks_per_node: fields.Positive | None = None
    cpus_per_task: fields.Positive | None = None
    memory_per_node: fields.Memory | None = None
    time_limit: fields.TimeLimit | None = None
    nodelist: fields.NodeList | None = None
    partition: fields.Partition | None = None


class Container(ClosedMapping):
    """The image that a job runs in."""

    runtime: Literal["pyxis", "apptainer", "singularity"] = "pyxis"
    image: fields.Argument
    mounts: list[fields.Mount] = []
    workdir: fields.Argument | None = None
    nv: fields.Flag = False
    rocm: fields.Flag = False
    cleanenv: fields.Flag = False
    fakeroot: fields.Flag = False
    writable_tmpfs: fields.Flag = False
    overlay: fields.Mount | None = None
    env: dict[fields.EnvKey, fields.Text] = {}

    @model_validator(mode="before")
    @classmethod
    def _accept_image_alone(cls, value: Any) -> Any:
        return {"image": value} if isinstance(value, str) else value


class Environment(ClosedMapping):
    """What is set up before a job's command starts."""

    conda: fields.Argument | None = None
    venv: fields.Argument | None = None
    container: Container | None = None
    env_vars: dict[fields.EnvKey, fields.Text] = {}


class Job(ClosedMapping):
    """One job of a workflow: its command or script file, and its dependencies."""

    name: fields.Name
    command: fields.Command | None = None
    script_path: fields.Word | None = Field(None, validation_alias=AliasChoices("script_path", "path"))
    script_vars: dict[fields.Identifier, fields.Scalar] = {}
    depends_on: fields.Dependencies = []
    exports: dict[fields.Identifier, fields.Text] = {}
    resources: Resources = Resources()
    environment: Environment = Environment()
    work_dir: fields.Folder | None = None
    log_dir: fields.Folder | None = None
    template: fields.TemplateName | None = None
    srun_args: fields.Line | None = None
    launch_prefix: fields.Line | None = None
    retry: fields.Count = 0
    retry_delay: fields.Count = 60

    def list_needs(self) -> list[str]:
        """List the jobs that this one depends on, each once."""
        return list(dict.fromkeys(entry.partition(":")[2] for entry in self.depends_on))


def _check_series(value: dict[str, Any]) -> dict[str, Any]:
    try:
        matrix.check_series(value, ())
    except Invalid as error:
        raise ValueError(error.problems[0]["msg"]) from None
    return value


# A list of values or a series, chosen by the value, so that a problem in a list names the item.
Axis = Annotated[
    Annotated[fields.Axis, Tag("list")] | Annotated[dict[str, Any], AfterValidator(_check_series), Tag("series")],
    Discriminator(lambda value: "series" if isinstance(value, dict) else "list"),
]


class Sweep(ClosedMapping):
    """The axes over which a workflow is repeated."""

    matrix: Annotated[dict[fields.ArgName, Axis], Field(min_length=1)]
    exclude: list[dict[fields.ArgName, fields.AxisValue]] = []
    fail_fast: fields.Truth = False
    max_parallel: fields.Whole = 4


class Workflow(ClosedMapping):
    """A workflow as its file says it, templates unrendered."""

    version: Literal[1] = 1
    name: fields.WorkflowName = "unnamed"
    description: fields.Remark = ""
    default_project: fields.Remark | None = None
    args: dict[fields.ArgName, Any] = {}
    jobs: Annotated[list[Job], Field(max_length=MAX_JOBS)]
    sweep: Sweep | None = None

    # The text is kept, not the tree of places: places are needed only when something is wrong.
    _source: bytes = PrivateAttr(default=b"")
    _other_name: str | None = PrivateAttr(default=None)

    def locate_problems(self, problems: Iterable[Problem]) -> list[Problem]:
        """Add line and column (1-based) in the file to the problems.

        They are None for what is not in the file.
        """
        problems = list(problems)
        if not self._source or not problems:
            return problems
        loaded = reader.load_yaml(self._source)
        return [
            {**entry, **dict(zip(("line", "column"), loaded.locate(entry["loc"]), strict=True))}
            if entry["loc"] and entry["loc"][0] in type(self).model_fields
            else entry
            for entry in problems
        ]

    def list_warnings(self) -> list[Problem]:
        """List what the file says that does not count."""
        if self._other_name is None:
            return []
        message = f"the file's name counts: this workflow is '{self.name}', not '{self._other_name[:128]}'"
        return self.locate_problems([make_problem(message, ("name",), type="name_differs", input=self._other_name)])

    def keep_source(self, data: bytes, other_name: str | None) -> Workflow:
        """Keep the file's text, so that problems can be located in it.

        `other_name` is what the file says instead of its own name.
        """
        self._source, self._other_name = data, other_name
        return self


def to_field_problems(error: ValidationError, tree: Any, prefix: Loc = ()) -> list[Problem]:
    """Translate pydantic's errors into problems with our messages.

    `prefix` is the place of `tree` in the file.
    """
    problems = []
    for detail in error.errors(include_url=False)[:MAX_PROBLEMS]:
        loc = _strip_branches(tree, detail["loc"], keep_last=detail["type"] == "missing")
        cause = detail.get("ctx", {}).get("error")
        if detail["type"] == "extra_forbidden":
            message = f"unknown key '{str(loc[-1])[:80]}'{suggest_key(str(loc[-1]), loc[:-1])}"
        elif detail["type"] == "missing":
            message = f"'{loc[-1]}' is missing"
        elif detail["type"] == "too_long":
            message = f"has more than {detail['ctx']['max_length']} items"
        elif detail["type"] in EXPECTED_KINDS:
            message = f"must be {EXPECTED_KINDS[detail['type']]}, not {fields.describe_kind(detail['input'])}"
        else:
            message = str(cause) if cause else detail["msg"]
        value = detail.get("input")
        short_value = (
            value if isinstance(value, bool | int | float) else value[:200] if isinstance(value, str) else None
        )
        problems.append(make_problem(message, (*prefix, *loc), type=detail["type"], input=short_value))
    return problems


def _strip_branches(tree: Any, loc: Loc, *, keep_last: bool) -> Loc:
    """Keep the parts of pydantic's loc that are keys of the tree.

    It also has names of branches of types.
    """
    kept: list[str | int] = []
    node = tree
    for index, part in enumerate(loc):
        if part == "script_path" and isinstance(node, dict) and "path" in node and "script_path" not in node:
            part = "path"
        if (isinstance(node, dict) and part in node) or (isinstance(node, list) and isinstance(part, int)):
            kept.append(part)
            node = node[part]  # type: ignore[index]
        elif keep_last and index == len(loc) - 1:
            kept.append(part)
    return tuple(kept)


def suggest_key(key: str, around: Loc) -> str:
    """Return `; did you mean …?` for an unknown key.

    Without a near match, the keys that are known at this place.
    """
    key = key[:128]
    holder = next((part for part in reversed(around) if isinstance(part, str)), "")
    shapes: dict[str, type[ClosedMapping]] = {
        "jobs": Job,
        "resources": Resources,
        "environment": Environment,
        "container": Container,
        "sweep": Sweep,
    }
    known = shapes.get(holder, Workflow).model_fields
    if holder == "jobs":
        for section, inner in (("resources", Resources), ("environment", Environment)):
            if near := difflib.get_close_matches(key, inner.model_fields, 1, 0.85):
                return f"; did you mean '{section}.{near[0]}'? It stands under {section}:"
    suggestion = SUGGESTIONS.get(key.lower(), "")
    suggested_key = suggestion.removeprefix(f"{holder}.")
    if suggested_key in known or (holder == "jobs" and suggestion):
        return f"; did you mean '{suggested_key}'?"
    near = difflib.get_close_matches(key, known, 1, 0.6)
    return f"; did you mean '{near[0]}'?" if near else f"; known keys here: {', '.join(known)}"


def place_flat_keys(job: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the job with flat keys in their sections, and those refused.

    Refused are keys that stand at both places with different values.
    """
    job = _replace_old_words(job)
    job = {key: _replace_old_words(item) if key in ("resources", "environment") else item for key, item in job.items()}
    if str(job.get("async")).lower() in fields.FLAGS:
        job = {key: item for key, item in job.items() if key != "async"}
    nested = {key: value for key, value in job.items() if key not in FLAT_KEYS or value is None}
    refused = []
    for key in [key for key in job if key not in nested]:
        section = nested.get(FLAT_KEYS[key])
        if section is not None and not isinstance(section, dict):
            nested[key] = job[key]  # what is wrong with the section is said elsewhere
        elif section and section.get(key) is not None and str(section[key]) != str(job[key]):
            refused.append(key)
        else:
            nested[FLAT_KEYS[key]] = {**(section or {}), key: job[key]}
    return nested, refused


def _replace_old_words(value: Any) -> Any:
    """Replace old keys of a mapping, where the new ones are not there."""
    if not isinstance(value, Mapping):
        return value
    return {key if OLD_WORDS.get(key) in value else OLD_WORDS.get(key, key): item for key, item in value.items()}


def find_exclusive_problems(job: Mapping[str, Any], loc: Loc) -> list[Problem]:
    """Find keys of a job that exclude each other."""
    problems = []
    has_script = job.get("script_path") is not None or job.get("path") is not None
    if has_script and job.get("command") is not None:
        problems.append(make_problem("a job has a 'command' or a 'script_path', not both", (*loc, "command")))
    if not has_script and job.get("command") is None:
        problems.append(make_problem("Job must have either 'command' or 'script_path'", loc, type="missing"))
    if has_script:
        problems += [
            make_problem(f"'{key}' goes with a 'command'; a script file says this itself", (*loc, key))
            for key in COMMAND_ONLY
            if job.get(key)
        ]
    elif job.get("script_vars"):
        problems.append(make_problem("'script_vars' goes with a 'script_path'", (*loc, "script_vars")))
    environment = job.get("environment")
    if isinstance(environment, dict):
        problems += _find_environment_problems(environment, (*loc, "environment"))
    return problems


def _find_environment_problems(environment: Mapping[str, Any], loc: Loc) -> list[Problem]:
    problems = []
    if environment.get("conda") is not None and environment.get("venv") is not None:
        problems.append(make_problem("Only one of conda or venv can be specified", (*loc, "venv")))
    container = environment.get("container")
    if isinstance(container, dict) and container.get("runtime", "pyxis") == "pyxis":
        problems += [
            make_problem(f"'{key}' is only for runtime apptainer or singularity, not pyxis", (*loc, "container", key))
            for key in APPTAINER_ONLY
            if container.get(key)
        ]
    return problems

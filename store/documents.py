"""The documents that the store keeps, as pydantic models.

And how they become bytes and come back. Files that people write (`Config`) take no unknown key and suggest the near
one. Files that the server writes (`Run`, `JobRecord`) keep keys that they do not know, so that nothing which somebody
added is lost with the next write. Every document says its `version`; a newer one than this program knows is refused and
left alone.
"""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from store.error_kinds import ErrorKind, find_error_kind
from store.errors import Invalid, make_problem
from store.rules import fields
from store.yaml import reader

VERSION = 1
Locator = Callable[..., tuple[int, int]]
Document = TypeVar("Document", bound=BaseModel)

# Words for a line of a batch script: what sbatch(1) takes there, and nothing that could start a second word.
PARTITION = r"^[A-Za-z0-9_][A-Za-z0-9_.,+-]*$"
NODELIST = r"^[A-Za-z0-9_][A-Za-z0-9_.,\[\]-]*$"
TIME = r"^([0-9]{1,6}(:[0-9]{1,2}){0,2}|[0-9]{1,4}-[0-9]{1,2}(:[0-9]{1,2}){0,2}|(?i:unlimited|infinite))$"
MEMORY = r"^[0-9]{1,9}(\.[0-9]{1,3})? ?[KMGTkmgt]?[Bb]?$"
HOST = r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$"
PATH = r"^[^\x00-\x1f\x7f]+$"
LINE = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
HOOK = r"^https://hooks\.slack\.com/services/\S+$"
VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def _to_word(value: Any) -> Any:
    """Return a bare number as the text that sbatch takes for it.

    Minutes or megabytes.
    """
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Word = Annotated[str, BeforeValidator(_to_word)]
OneLine = Annotated[str, Field(pattern=LINE, max_length=4096)]
Value = Annotated[Word, Field(pattern=r"^[^\x00]*$", max_length=32_768)]


class UserFileModel(BaseModel):
    """A part of a file that people write.

    Unknown keys are errors, and no value is converted to another type.
    """

    model_config = ConfigDict(extra="forbid", strict=True)


class ServerFileModel(BaseModel):
    """A part of a file that the server writes: unknown keys are kept."""

    model_config = ConfigDict(extra="allow")


# --- config.yaml -----------------------------------------------------------------------------------------------------


class Resources(UserFileModel):
    """What a job gets when its workflow does not say."""

    nodes: int = Field(default=1, ge=1, le=1_000_000)
    gpus_per_node: int = Field(default=0, ge=0, le=10_000)
    ntasks_per_node: int = Field(default=1, ge=1, le=1_000_000)
    cpus_per_task: int = Field(default=1, ge=1, le=1_000_000)
    memory_per_node: Annotated[Word, Field(pattern=MEMORY)] | None = None
    time_limit: Annotated[Word, Field(pattern=TIME)] | None = None
    nodelist: Annotated[str, Field(pattern=NODELIST, max_length=1000)] | None = None
    partition: Annotated[str, Field(pattern=PARTITION, max_length=200)] | None = None

    @field_validator("memory_per_node", "time_limit")
    @classmethod
    def check_syntax(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Return the text if a job's resources could say the same."""
        if value is not None:
            (fields.check_memory if info.field_name == "memory_per_node" else fields.check_time_limit)(value)
        return value


def _check_variables(value: dict[str, str]) -> dict[str, str]:
    """Return the variables. Raises ValueError for a name that is refused."""
    for name in value:
        try:
            fields.check_env_key(name)
        except ValueError as error:
            raise ValueError(f"'{name[:80]}': {error}") from None
    return value


class Container(UserFileModel):
    """A container to run in; a bare text stands for its image."""

    runtime: Literal["pyxis", "apptainer", "singularity"] = "pyxis"
    image: OneLine | None = None
    mounts: list[OneLine] = Field(default=[], max_length=200)
    workdir: OneLine | None = None
    nv: bool = False
    rocm: bool = False
    cleanenv: bool = False
    fakeroot: bool = False
    writable_tmpfs: bool = False
    overlay: OneLine | None = None
    env: dict[str, Value] = Field(default={}, max_length=200)

    @field_validator("env")
    @classmethod
    def check_names(cls, value: dict[str, str]) -> dict[str, str]:
        """Check that all variables have names that a job may set.

        A shell must take them, and they must not be SLURM's own.
        """
        return _check_variables(value)


def _from_image(value: Any) -> Any:
    return {"image": value} if isinstance(value, str) else value


class Environment(UserFileModel):
    """What is set up before a job's command."""

    conda: OneLine | None = None
    venv: OneLine | None = None
    container: Annotated[Container | None, BeforeValidator(_from_image)] = None
    env_vars: dict[str, Value] = Field(default={}, max_length=200)

    @field_validator("env_vars")
    @classmethod
    def check_names(cls, value: dict[str, str]) -> dict[str, str]:
        """Check that all variables have names that a job may set.

        A shell must take them, and they must not be SLURM's own.
        """
        return _check_variables(value)

    @model_validator(mode="after")
    def check_one_python(self) -> Self:
        """Refuse both conda and venv at once."""
        if self.conda and self.venv:
            raise ValueError("Only one of conda or venv can be specified")
        return self


class Notifications(UserFileModel):
    """Where notifications go by default, and which."""

    slack_webhook_url: Annotated[str, Field(pattern=HOOK, max_length=1000)] | None = None
    default_endpoint_name: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,80}$")] | None = None
    default_preset: Literal["terminal", "running_and_terminal", "all", "digest"] = "terminal"


class Cli(UserFileModel):
    """What the command line of srunx reads from the same file."""

    use_current_profile: bool = True


class Sync(UserFileModel):
    """How a mount is brought to its cluster before a run."""

    auto: bool = True
    lock_timeout_seconds: int = Field(default=120, ge=1, le=86_400)
    warn_dirty: bool = True
    require_clean: bool = False
    owner_check: bool = True
    verify_remote_hash: bool = False


class SrunxConfig(UserFileModel):
    """What every layer of the configuration may say.

    The layers are config.json, config.yaml and srunx.json (see store.config.layers).
    """

    resources: Resources = Resources()
    environment: Environment = Environment()
    notifications: Notifications = Notifications()
    cli: Cli = Cli()
    sync: Sync = Sync()
    log_dir: Annotated[str, Field(pattern=PATH, max_length=4000)] = "logs"
    work_dir: Annotated[str, Field(pattern=PATH, max_length=4000)] | None = None

    @model_validator(mode="before")
    @classmethod
    def drop_empty_sections(cls, value: Any) -> Any:
        """Drop sections that are present but empty.

        As when all their lines are commented out.
        """
        if not isinstance(value, dict):
            return value
        return {key: section for key, section in value.items() if section is not None or key == "work_dir"}


class PartitionConfig(UserFileModel):
    """A partition of the embedded cluster."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=64)]
    nodes: Annotated[str, Field(pattern=NODELIST, max_length=1000)] = "ALL"
    default: bool = False
    max_time: Annotated[Word, Field(pattern=TIME)] | None = None


class ClusterConfig(UserFileModel):
    """The size of the embedded cluster; what is left out is what this machine has."""

    nodes: int = Field(default=1, ge=1, le=1000)
    cpus: int | None = Field(default=None, ge=1, le=4096)
    memory_mb: int | None = Field(default=None, ge=1, le=100_000_000)
    gpus: int | None = Field(default=None, ge=0, le=64)
    execute: bool = True
    partitions: Annotated[list[PartitionConfig], Field(max_length=100)] = []


class PollConfig(UserFileModel):
    """How often SLURM is asked, in seconds."""

    min_s: float = Field(default=2.0, ge=1.0, le=3600, strict=False)
    max_s: float = Field(default=10.0, ge=1.0, le=3600, strict=False)

    @model_validator(mode="after")
    def check_order(self) -> Self:
        """Check that the bounds are a range."""
        if self.min_s > self.max_s:
            raise ValueError("min_s must not be above max_s")
        return self


class SweepsConfig(UserFileModel):
    """How large a sweep may be, and how fast its cells go to SLURM."""

    max_cells: int = Field(default=10_000, ge=1, le=1_000_000)
    per_second: float = Field(default=20.0, gt=0, le=1000, strict=False)
    in_flight: int = Field(default=4, ge=1, le=64)


class WebhooksConfig(UserFileModel):
    """Whether and where notifications are sent, and how long they are kept.

    `allow_hosts` are hosts outside of the public Internet.
    """

    deliver: bool = True
    allow_hosts: Annotated[list[Annotated[str, Field(pattern=HOST, max_length=260)]], Field(max_length=100)] = []
    keep_days: float = Field(default=30, ge=1, le=36_500, strict=False)
    keep_count: int = Field(default=10_000, ge=0, le=1_000_000)


class Retention(UserFileModel):
    """How long finished runs and sweeps stay out of the archive.

    None means for ever.
    """

    age_days: float | None = Field(default=None, gt=0, le=36_500, strict=False)
    count: int | None = Field(default=None, ge=1, le=10_000_000)


class Limits(UserFileModel):
    """Bounds on what callers may send and workflows may use."""

    body_bytes: int = Field(default=1_000_000, ge=1000, le=100_000_000)
    render_s: float = Field(default=2.0, gt=0, le=60, strict=False)
    render_mb: int = Field(default=256, ge=64, le=16_384)
    result_bytes: int = Field(default=65_536, ge=1024, le=10_000_000)


class Config(SrunxConfig):
    """config.yaml: defaults for jobs, embedded cluster, server's bounds."""

    version: int = VERSION
    cluster: ClusterConfig = ClusterConfig()
    poll: PollConfig = PollConfig()
    sweeps: SweepsConfig = SweepsConfig()
    retention: Retention = Retention()
    webhooks: WebhooksConfig = WebhooksConfig()
    limits: Limits = Limits()


# --- runs/ID.json ----------------------------------------------------------------------------------------------------

RunStatus = Literal["pending", "syncing", "submitting", "running", "completed", "failed", "cancelled"]


class Attempt(ServerFileModel):
    """One try of one job.

    `intended_at` is written before sbatch is called; `tag` finds the job again.
    """

    number: int
    tag: str
    job_id: str | None = None
    state: str | None = None
    reason: str | None = None
    exit_code: int | None = None
    intended_at: str | None = None
    submitted_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    error: str | None = None
    nodes: str | None = None
    partition: str | None = None
    cancel_sent_at: str | None = None
    tries: int = 0
    retry_at: float | None = None


class RunJob(ServerFileModel):
    """One job of a run with all its attempts and what it left behind."""

    name: str
    depends_on: list[str] = []
    script: str | None = None
    script_file: str | None = None
    options: dict[str, Any] = {}
    resources: dict[str, Any] = {}
    command: list[str] | str | None = None
    work_dir: str | None = None
    log_dir: str | None = None
    retry: int = 0
    retry_delay_s: int = 60
    not_before: float | None = None
    skipped: str | None = None
    attempts: list[Attempt] = []
    result: dict[str, Any] | None = None
    result_path: str | None = None
    result_error: str | None = None
    result_read: bool = False
    attempts_before: int = 0


class Run(ServerFileModel):
    """One workflow run or sweep cell; its jobs in topological order.

    Times are RFC 3339, `not_before` and `retry_at` epoch seconds. Attempts up to `attempts_before` took `ran_before_s`.
    """

    version: int = VERSION
    id: str
    workflow_name: str
    workflow_path: str | None = None
    mount: str | None = None
    args: dict[str, Any] = {}
    cluster: str = ""
    status: RunStatus = "syncing"
    syncs: bool = False
    work_dir: str | None = None
    started_at: str | None = None
    begun_at: str | None = None
    ran_before_s: float = 0.0
    completed_at: str | None = None
    cancel_requested_at: str | None = None
    error: str | None = None
    error_kind: ErrorKind | None = None
    sweep_run_id: int | None = None
    triggered_by: str | None = None
    request_key: str | None = None
    request_hash: str | None = None
    jobs: list[RunJob] = []

    @model_validator(mode="after")
    def fill_error_kind(self) -> Self:
        """Tell the kind by the error's words, where an older version wrote none."""
        if self.error_kind is None and self.error:
            self.error_kind = find_error_kind(self.error)
        return self


# --- sweeps/ID.json --------------------------------------------------------------------------------------------------


class Sweep(ServerFileModel):
    """One sweep: workflow text, matrix, and which cells still wait.

    The ids of its cells begin with `uid`; `waiting`, `again` (cells to run again whose runs are not marked yet) and
    `forgiven` (cells whose failure before that no longer counts) are texts like "3-17,20" (see store.rules.sweeps).
    Times are RFC 3339 in UTC.
    """

    version: int = VERSION
    id: str
    uid: str
    name: str
    workflow_name: str
    workflow_text: str
    workflow_path: str | None = None
    mount: str | None = None
    cluster: str = ""
    status: Literal["pending", "running", "draining", "completed", "failed", "cancelled"] = "pending"
    matrix: dict[str, list[Any]]
    exclude: list[dict[str, Any]] = []
    args: dict[str, Any] = {}
    part: dict[str, Any] = {}
    fail_fast: bool = False
    max_parallel: int = 4
    cell_count: int
    waiting: str = ""
    again: str = ""
    forgiven: str = ""
    submission_source: str = "web"
    started_at: str
    completed_at: str | None = None
    cancel_requested_at: str | None = None
    error: str | None = None
    request_key: str | None = None
    request_hash: str | None = None


# --- jobs/ID.json ----------------------------------------------------------------------------------------------------


class StateChange(ServerFileModel):
    """A state that a job was seen in, and since when."""

    at: str
    state: str
    reason: str | None = None


class ReportEvent(ServerFileModel):
    """A change that a job reported, or that SLURM showed.

    `id` grows over all jobs.
    """

    id: int
    status: str
    stage: str | None = None
    message: str | None = None
    created_at: str
    source: Literal["report", "slurm"] = "report"


class Report(ServerFileModel):
    """What a job has reported of itself.

    Times are as the job wrote them, except `heard_at`, when it was last heard. `placeholder` says that its submission
    was never reported; `slurm_state` how SLURM says that it ended.
    """

    job_id: str
    job_name: str
    status: str
    stage: str | None = None
    message: str | None = None
    cluster: str | None = None
    recipe: str | None = None
    submitted_at: str
    updated_at: str
    started_at: str | None = None
    completed_at: str | None = None
    exit_code: int | None = None
    logs_url: str | None = None
    benchmark_results: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    artifacts: dict[str, Any] | None = None
    slurm_state: str | None = None
    placeholder: bool = False
    heard_at: str
    events: list[ReportEvent] = []


class JobRecord(ServerFileModel):
    """One job submitted or reported through us, kept for ever.

    Also when SLURM has forgotten it. A report has a record named after its job id (see store.rules.reports); `job_id`
    is that of a job we submitted.
    """

    version: int = VERSION
    id: str
    cluster: str = ""
    name: str
    tag: str | None = None
    job_id: str | None = None
    script: str | None = None
    options: dict[str, Any] = {}
    work_dir: str | None = None
    source: str = ""
    user: str | None = None
    request_key: str | None = None
    request_hash: str | None = None
    intended_at: str | None = None
    submitted_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    state: str | None = None
    reason: str | None = None
    exit_code: int | None = None
    partition: str | None = None
    nodes: str | None = None
    node_count: int | None = None
    gpus: int | None = None
    stdout: str | None = None
    stderr: str | None = None
    error: str | None = None
    history: list[StateChange] = []
    report: Report | None = None


# --- bytes -----------------------------------------------------------------------------------------------------------


def to_json(document: BaseModel | dict[str, Any]) -> bytes:
    """Return the document as indented JSON with a newline at its end.

    Keys are in the order of the model.
    """
    plain = document.model_dump(mode="json") if isinstance(document, BaseModel) else document
    return orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def from_json(model: type[Document], data: bytes, name: str) -> Document:
    """Return the document in a JSON file called `name`. Raises Invalid.

    Invalid has places; it is also raised for a newer version or another id.
    """
    refuse_torn(data)
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    try:
        document = model.model_validate_json(data)
    except ValidationError as error:
        refuse_newer(_parse_json(data))
        raise Invalid(to_problems(error, _build_locator(data), model)) from error
    refuse_newer({"version": getattr(document, "version", VERSION)})
    inside = getattr(document, "id", name)
    if inside != name:
        message = f"the id inside is '{inside}', but the file is called '{name}'"
        places = _build_locator(data)
        line, column = places(("id",)) if places else (None, None)
        raise Invalid([make_problem(message, ["id"], type="name", line=line, column=column, input=inside)])
    return document


def refuse_torn(data: bytes) -> None:
    """Raise Invalid for what a crash or a full disk leaves behind.

    That is an empty or NUL-filled file.
    """
    if not data.strip():
        raise Invalid([make_problem("the file is empty", type="empty", line=1, column=1)])
    if not data.strip(b"\0"):
        message = "the file holds nothing but NUL bytes; a crash may have cut it off"
        raise Invalid([make_problem(message, type="torn", line=1, column=1)])


def refuse_newer(value: Any, where: Locator | None = None) -> None:
    """Raise Invalid when a newer program wrote the document."""
    version = value.get("version") if isinstance(value, dict) else None
    if isinstance(version, int) and version > VERSION:
        line, column = where(("version",)) if where else (None, None)
        message = f"the file has version {version}, this program knows up to {VERSION}"
        raise Invalid([make_problem(message, ["version"], type="version", line=line, column=column, input=version)])


def from_yaml(model: type[Document], data: bytes, name: str = "") -> Document:
    """Return the document in a YAML file. Raises Invalid.

    Invalid has line, column and near names. A file of nothing but comments gives the defaults.
    """
    refuse_torn(data)
    loaded = reader.load_yaml(data)
    value = {} if loaded.value is None else loaded.value
    refuse_newer(value, loaded.locate)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Invalid(to_problems(error, loaded.locate, model)) from error


def to_problems(
    error: ValidationError, where: Locator | None = None, model: type[BaseModel] | None = None
) -> list[dict[str, Any]]:
    """Turn pydantic's errors into problems with line and column.

    With the model, unknown keys get a suggestion.
    """
    found = []
    for detail in error.errors(include_url=False):
        loc, message = detail["loc"], detail["msg"].removeprefix("Value error, ")
        unknown = detail["type"] == "extra_forbidden"
        if unknown:
            message = f"unknown key '{loc[-1]}'" + suggest_word(
                str(loc[-1]), _list_keys(model, loc[:-1]) if model else ()
            )
        line, column = where(loc, key=unknown) if where else (None, None)
        if detail["type"] == "json_invalid" and (at := re.search(r"at line (\d+) column (\d+)$", message)):
            line, column = int(at[1]), int(at[2])
        if detail["type"] == "model_type":
            message = "a mapping of keys to values is needed here"
        given = detail.get("input")
        given = given if isinstance(given, str | int | float | bool | None) else None
        found.append(make_problem(message, loc, type=detail["type"], line=line, column=column, input=given))
    return sorted(found, key=lambda row: (row["line"] or 0, row["column"] or 0))


def suggest_word(word: str, known: Sequence[str]) -> str:
    """Return `; did you mean 'x'?` if a known word is near, else ""."""
    lower = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(word.lower().replace("-", "_"), list(lower), n=1, cutoff=0.6)
    return f"; did you mean '{lower[near[0]]}'?" if near else ""


def _list_keys(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """List the keys that the model knows at this place."""
    for part in loc:
        if isinstance(part, str):
            inner = find_model(model.model_fields[part].annotation) if part in model.model_fields else None
            if inner is None:
                return []
            model = inner
    return list(model.model_fields)


def find_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field of this type holds, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in typing.get_args(annotation) if (found := find_model(argument))), None)


def _parse_json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def _build_locator(data: bytes) -> Locator | None:
    """Return a function from places in a JSON text to line and column.

    JSON is YAML too. None when the text cannot be read.
    """
    try:
        return reader.load_yaml(data).locate
    except Invalid:
        return None

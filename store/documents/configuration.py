"""The models of config.yaml and of the other layers of the configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from store.documents.models import (
    ADDRESS,
    DOMAIN,
    HOOK,
    HOST,
    MEMORY,
    NODELIST,
    PARTITION,
    PATH,
    TIME,
    VERSION,
    KeycloakUrl,
    OneLine,
    Origin,
    ReportUrl,
    UserFileModel,
    Value,
    Word,
    require_form,
)
from store.rules import fields

Argument = Annotated[OneLine, AfterValidator(fields.check_argument)]
Mount = Annotated[OneLine, AfterValidator(fields.check_mount)]
Folder = Annotated[str, Field(min_length=1), AfterValidator(fields.check_folder)]
Sender = Annotated[str, require_form(ADDRESS, 320, "an address such as ann@example.org")]
Recipient = Annotated[
    str, require_form(f"{ADDRESS}|^{DOMAIN}$", 320, "an address such as ann@example.org, or a domain")
]


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
    image: Argument | None = None
    mounts: list[Mount] = Field(default=[], max_length=200)
    workdir: Argument | None = None
    nv: bool = False
    rocm: bool = False
    cleanenv: bool = False
    fakeroot: bool = False
    writable_tmpfs: bool = False
    overlay: Mount | None = None
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

    conda: Argument | None = None
    venv: Argument | None = None
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
    log_dir: Folder = "logs"
    work_dir: Folder | None = None

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
    """The size of the embedded cluster; by default that of this machine."""

    nodes: int = Field(default=1, ge=1, le=1000)
    cpus: int | None = Field(default=None, ge=1, le=4096)
    memory_mb: int | None = Field(default=None, ge=1, le=100_000_000)
    gpus: int | None = Field(default=None, ge=0, le=64)
    execute: bool = True
    partitions: Annotated[list[PartitionConfig], Field(max_length=100)] = []


class PollConfig(UserFileModel):
    """How often SLURM is asked, in seconds.

    `absence_s` is how long a job must be nowhere, neither in the queue nor in accounting, before it counts as lost.
    """

    min_s: float = Field(default=2.0, ge=1.0, le=3600, strict=False)
    max_s: float = Field(default=10.0, ge=1.0, le=3600, strict=False)
    absence_s: float = Field(default=60.0, ge=1.0, le=86_400, strict=False)

    @model_validator(mode="after")
    def check_order(self) -> Self:
        """Check that the bounds are a range."""
        if self.min_s > self.max_s:
            raise ValueError("min_s must not be above max_s")
        return self


class SweepsConfig(UserFileModel):
    """How large a sweep may be, and how fast its cells go to SLURM.

    `per_second`: None is 20, and no limit on the embedded cluster.
    """

    max_cells: int = Field(default=10_000, ge=1, le=1_000_000)
    per_second: float | None = Field(default=None, gt=0, le=1000, strict=False)
    in_flight: int = Field(default=16, ge=1, le=64)


class WebhooksConfig(UserFileModel):
    """Whether and where notifications are sent, and how long they are kept.

    `allow_hosts` are hosts outside of the public Internet.
    """

    deliver: bool = True
    allow_hosts: Annotated[list[Annotated[str, Field(pattern=HOST, max_length=260)]], Field(max_length=100)] = []
    keep_days: float = Field(default=30, ge=1, le=36_500, strict=False)
    keep_count: int = Field(default=10_000, ge=0, le=1_000_000)


class ExportsConfig(UserFileModel):
    """How many exports and reports there may be, how large, and for how long."""

    keep_hours: float = Field(default=24, ge=0.01, le=8760, strict=False)
    most_files: int = Field(default=1000, ge=1, le=100_000)
    most_files_per_caller: int = Field(default=100, ge=1, le=100_000)
    file_mb: int = Field(default=500, ge=1, le=1_000_000)
    caller_mb: int = Field(default=2000, ge=1, le=10_000_000)
    all_mb: int = Field(default=10_000, ge=1, le=100_000_000)


class SmtpConfig(UserFileModel):
    """The server that sends e-mail, and how it is reached.

    `tls` is from the first byte ("tls") or after the greeting ("starttls"). The password stands in a file or in an
    environment variable, never here.
    """

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+$", max_length=255)]
    port: int | None = Field(default=None, ge=1, le=65_535)
    tls: Literal["none", "starttls", "tls"] = "starttls"
    verify: bool = True
    user: OneLine | None = None
    password_file: Annotated[str, Field(pattern=PATH, max_length=4096)] | None = None
    password_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)] | None = None
    sender: Annotated[Sender, Field(alias="from")]
    # Addresses, and domains whose addresses count; none: anybody.
    recipients: list[Recipient] = Field(default=[])
    attachment_mb: int = Field(default=10, ge=0, le=100)

    @property
    def used_port(self) -> int:
        """The port to connect to: the usual one where none is named."""
        return self.port or {"none": 25, "starttls": 587, "tls": 465}[self.tls]

    @model_validator(mode="after")
    def check_password(self) -> Self:
        """Check that there is at most one password, and for somebody."""
        if self.password_file and self.password_env:
            raise ValueError("Only one of password_file and password_env can be specified")
        if (self.password_file or self.password_env) and not self.user:
            raise ValueError("user is missing, whose password this is")
        return self


class KeycloakConfig(UserFileModel):
    """The realm of Keycloak whose users may log in.

    A token counts that the realm has issued to the client `client_id`, that is for `audience` where one is named, and
    whose claim `access_claim` has the value `access_value`. `issuer` is what tokens name where it is not the realm's
    URL below `base_url`.
    """

    base_url: KeycloakUrl
    realm: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.~-]+$", max_length=200)]
    client_id: OneLine
    audience: OneLine | None = None
    issuer: OneLine | None = None
    access_claim: OneLine = "plgridAccessServices"
    access_value: OneLine = "PLG_YAPTIDE_ACCESS"


class YaptideConfig(UserFileModel):
    """The YAPTIDE API: its users, its pages, where its tasks reach us.

    `registration` is whether strangers may add users; None: only the server's own user may, over loopback. `origins`
    are those of pages that may use the API with its cookies. `max_open` counts simulations of one owner that have not
    ended, `direct_time` bounds each task on this machine, `input_bytes` is the size of what submits one, `results_mb`
    that of the merged results of one. None for `report_url` is the server's own URL for the embedded cluster, and no
    URL for others.
    """

    registration: bool | None = None
    origins: Annotated[list[Origin], Field(max_length=100)] = []
    keycloak: KeycloakConfig | None = None
    max_tasks: int = Field(default=1000, ge=1, le=100_000)
    max_open: int = Field(default=100, ge=1, le=100_000)
    direct_time: Annotated[Word, Field(pattern=TIME), AfterValidator(fields.check_time_limit)] | None = None
    input_bytes: int = Field(default=10_000_000, ge=1000, le=100_000_000)
    report_url: ReportUrl | None = None
    results_mb: int = Field(default=1000, ge=1, le=1_000_000)


class Threshold(UserFileModel):
    """Above which value an alert is a warning, and critical."""

    warning: float = Field(ge=0, le=1e9, strict=False)
    critical: float = Field(ge=0, le=1e9, strict=False)

    @model_validator(mode="after")
    def check_order(self) -> Self:
        """Check that critical is not below warning."""
        if self.warning > self.critical:
            raise ValueError("warning must not be above critical")
        return self


class AlertsConfig(UserFileModel):
    """When there are alerts, and how long resolved ones are kept.

    Nodes that take no work, and CPUs, memory or GPUs that are allocated, in percent; None is never.
    """

    interval_s: float = Field(default=15.0, ge=1.0, le=3600, strict=False)
    nodes_percent: Threshold | None = Threshold(warning=10, critical=25)
    pending_jobs: Threshold | None = Threshold(warning=100, critical=500)
    utilization_percent: Threshold | None = Threshold(warning=90, critical=95)
    keep_days: float = Field(default=30, ge=1, le=36_500, strict=False)
    keep_count: int = Field(default=1000, ge=0, le=100_000)


class MetricsConfig(UserFileModel):
    """What /metrics tells: also of each user, where that is wanted."""

    by_user: bool = False


class SamplesConfig(UserFileModel):
    """How often the cluster is sampled, and how long samples are kept.

    They are kept in memory too, some 40 bytes each.
    """

    interval_s: float = Field(default=60.0, ge=10.0, le=3600, strict=False)
    keep_days: float = Field(default=90, ge=1, le=3650, strict=False)


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
    # Of each token and each address; the server's own user is not counted.
    requests_per_s: float = Field(default=200.0, ge=0.1, le=100_000, strict=False)
    requests_at_once: int = Field(default=5000, ge=10, le=1_000_000)


class Config(SrunxConfig):
    """config.yaml: defaults for jobs, embedded cluster, server's bounds."""

    version: int = VERSION
    cluster: ClusterConfig = ClusterConfig()
    poll: PollConfig = PollConfig()
    sweeps: SweepsConfig = SweepsConfig()
    retention: Retention = Retention()
    samples: SamplesConfig = SamplesConfig()
    alerts: AlertsConfig = AlertsConfig()
    metrics: MetricsConfig = MetricsConfig()
    webhooks: WebhooksConfig = WebhooksConfig()
    limits: Limits = Limits()
    exports: ExportsConfig = ExportsConfig()
    smtp: SmtpConfig | None = None
    yaptide: YaptideConfig = YaptideConfig()

"""The documents of the store as pydantic models, one module per kind.

Files that people write (`Config`) take no unknown key and suggest the near one. Files that the server writes (`Run`,
`JobRecord`) keep keys that they do not know, so that nothing which somebody added is lost with the next write. Every
document says its `version`; a newer one than this program knows is refused and left alone.
"""

from store.documents.configuration import (
    Cli,
    ClusterConfig,
    Config,
    Container,
    Environment,
    ExportsConfig,
    Limits,
    Notifications,
    PartitionConfig,
    PollConfig,
    Resources,
    Retention,
    SmtpConfig,
    SrunxConfig,
    SweepsConfig,
    Sync,
    WebhooksConfig,
)
from store.documents.encoding import (
    find_model,
    from_json,
    from_yaml,
    refuse_newer,
    refuse_torn,
    to_json,
    to_problems,
)
from store.documents.holds import Hold
from store.documents.jobs import JobRecord, StateChange
from store.documents.models import (
    ADDRESS,
    HOOK,
    LINE,
    PATH,
    VARIABLE,
    VERSION,
    ServerFileModel,
    UserFileModel,
    require_form,
)
from store.documents.parts import Part
from store.documents.reports import Report, ReportEvent
from store.documents.runs import ERROR_WORDS, Attempt, ErrorKind, Refusal, Run, RunJob, RunStatus
from store.documents.simulations import (
    BatchOptions,
    EstimatorFacts,
    PageFacts,
    Simulation,
    SimulationState,
    SimulationTask,
    TaskState,
)
from store.documents.sweeps import Sweep

__all__ = [
    "ADDRESS",
    "ERROR_WORDS",
    "HOOK",
    "LINE",
    "PATH",
    "VARIABLE",
    "VERSION",
    "Attempt",
    "BatchOptions",
    "Cli",
    "ClusterConfig",
    "Config",
    "Container",
    "Environment",
    "ErrorKind",
    "EstimatorFacts",
    "ExportsConfig",
    "Hold",
    "JobRecord",
    "Limits",
    "Notifications",
    "PageFacts",
    "Part",
    "PartitionConfig",
    "PollConfig",
    "Refusal",
    "Report",
    "ReportEvent",
    "Resources",
    "Retention",
    "Run",
    "RunJob",
    "RunStatus",
    "ServerFileModel",
    "Simulation",
    "SimulationState",
    "SimulationTask",
    "SmtpConfig",
    "SrunxConfig",
    "StateChange",
    "Sweep",
    "SweepsConfig",
    "Sync",
    "TaskState",
    "UserFileModel",
    "WebhooksConfig",
    "find_model",
    "from_json",
    "from_yaml",
    "refuse_newer",
    "refuse_torn",
    "require_form",
    "to_json",
    "to_problems",
]

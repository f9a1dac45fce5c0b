"""The kinds of documents that the store keeps: one row each.

A new kind is a row here, and where the server itself moves it on, a row in engine/loop.py that says how.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from store.access.sessions import Session
from store.access.yaptide.users import parse_user
from store.disk.entries import FileEntry, Parse
from store.documents import Hold, JobRecord, Run, Simulation, Sweep, from_json
from store.indexes import jobs, simulations
from store.rendering import templates
from store.rules import deliveries, endpoints, runs, states, sweeps, syncs, watches
from store.rules.exports.files import ClusterReport, Export
from store.rules.jobs import records
from store.rules.monitoring.alerts import Alert
from store.rules.nodes import drains
from store.rules.nodes.drains import Drain
from store.rules.simulations import advance
from store.rules.simulations.simulators import parse_simulator
from store.yaml.reader import load_yaml

YAML = (".yaml", ".yml")
JSON = (".json",)

Document = TypeVar("Document", bound=BaseModel)


class Key(NamedTuple):
    """The key of a document, or of another thing with a kind and an id.

    Locks are held and tasks are run for a key.
    """

    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}".rstrip()


class OpenDocument(NamedTuple):
    """What the server needs to know of a document that is still open.

    An open document may change without a request. `cluster` is the name of the cluster that it waits for, None where it
    waits for none; `job_ids` are those of its jobs that have not ended.
    """

    cluster: str | None
    job_ids: Sequence[str] = ()


@dataclass(frozen=True)
class Kind:
    """One kind of document.

    `facts` makes what indexes keep of a document; documents of kinds with facts are kept as packed bytes, the others
    stay parsed, and only the former have a checkpoint, from which `restore_facts` takes them. `find_open(entry)` gives
    what the server follows of a document that is open, None of any other. `find_due_time(document, now)` says when
    (epoch seconds) an open document is to be looked at again although nothing of it changes, None for never.
    `is_archived` kinds move into the archive when they are old.
    """

    name: str
    folder: str
    label: str
    parse: Parse
    suffixes: tuple[str, ...] = JSON
    ending: str = ""
    facts: Callable[[Any], Any] | None = None
    restore_facts: Callable[[list[Any]], Any] = jobs.restore_facts
    is_archived: bool = False
    find_open: Callable[[FileEntry], OpenDocument | None] | None = None
    find_due_time: Callable[[Any, float], float | None] = lambda _document, _now: None


def make_json_parser(model: type[Document]) -> Callable[[bytes, str], Document]:
    """Make the function that reads a file that the server wrote."""
    return lambda data, name: from_json(model, data, name)


def parse_yaml(data: bytes, _name: str) -> Any:
    """Parse a file that a person wrote into plain values."""
    return load_yaml(data).value


def keep_bytes(data: bytes, _name: str) -> bytes:
    """Take the bytes for the document."""
    return data


def find_open_run(entry: FileEntry) -> OpenDocument | None:
    """Find what is followed of a run."""
    if not entry.facts.open:
        return None
    run: Run = entry.document
    lasts = [job.attempts[-1] for job in run.jobs if job.attempts]
    ids = [attempt.job_id for attempt in lasts if attempt.job_id and attempt.state not in states.TERMINAL]
    return OpenDocument(run.cluster, ids)


def find_open_record(entry: FileEntry) -> OpenDocument | None:
    """Find what is followed of a single job."""
    if not entry.facts.open:
        return None
    return OpenDocument(entry.facts.cluster, [job.job_id for job in entry.facts.jobs])


def find_open_sweep(entry: FileEntry) -> OpenDocument | None:
    """Find what is followed of a sweep: its cells are followed as runs."""
    sweep: Sweep = entry.document
    return None if sweep.status in sweeps.ENDED else OpenDocument(sweep.cluster)


def find_open_sync(entry: FileEntry) -> OpenDocument | None:
    """Find what is followed of a sync: it makes its own connection."""
    return None if entry.document.state in syncs.ENDED else OpenDocument(None)


def find_open_file(entry: FileEntry) -> OpenDocument | None:
    """Find what is followed of an export or a report that is being made."""
    return OpenDocument(None) if entry.document.status == "processing" else None


def find_open_drain(entry: FileEntry) -> OpenDocument | None:
    """Find what is followed of a drain that is to end by itself."""
    return None if entry.document.outcome is not None else OpenDocument(entry.document.cluster)


def find_open_simulation(entry: FileEntry) -> OpenDocument | None:
    """Find what is followed of a simulation: its jobs are those of its run."""
    return OpenDocument(None) if entry.facts.open else None


KINDS = (
    Kind("workflow", "workflows", "Workflow", parse_yaml, (*YAML, *JSON)),
    Kind("template", "templates", "Template", templates.parse_template, (), ending=".sh"),
    # Only so that a dropped file is seen at once; what is in it is store.rules.inbox's business.
    Kind("request", "inbox", "Request", keep_bytes, (*YAML, *JSON)),
    Kind(
        "run",
        "runs",
        "Run",
        make_json_parser(Run),
        facts=jobs.build_facts,
        is_archived=True,
        find_open=find_open_run,
        find_due_time=runs.find_due_time,
    ),
    Kind(
        "sweep",
        "sweeps",
        "Sweep run",
        make_json_parser(Sweep),
        is_archived=True,
        find_open=find_open_sweep,
    ),
    Kind(
        "job",
        "jobs",
        "Job",
        make_json_parser(JobRecord),
        facts=jobs.build_facts,
        find_open=find_open_record,
        find_due_time=records.find_record_due_time,
    ),
    Kind("simulator", "simulators", "Simulator", parse_simulator, YAML),
    Kind(
        "simulation",
        "simulations",
        "Simulation",
        make_json_parser(Simulation),
        facts=simulations.build_facts,
        restore_facts=simulations.restore_facts,
        find_open=find_open_simulation,
        find_due_time=advance.find_due_time,
    ),
    Kind("sync", "syncs", "Sync", make_json_parser(syncs.Sync), find_open=find_open_sync),
    Kind("endpoint", "endpoints", "Endpoint", endpoints.parse_endpoint, YAML),
    Kind("watch", "watches", "Watch", watches.parse_watch),
    Kind("delivery", "deliveries", "Delivery", deliveries.parse_delivery),
    Kind("alert", "alerts", "Alert", make_json_parser(Alert)),
    Kind(
        "drain",
        "drains",
        "Drain",
        make_json_parser(Drain),
        find_open=find_open_drain,
        find_due_time=drains.find_due_time,
    ),
    Kind("export", "exports", "Export", make_json_parser(Export), find_open=find_open_file),
    Kind("cluster_report", "reports", "Report", make_json_parser(ClusterReport), find_open=find_open_file),
    Kind("hold", "holds", "Hold", make_json_parser(Hold)),
    Kind("session", "sessions", "Session", make_json_parser(Session)),
    Kind("user", "users", "User", parse_user),
)

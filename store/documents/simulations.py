"""The model of simulations/ID.json: particles tracked in many tasks.

Beside it `simulations/ID/` has `input/` (the files as they were sent, and what an editor's project was converted to),
`results/NAME.json` (one estimator each) and `logs/`.
"""

from __future__ import annotations

from typing import Literal

from store.documents.models import VERSION, ServerFileModel

TaskState = Literal["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELED"]
SimulationState = Literal[
    "UNKNOWN", "PENDING", "RUNNING", "MERGING_QUEUED", "MERGING_RUNNING", "COMPLETED", "FAILED", "CANCELED"
]
Platform = Literal["DIRECT", "BATCH"]
InputType = Literal["EDITOR", "FILES"]


class SimulationTask(ServerFileModel):
    """One task: a share of the primaries, with a seed of its own.

    `reason` says why it failed; `estimated_s` is how long it will still take. `requested_primaries` is 0 where the
    input does not say how many there are.
    """

    task_id: int
    seed: int
    state: TaskState = "PENDING"
    requested_primaries: int = 0
    simulated_primaries: int = 0
    estimated_s: int | None = None
    started_at: str | None = None
    ended_at: str | None = None
    updated_at: str | None = None
    exit_code: int | None = None
    reason: str | None = None


class PageFacts(ServerFileModel):
    """What is known of a page of results without reading it."""

    page_number: int
    page_name: str = ""
    page_dimension: int = 0


class EstimatorFacts(ServerFileModel):
    """What is known of an estimator without reading its results.

    They are in `results/FILE`.
    """

    name: str
    file: str
    pages: list[PageFacts] = []


class BatchOptions(ServerFileModel):
    """What SLURM is asked for: options by their long names, and lines.

    True stands for an option without a value. The lines load modules.
    """

    array: dict[str, str | Literal[True]] = {}
    collect: dict[str, str | Literal[True]] = {}
    array_lines: list[str] = []
    collect_lines: list[str] = []


class Simulation(ServerFileModel):
    """One simulation, which is one run of an array of tasks and a merge.

    `is_begun` is whether its run was created, `results` whether they are here: None until that is known. The state is
    the last one when nothing changes it any more, but the server is only done with it at `settled_at`. `left_out` says
    which tasks the merge could not use, and why. `options` are those of the batch platform. Times are RFC 3339 in UTC.
    """

    version: int = VERSION
    id: str
    owner: str
    title: str = ""
    platform: Platform
    cluster: str = ""
    sim_type: str
    input_type: InputType
    state: SimulationState = "PENDING"
    requested_primaries: int | None = None
    tasks: list[SimulationTask] = []
    outputs: list[str] = []
    options: BatchOptions = BatchOptions()
    run_id: str
    is_begun: bool = False
    created_at: str
    started_at: str | None = None
    ended_at: str | None = None
    settled_at: str | None = None
    cancel_requested_at: str | None = None
    merging_at: str | None = None
    results: Literal["there", "missing"] | None = None
    estimators: list[EstimatorFacts] = []
    left_out: dict[int, str] = {}
    is_partial: bool = False
    error: str | None = None
    request_key: str | None = None
    request_hash: str | None = None

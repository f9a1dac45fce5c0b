"""Indexes and open documents follow the folders of the store.

Everything is connected before the folders are loaded, so that each document passes through here.
"""

from __future__ import annotations

import logging

from engine.open_documents import OpenDocuments
from store.disk.entries import FileEntry
from store.disk.kept.kept_files import LoadedFiles
from store.indexes.jobs import JobIndex
from store.indexes.simulations import SimulationIndex
from store.indexes.sweeps import SweepIndex
from store.kinds import KINDS, Key
from store.rules import runs, sweeps
from store.rules.simulations import states
from store.store import Store

log = logging.getLogger("sluice")


def follow_folders(
    store: Store,
    opened: OpenDocuments,
    job_index: JobIndex,
    sweep_index: SweepIndex,
    simulation_index: SimulationIndex,
) -> None:
    """Make indexes and open documents follow the folders of the store."""

    def follow_sweep(_name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        sweep_index.follow_sweep(old.document if old else None, new.document if new else None)

    def follow_simulation(name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        simulation_index.follow(name, old.facts if old else None, new.facts if new else None)

    def follow_run(name: str, _old: FileEntry | None, _new: FileEntry | None) -> None:
        simulation_id = simulation_index.find_by_run(name)
        if simulation_id is not None:
            opened.mark(Key("simulation", simulation_id))

    def load_runs(loaded: LoadedFiles) -> None:
        for name in loaded.names:
            follow_run(name, None, None)

    def load_jobs(loaded: LoadedFiles) -> None:
        # At the start these are 100,000, and no document is parsed that has ended.
        job_index.load(loaded)
        columns = map(loaded.get_column, ("sweep", "status", "open"))
        for name, number, status, is_open in zip(loaded.names, *columns, strict=True):
            if number is not None:
                follow_cell(name, number, sweeps.to_cell_state(status, is_open))

    def follow_jobs(name: str, old: FileEntry | None, new: FileEntry | None) -> None:
        job_index.follow(old, new)
        numbers = [entry.facts.sweep for entry in (new, old) if entry is not None and entry.facts.sweep is not None]
        if numbers:
            follow_cell(name, numbers[0], sweeps.to_cell_state(new.facts.status, new.facts.open) if new else None)

    def follow_cell(name: str, number: int, state: str | None) -> None:
        if sweep_index.follow_run(name, state, number):
            # The place of a cell that has ended is free for the next one.
            opened.mark(Key("sweep", str(number)))

    store.sweeps.listeners.append(follow_sweep)
    for folder in (store.runs, store.jobs):
        folder.add_listener(follow_jobs, load_jobs)
    store.jobs.when_loaded.append(job_index.sort)
    store.simulations.listeners.append(follow_simulation)
    store.runs.add_listener(follow_run, load_runs)
    for kind in KINDS:
        if kind.find_open is not None:
            opened.follow_folder(store.by_kind[kind.name], kind)


def report_documents(store: Store) -> None:
    """Report in the log which runs, sweeps and simulations start and end."""
    store.runs.listeners.append(report_run)
    store.sweeps.listeners.append(report_sweep)
    store.simulations.listeners.append(report_simulation)


def report_run(name: str, old: FileEntry | None, new: FileEntry | None) -> None:
    """Report in the log that a run starts or ends.

    Cells only at debug, since a sweep may have thousands; one that failed is always told.
    """
    if new is None or (old is not None and old.facts.status == new.facts.status):
        return
    status, level = new.facts.status, logging.INFO if new.facts.sweep is None else logging.DEBUG
    label = f"run {name} of workflow {new.facts.group}"
    if status == "failed":
        # The error begins with what failed and ends with its log, whose end may be what srun says of any.
        what, *said = (new.document.error or "").splitlines() or [""]
        own = [line for line in said if not line.startswith("srun: error: ")] or said
        log.warning("%s failed: %s", label, "; ".join([what, *own[-1:]]))
    elif status in runs.ENDED:
        log.log(level, "%s is %s", label, status)
    elif old is None or old.facts.status in runs.ENDED:
        log.log(level, "%s started", label)


def report_sweep(name: str, old: FileEntry | None, new: FileEntry | None) -> None:
    """Report in the log that a sweep starts or ends."""
    if new is None or (old is not None and old.document.status == new.document.status):
        return
    sweep, was_over = new.document, old is not None and old.document.status in sweeps.ENDED
    label = f"sweep {name} of workflow {sweep.name}"
    if sweep.status in sweeps.ENDED:
        log.log(logging.WARNING if sweep.status == "failed" else logging.INFO, "%s is %s", label, sweep.status)
    elif old is None or was_over:
        log.info("%s started: %d cells", label, sweep.cell_count)


def report_simulation(name: str, old: FileEntry | None, new: FileEntry | None) -> None:
    """Report in the log that a simulation starts or ends."""
    if new is None or (old is not None and old.facts.state == new.facts.state):
        return
    state, label = new.facts.state, f"simulation {name} of {new.facts.sim_type}"
    if state == "FAILED":
        log.warning("%s failed: %s", label, new.document.error or "it says no reason")
    elif state in states.ENDED:
        log.info("%s is %s", label, state)
    elif old is None:
        log.info("%s started: %d tasks", label, len(new.document.tasks))

"""The store: one folder with everything that Sluice remembers.

It is open in one server at a time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from store import access
from store.collecting import pause_collecting
from store.config import config_file, profiles
from store.config.configuration import SYSTEM, Configuration
from store.disk import archive, owners
from store.disk.entries import FileEntry, FindWarnings, Parse, Summary
from store.disk.files import FOLDER_MODE, Files
from store.disk.folders import Folder, ProblemListener
from store.disk.intents import Intents
from store.disk.kept.checkpoint import Checkpoint
from store.disk.locks import LOCK_NAME, WAIT_S, Lock, acquire_lock
from store.disk.reading import read_file
from store.disk.watch import StartTask, Watch
from store.documents import Config
from store.errors import StoreError, StoreUnavailable, from_os_error
from store.indexes.bodies import Body, ListBody
from store.jsons import dump_json
from store.kinds import KINDS, Kind
from store.outside_files import mount_calls
from store.times import to_rfc3339
from store.yaml.reader import start_remembering, stop_remembering

__all__ = ["Body", "FileEntry", "Folder", "ListBody", "Store"]

log = logging.getLogger("sluice.store")

EXAMPLES = Path(__file__).parent / "examples"
# Folders that are made but not watched: append-only records, the runs' work directories, the embedded cluster's state.
UNWATCHED = ("audit", "intents", "work", "cluster", "streams", "samples")
ARCHIVED = [kind.name for kind in KINDS if kind.is_archived]
SIMULATORS = "simulators"
YAML_MEMORY = ".cache/yaml"
CHECKPOINTS = ".cache"
MEMORY_BYTES = 256_000_000
# At the end, rows are saved to a checkpoint from this many documents on.
SAVE_FROM_ROWS = 200


class Problems(NamedTuple):
    """What is wrong with files, in which state of the store.

    `hangs` are since when the mounts with these `roots` do not answer, `wrong` is how many files are.
    """

    state: tuple[Any, ...]
    roots: list[Path]
    hangs: list[float | None]
    rows: list[dict[str, Any]]
    wrong: int
    body: bytes


class Store:
    """Everything under one root.

    Use: `open()`, then `await start()`, in the end `await close()`. There is a folder for each row of store/kinds.py.
    `parsers`, `summaries` and `warnings` say by folder name what a file means, what of it goes into lists, and what is
    doubtful about it: the formats that
    people write are defined elsewhere. `poll` compares files again and again in place of the kernel's reports.
    """

    workflows: Folder
    templates: Folder
    inbox: Folder
    runs: Folder
    sweeps: Folder
    jobs: Folder
    simulators: Folder
    simulations: Folder
    syncs: Folder
    endpoints: Folder
    watches: Folder
    deliveries: Folder
    alerts: Folder
    drains: Folder
    exports: Folder
    reports: Folder
    holds: Folder
    sessions: Folder
    users: Folder

    def __init__(
        self,
        root: Path | str,
        *,
        parsers: Mapping[str, Parse] | None = None,
        summaries: Mapping[str, Summary] | None = None,
        warnings: Mapping[str, FindWarnings] | None = None,
        poll: bool | None = None,
        ops: Any = os,
        environment: Mapping[str, str] | None = None,
        system: Path = SYSTEM,
    ) -> None:
        self.root = Path(root).absolute()
        self.environment = dict(os.environ if environment is None else environment)
        # In which version, by which environment, and what is in force by both.
        self._profiles: tuple[Any, Any, profiles.Profiles] = None, None, NO_PROFILES
        self._singles: dict[str, tuple[int | None, Any]] = {}  # in which version, and what it says
        self._problems: Problems | None = None
        self.files = Files(self.root, ops)
        self.poll = os.environ.get("SLUICE_WATCH") == "poll" if poll is None else poll
        self.since = to_rfc3339(int(time.time()))
        self.lock: Lock | None = None
        self.was_lost = False
        self.watch: Watch | None = None
        self.signals: dict[Path, Callable[[], None]] = {}  # what to call when a folder changes; filled before start()
        given, rows = dict(parsers or {}), dict(summaries or {})
        self.folders: list[Folder] = []
        for kind in KINDS:
            made = Folder(
                self.root / kind.folder,
                kind.label,
                self.files,
                given.pop(kind.folder, kind.parse),
                suffixes=kind.suffixes,
                ending=kind.ending,
                summary=rows.pop(kind.folder, None),
                find_warnings=(warnings or {}).get(kind.folder),
                facts=kind.facts,
                keep=not kind.facts,
            )
            self.folders.append(made)
            setattr(self, kind.folder, made)
        self.by_kind = {kind.name: folder for kind, folder in zip(KINDS, self.folders, strict=True)}
        self.single = {
            name: Folder(self.root, "file", self.files, parse, only=(f"{name}.yaml",))
            for name, parse in (
                ("config", config_file.parse_config),
                ("access", access.parse_access),
                ("profiles", lambda data, name: profiles.parse_profiles(data, name, self.root)),
            )
        }
        self.configuration = Configuration(self.files, self.single["config"], self.environment, system, Path.cwd())
        if given or rows:
            raise ValueError(f"no such folder: {', '.join([*given, *rows])}")
        self.folders += self.single.values()
        self.problem_listeners: list[ProblemListener] = []
        self.noted_problems: dict[str, dict[str, Any]] = {}  # by path
        self.archive = archive.Archive(self.join_path("archive"), self.files, *map(self.by_kind.__getitem__, ARCHIVED))
        self.intents = Intents(self.jobs, self.join_path("intents"), self.files)
        self.checkpoints = {kind.folder: self._make_checkpoint(kind) for kind in KINDS if kind.facts}

    def _make_checkpoint(self, kind: Kind) -> Checkpoint:
        """Make the checkpoint of a kind whose facts are kept."""
        folder, place = self.by_kind[kind.name], self.join_path(CHECKPOINTS, kind.folder)
        return Checkpoint(folder, place, self.files, kind.restore_facts, lambda facts: not facts.open)

    # Reading.

    @property
    def config(self) -> Config:
        """config.yaml as far as it concerns the server itself, or the defaults.

        For jobs all layers count (`configuration`).
        """
        config: Config = self._get_single("config", DEFAULTS)
        return config

    @property
    def access(self) -> access.Access:
        """Who may call: access.yaml, or no tokens when there is none."""
        found: access.Access = self._get_single("access", NOBODY)
        return found

    def _get_single(self, name: str, default: Any) -> Any:
        """Get what the one file says, or the default; each request asks."""
        folder = self.single[name]
        version, found = self._singles.get(name, (None, default))
        if version != folder.version:
            found = folder.get(name) if name in folder else default
            self._singles[name] = folder.version, found
        return found

    @property
    def stored_profiles(self) -> profiles.Profiles:
        """Clusters and mounts as profiles.yaml has them.

        The environment does not count here.
        """
        found: profiles.Profiles = self._get_single("profiles", NO_PROFILES)
        return found

    @property
    def profiles(self) -> profiles.Profiles:
        """Clusters and mounts in force; `current` may be set by the environment."""
        version, environment = self.single["profiles"].version, self.environment
        if self._profiles[0] != version or self._profiles[1] is not environment:
            found = profiles.apply_environment(self.stored_profiles, environment)[0]
            self._profiles = version, environment, found
        return self._profiles[2]

    def list_mount_roots(self) -> list[Path]:
        """List the local folders of the mounts of all profiles."""
        return [mount.root for profile in self.profiles.profiles.values() for mount in profile.mounts]

    def list_problems(self) -> list[dict[str, Any]]:
        """List what is wrong with files: path, line, column, reason …

        Paths are below the store, except those of mounts.
        """
        return self._gather_problems().rows

    def get_problems_body(self) -> bytes:
        """Return what `list_problems` lists, as JSON."""
        return self._gather_problems().body

    def _gather_problems(self) -> Problems:
        """Return what is wrong, gathered anew only once something has changed."""
        known, folders = self._problems, [*self.folders, *self.configuration.list_outside()]
        state = (
            sum(map(attrgetter("version"), folders)),  # each of them only grows
            len(folders),
            self.archive.list_problems(),
            self.noted_problems,
            self.environment,
        )
        if known is None or known.state != state or known.hangs != list(map(mount_calls.find_hang, known.roots)):
            archived, outside = self.archive.list_problems(), self._list_outside_problems()
            found = [row for folder in self.folders for row in folder.list_problems()]
            found += [*archived, *outside, *self.noted_problems.values()]
            found = [{"severity": "error", "mount": None, **row} for row in found]
            found.sort(key=lambda row: (row["path"], row["line"] or 0, row["column"] or 0))
            wrong = sum(len(filenames) for folder in self.folders for filenames in folder.wrong_files.values())
            count = wrong + len(archived) + len(outside) + len(self.noted_problems)
            roots = [mount.root for mount in self.profiles.get_mounts().values()]
            hangs = list(map(mount_calls.find_hang, roots))
            known = self._problems = Problems(state, roots, hangs, found, count, dump_json(found))
        return known

    def note_problems(self, folder: str, reasons: Mapping[str, str]) -> None:
        """Note what is wrong with files of a folder beside what they say.

        `reasons` by path. What is not named any more is mended.
        """
        noted, now = self.noted_problems, to_rfc3339(int(time.time()))
        before = {path: row for path, row in noted.items() if path.startswith(f"{folder}/")}
        self.noted_problems = {path: row for path, row in noted.items() if path not in before} | {
            path: before.get(path) or {"path": path, "line": None, "column": None, "reason": reason, "since": now}
            for path, reason in reasons.items()
        }
        for path in before.keys() ^ reasons.keys():
            if path in reasons:
                log.warning("%s: %s", path, reasons[path])
            for listener in self.problem_listeners:
                listener(path, [self.noted_problems[path]] if path in reasons else [])

    def _list_outside_problems(self) -> list[dict[str, Any]]:
        """List what is wrong in config files outside of the store.

        And in what the environment selects.
        """
        found, wrong = profiles.apply_environment(self.stored_profiles, self.environment)
        place = "environment"
        if found.active_profile is not None and found.active_profile.is_empty:
            place, wrong = "profiles.yaml", f"current is '{found.current}', which leads nowhere: {profiles.NO_HOST}"
        line = {"path": place, "line": None, "column": None, "reason": wrong, "since": self.since}
        mounts = found.get_mounts().values()
        rows = [
            {
                **line,
                "path": "profiles.yaml",
                "reason": f"the file system of mount '{mount.name}' does not answer",
                "since": to_rfc3339(int(since)),
                "mount": mount.name,
            }
            for mount in mounts
            if (since := mount_calls.find_hang(mount.root)) is not None
        ]
        roots = [mount.root for mount in mounts]
        return self.configuration.list_problems(roots) + rows + ([line] if wrong else [])

    def summarize(self) -> dict[str, Any]:
        """Summarize the store for /health.

        How changes are seen, and how many files are wrong.
        """
        watch = self.watch.summarize() if self.watch else None
        return {"watch": watch, "problems": self.count_problems()}

    def count_problems(self) -> int:
        """Count the files that are wrong."""
        return self._gather_problems().wrong

    async def tidy(self, now: float, hold: Callable[[str], AbstractAsyncContextManager[Any]]) -> int:
        """Archive old documents as config.yaml says; return how many.

        To be called now and then. `hold(number)` keeps others from changing a sweep and its cells. Raises
        StoreUnavailable, StoreFull.
        """
        retention = self.config.retention
        try:
            if retention.age_days is None and retention.count is None:
                return 0
            return await self.archive.move(archive.select_due(self.archive.list_groups(), retention, now), hold)
        finally:
            for checkpoint in self.checkpoints.values():
                if len(checkpoint) >= SAVE_FROM_ROWS:
                    await asyncio.to_thread(checkpoint.save)

    def join_path(self, *parts: str) -> Path:
        """Return a path below the root."""
        return self.root.joinpath(*parts)

    async def add_folder(self, root: Path, below: Path, like: Folder, mount: str | None = None) -> Folder:
        """Follow a folder below the root of a mount like one of the store.

        It is loaded and watched from now on. Raises StoreUnavailable when the mount does not answer.
        """
        path = root / below
        own = Folder(
            path, like.kind, self.files, like.parse, suffixes=like.suffixes, summary=like.summary,
            find_warnings=like.find_warnings, mount=mount, keep=like.keep, mount_root=root,
        )  # fmt: skip
        own.run_reading = like.run_reading
        await own.make()
        await own.refresh(await own.run_disk(own.list_files))
        known = next((folder for folder in self.folders if folder.path == path), None)
        if known is not None:
            return known
        own.problem_listeners = self.problem_listeners
        self.folders.append(own)
        if self.watch is not None:
            self.watch.renew()
        return own

    # Opening and closing.

    def open(self, wait_s: float = WAIT_S) -> None:
        """Lock the store for this server and load its files.

        Makes the folders, on the first launch a commented config.yaml and an example; removes temporary files that
        interrupted writes have left. Raises Foreign, Locked, StoreUnavailable.
        """
        try:
            self.files.make_dirs(self.root)
            owners.check_folder(self.root)
            self.root.chmod(FOLDER_MODE)
        except OSError as error:
            raise from_os_error(error, f"open the store {self.root}") from error
        first = not (self.root / LOCK_NAME).exists()
        self.lock = acquire_lock(self.root, wait_s)
        self.files.find_loss = self.lock.find_loss
        try:
            self._write_examples(first)
            for path in dict.fromkeys(
                [folder.path for folder in self.folders] + [self.join_path(name) for name in UNWATCHED]
            ):
                self.files.make_dirs(path)
                owners.check_folder(path)
                self.files.remove_temporaries(path)
            owners.check_entries(self.join_path("cluster"))  # scripts that wait there are started
            self.intents.restore()
            self._load()
        except BaseException as error:
            self.lock.release()
            if isinstance(error, OSError):
                raise from_os_error(error, f"read {error.filename or self.root}") from error
            raise

    def renew_lock(self) -> None:
        """Lock the store again when only its lock file is gone.

        To be called now and then. Whoever deletes the whole folder needs a moment: acts on the second call that finds
        it so.
        """
        lost = self.lock is not None and self.lock.find_loss() is not None
        if lost and self.was_lost and self.lock is not None:
            self.lock.acquire_again()
        self.was_lost = lost

    async def start(self, start_task: StartTask | None = None) -> None:
        """Start to follow changes from outside, by tasks that `start_task` starts."""
        self.watch = Watch(
            self.root, self.folders, poll=self.poll, make_dirs=self.files.make_dirs, signals=self.signals
        )
        await self.watch.start(start_task)

    async def close(self) -> None:
        """Finish what is being written and unlock the store."""
        if self.watch is not None:
            await self.watch.close()
            self.watch = None
        for folder in self.folders:
            await folder.close()
        await self.intents.close()
        for checkpoint in self.checkpoints.values():
            if len(checkpoint) >= SAVE_FROM_ROWS:
                await asyncio.to_thread(checkpoint.save)
        self.files.close()
        if self.lock is not None:
            self.lock.release()
            self.lock = None

    def _load(self) -> None:
        """Load archive and folders, remembering what YAML files say."""
        memory = self.join_path(YAML_MEMORY)
        if memory.parent.is_dir():
            owners.check_folder(memory.parent)
        try:
            saved: bytes | None = read_file(memory, MEMORY_BYTES, owners.check_file)[0]
        except StoreError:
            saved = None  # none yet, or not to be believed: everything is parsed from the files
        start_remembering(saved)
        with pause_collecting():
            self.archive.open()
            for folder in self.folders:
                folder.problem_listeners = self.problem_listeners
                if folder.path.name in self.checkpoints:
                    self.checkpoints[folder.path.name].load()
                else:
                    folder.load()
        for call in (call for folder in self.folders for call in folder.when_loaded):
            call()
        fresh = stop_remembering(saved)
        if fresh is not None:
            try:
                self.files.make_dirs(memory.parent)
                self.files.write_now(memory, fresh)
            except StoreError:
                # Not fatal: it only makes the next start faster.
                log.warning("what was read could not be saved for the next start", exc_info=True)

    def _write_examples(self, is_new: bool) -> None:
        """Write the examples, where there is nothing of that name yet.

        A store of an older version only gets the simulators, which it did not have.
        """
        examples = {self.root / example.relative_to(EXAMPLES): example for example in sorted(EXAMPLES.rglob("*.yaml"))}
        # A folder that exists already is somebody's: nothing is added to it.
        theirs = {target.parent for target in examples if target.parent != self.root and target.parent.exists()}
        for target, example in examples.items():
            if target.exists() or target.parent in theirs or not (is_new or target.parent.name == SIMULATORS):
                continue
            self.files.make_dirs(target.parent)
            try:
                self.files.write_now(target, example.read_bytes(), exclusive=True)
            except StoreUnavailable:
                # Not fatal: the server works without examples.
                log.warning("the example %s could not be written", target.name, exc_info=True)


DEFAULTS = Config()
NOBODY = access.Access()
NO_PROFILES = profiles.Profiles()

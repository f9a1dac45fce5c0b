"""State of the cluster: one SQLite file, one writer at a time.

The journal mode is TRUNCATE with synchronous=FULL: each command is a process of its own, and for one transaction per
connection that measured 1.5 ms against 2.3 ms for WAL (whose closing connection writes a checkpoint), with the
same safety when a process is killed or the machine stops.
"""

from __future__ import annotations

import fcntl
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Row = Any  # a sqlite3.Row, read like a mapping from column to value


# Pythons whose SQLite was seen to use no more of functools than what stands in for it here.
TRIED = ((3, 11), (3, 12), (3, 13))
MOST_STATEMENTS = 128


def _load_sqlite() -> Any:
    """Load SQLite's own module without what it takes 4 ms to load besides.

    That is what the package adds for dates, and functools, of which it uses the cache of statements. Where anything is
    not as expected it is the package.
    """
    if "functools" not in sys.modules and sys.version_info[:2] in TRIED:
        pretended: Any = type(sys)("functools")
        pretended.lru_cache = lambda _size: _keep_statements
        sys.modules["functools"] = pretended
        try:
            import _sqlite3

            return _sqlite3
        except Exception:
            sys.modules.pop("_sqlite3", None)
        finally:
            sys.modules.pop("functools")
    import sqlite3

    return sqlite3


def _keep_statements(prepare: Callable[[str], Any]) -> Callable[[str], Any]:
    kept: dict[str, Any] = {}

    def find(text: str) -> Any:
        if text not in kept:
            if len(kept) >= MOST_STATEMENTS:
                kept.clear()
            kept[text] = prepare(text)
        return kept[text]

    return find


sqlite3 = _load_sqlite()

SCHEMA = """
CREATE TABLE jobs (
  raw_id INTEGER PRIMARY KEY, array_job_id INTEGER, array_task_id INTEGER, array_tasks TEXT, array_limit INTEGER,
  name TEXT, user TEXT, uid INTEGER, gid INTEGER, account TEXT, partition TEXT, qos TEXT,
  state TEXT, completing INTEGER, ending TEXT, reason TEXT, held TEXT, priority INTEGER, nice INTEGER,
  submit_time INTEGER, eligible_time INTEGER, begin_time INTEGER, start_time INTEGER, end_time INTEGER,
  suspend_time INTEGER, suspended_s INTEGER, time_limit_min INTEGER, warn TEXT,
  min_nodes INTEGER, max_nodes INTEGER, nodes_set INTEGER, ntasks INTEGER, ntasks_set INTEGER, cpus_per_task INTEGER,
  cpus_set INTEGER, ntasks_per_node INTEGER, mem_node_mb INTEGER, mem_cpu_mb INTEGER,
  gpus_total INTEGER, gpus_node INTEGER, gpus_task INTEGER, exclusive INTEGER,
  features TEXT, req_nodes TEXT, exc_nodes TEXT, tres_per_node TEXT,
  alloc TEXT, node_list TEXT, tasks_per_node TEXT, dependency TEXT, dep_kill INTEGER,
  work_dir TEXT, command TEXT, std_in TEXT, std_out TEXT, std_err TEXT, open_mode TEXT, export TEXT,
  comment TEXT, admin_comment TEXT, submit_line TEXT, requeue INTEGER, restarts INTEGER, script_id INTEGER,
  exit_raw INTEGER, kill_uid INTEGER, boot_id TEXT, sup_pid INTEGER, sup_start INTEGER,
  job_pid INTEGER, job_start INTEGER, derived_raw INTEGER, next_step INTEGER
);
CREATE INDEX jobs_end ON jobs(end_time);
CREATE INDEX jobs_array ON jobs(array_job_id);
CREATE INDEX jobs_completing ON jobs(completing) WHERE completing = 1;
CREATE TABLE past AS SELECT * FROM jobs;
CREATE TABLE scripts (id INTEGER PRIMARY KEY, text BLOB, args BLOB, env BLOB);
CREATE TABLE steps (
  raw_id INTEGER, step TEXT, name TEXT, state TEXT, start_time INTEGER, end_time INTEGER, exit_raw INTEGER,
  ntasks INTEGER, ncpus INTEGER, nnodes INTEGER, node_list TEXT, user_us INTEGER, sys_us INTEGER, max_rss_kb INTEGER,
  submit_line TEXT,
  PRIMARY KEY (raw_id, step)
);
CREATE TABLE nodes (name TEXT PRIMARY KEY, flags TEXT, reason TEXT, reason_user TEXT, reason_time INTEGER);
CREATE TABLE partitions (name TEXT PRIMARY KEY, state TEXT);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT);
PRAGMA user_version = 1;
"""
# Added later, by number of the schema that they make: a state of an older version gets them when it is opened.
ADDED = {
    2: """het_job_id INTEGER, het_offset INTEGER, het_ids TEXT, deadline INTEGER, time_min INTEGER,
    min_cpus INTEGER DEFAULT 0, tmp_mb INTEGER DEFAULT 0, cpus_gpu INTEGER DEFAULT 0, mem_gpu_mb INTEGER DEFAULT 0,
    tasks_gpu INTEGER DEFAULT 0, tres_per_job TEXT, shown TEXT""",
}
NEWEST = max(ADDED)
Broken = sqlite3.Error


class State:
    """An open state file.

    Rows are `sqlite3.Row`; columns are those of SCHEMA.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        path = os.path.join(folder, "state.db")
        self.db = sqlite3.connect(path, timeout=60, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        # Names and comments may hold any bytes; they come back as they went in.
        self.db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        self.lock_fd = -1
        self.has_ended_jobs = False  # whether jobs end with this change
        if self._get_version() < NEWEST:
            self._create()
        self.db.execute("PRAGMA synchronous=FULL")

    def _create(self) -> None:
        self.lock()
        self.db.execute("PRAGMA journal_mode=TRUNCATE")
        if not self._get_version():
            self.db.executescript("BEGIN;" + SCHEMA + "COMMIT;")
            os.chmod(os.path.join(self.folder, "state.db"), 0o600)
        for version in range(self._get_version() + 1, NEWEST + 1):
            adding = [
                f"ALTER TABLE {table} ADD COLUMN {column.strip()};"
                for table in ("jobs", "past")
                for column in ADDED[version].split(",")
            ]
            self.db.executescript(f"BEGIN;{''.join(adding)}PRAGMA user_version = {version};COMMIT;")
        self.unlock()

    def _get_version(self) -> int:
        return int(self.db.execute("PRAGMA user_version").fetchone()[0])

    def lock(self) -> None:
        """Lock the state for changes; wait for whoever holds the lock.

        The lock ends with this process at the latest.
        """
        self.lock_fd = os.open(os.path.join(self.folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.lock_fd, fcntl.LOCK_EX)

    def unlock(self) -> None:
        """Unlock the state."""
        os.close(self.lock_fd)
        self.lock_fd = -1

    def begin(self) -> None:
        """Begin a transaction."""
        self.db.execute("PRAGMA journal_mode=TRUNCATE")
        self.db.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def select_jobs(self, where: str = "1", *values: object, columns: str = "*") -> list[Row]:
        """Select the jobs that fulfil an SQL condition, oldest id first."""
        query = f"SELECT {columns} FROM jobs WHERE {where} ORDER BY raw_id"  # noqa: S608 (the conditions are ours)
        return self.db.execute(query, [to_bytes(value) for value in values]).fetchall()

    def select_visible_jobs(self, min_job_age_s: int, now: int) -> list[Row]:
        """Select the jobs that squeue can see.

        Unfinished, or finished within MinJobAge.
        """
        return self.select_jobs("end_time IS NULL OR end_time >= ?", now - min_job_age_s)

    def update_job(self, raw_id: int, **columns: object) -> None:
        """Set columns of a job."""
        names = ", ".join(f"{name} = {_make_placeholder(value)}" for name, value in columns.items())
        values = [to_bytes(value) for value in columns.values()]
        self.db.execute(f"UPDATE jobs SET {names} WHERE raw_id = ?", (*values, raw_id))  # noqa: S608

    def insert_row(self, table: str, **columns: object) -> int:
        """Insert or replace a row; return its row id."""
        names, marks = ", ".join(columns), ", ".join(map(_make_placeholder, columns.values()))
        query = f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})"  # noqa: S608
        return self.db.execute(query, [to_bytes(value) for value in columns.values()]).lastrowid or 0

    def get_meta(self, key: str, default: str = "") -> str:
        """Return a stored text, or the default."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else default

    def set_meta(self, key: str, value: object) -> None:
        """Store a text by name."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, str(value)))

    def take_number(self, key: str, first: int, step: int = 1) -> int:
        """Take the next number of a sequence.

        Job ids go upwards from 1, priorities downwards.
        """
        number = int(self.get_meta(key, str(first)))
        self.set_meta(key, number + step)
        return number

    def load_node_marks(self) -> dict[str, Row]:
        """Load the flags and reasons of nodes by name."""
        return {row["name"]: row for row in self.db.execute("SELECT * FROM nodes")}

    def load_partition_states(self) -> dict[str, str]:
        """Load the states that were set by hand, by partition."""
        return {row["name"]: row["state"] for row in self.db.execute("SELECT * FROM partitions")}


def _make_placeholder(value: object) -> str:
    return "CAST(? AS TEXT)" if isinstance(value, str) else "?"


def to_bytes(value: object) -> Any:
    """Convert a value for SQLite: text that is no UTF-8 keeps its bytes."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogateescape")
    return value

"""What is known of the files of a folder, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from store.disk.compression import Packer
from store.disk.entries import FileEntry, FileState, FindWarnings, Parse, Summary
from store.disk.files import Files
from store.disk.kept.kept_files import KeptFiles
from store.disk.recent import RecentEntries
from store.errors import NotFound


class FileIndex:
    """The states of the files of one folder, and their entries by name.

    Answers from memory; of a document that was not used lately the bytes are read from a segment of the checkpoint.
    """

    parse: Parse
    summary: Summary | None
    find_warnings: FindWarnings | None
    facts: Callable[[Any], Any] | None
    keep: bool
    recent: RecentEntries

    def __init__(self, path: Path, kind: str, files: Files, ending: str, mount: str | None) -> None:
        self.path = path
        self.kind = kind
        self.files = files
        self.ending = ending
        self.mount = mount
        self.packer = Packer()
        self.version = 0  # grows with every change
        self.kept = KeptFiles(self)  # the files that are as a checkpoint has them
        self.file_states: dict[str, FileState] = {}  # of the others, by file name
        self.filenames: dict[str, str] = {}  # of the others, by name
        self.wrong_files: dict[str, set[str]] = {}  # by name: another file may have the name too
        self.doubtful_files: dict[str, str] = {}  # since when they have warnings

    def get_entry(self, name: str) -> FileEntry:
        """Return the entry of this name. Raises NotFound."""
        state = self.file_states.get(self.filenames.get(name, ""))
        entry = self.kept.get_entry(name) if state is None else state.entry
        if entry is None:
            raise NotFound(self.kind, name)
        return entry

    def find_file(self, entry: FileEntry) -> tuple[str, bytes | None]:
        """Return name and mark of an entry's file.

        None for the mark if another entry has the file by now.
        """
        filename = self.filenames.get(entry.name, "")
        state = self.file_states.get(filename)
        if state is not None:
            return filename, state.mark if state.entry is entry else None
        is_kept = self.kept.get_entry(entry.name) is entry
        return entry.name + self.ending, self.kept.get_mark(entry.name) if is_kept else None

    def get_filename(self, name: str) -> str | None:
        """Return the file that has this name; None if there is none."""
        return self.filenames.get(name) or (name + self.ending if name in self.kept else None)

    def iterate_filenames(self) -> Iterator[str]:
        """Iterate over the names of all known files; safe in any thread."""
        yield from list(self.file_states)
        yield from (name + self.ending for name in list(self.kept))

    def find_state(self, filename: str) -> FileState | None:
        """Return the state of a file, which is held from now on; None if unknown."""
        if (name := self.find_kept_name(filename)) is not None and (state := self.kept.take(name)) is not None:
            self.file_states[filename] = state
            self.filenames[name] = filename
        return self.file_states.get(filename)

    def find_kept_name(self, filename: str) -> str | None:
        """Return the name of a file that is as a checkpoint has it, or None."""
        name = filename[: -len(self.ending)]
        return name if name in self.kept and filename.endswith(self.ending) else None

    def get(self, name: str) -> Any:
        """Return the document, not to be changed in place. Raises NotFound."""
        return self.get_entry(name).document

    def get_raw(self, name: str) -> tuple[bytes, str]:
        """Return the bytes in force and their sha256. Raises NotFound."""
        entry = self.get_entry(name)
        return entry.data, entry.etag

    def list_names(self) -> list[str]:
        """List all names in alphabetical order."""
        return sorted([*(state.entry.name for state in self.file_states.values() if state.entry), *self.kept])

    def iterate_entries(self) -> Iterator[FileEntry]:
        """Iterate over all entries, in no order."""
        yield from (state.entry for state in self.file_states.values() if state.entry is not None)
        yield from map(self.get_entry, self.kept)

    def list_problems(self) -> list[dict[str, Any]]:
        """List what is wrong: path (below the store), line, column, reason …

        Several problems of one file are several rows.
        """
        filenames = sorted({*chain.from_iterable(self.wrong_files.values()), *self.doubtful_files})
        return [row for filename in filenames for row in self.list_file_problems(filename)]

    def list_unread(self) -> list[str]:
        """List the files that could not be read this time."""
        wrong = chain.from_iterable(self.wrong_files.values())
        return [filename for filename in wrong if self.file_states[filename].is_unread]

    def describe_problems(self, name: str) -> str:
        """Describe what is wrong with the file of this name; "" if nothing is."""
        return "; ".join(
            f"{row['path']}, line {row['line'] or 1}, column {row['column'] or 1}: {row['reason']}"
            for filename in sorted(self.wrong_files.get(name, ()))
            for row in self.list_file_problems(filename)
        )

    def list_file_problems(self, filename: str) -> list[dict[str, Any]]:
        """List what is wrong with one file."""
        state = self.file_states.get(filename)
        if state is None:
            return []
        since = state.since or self.doubtful_files.get(filename)
        return state.build_problem_rows(self.files.display_path(self.path / filename), since, self.mount)

    def __contains__(self, name: str) -> bool:
        state = self.file_states.get(self.filenames.get(name, ""))
        return name in self.kept if state is None else state.entry is not None

    def __len__(self) -> int:
        return len(self.filenames) + len(self.kept)

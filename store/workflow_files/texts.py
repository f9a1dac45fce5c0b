"""The texts of files as they lie there, also of those that are wrong."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import NamedTuple

from store.disk import owners
from store.disk.folders import FILE_LIMIT_BYTES, Folder
from store.disk.reading import read_file


class FileText(NamedTuple):
    """A file as it lies there: bytes, sha256, path for people, is it wrong."""

    data: bytes
    etag: str
    path: str
    is_wrong: bool


async def read_text(folder: Folder, name: str) -> FileText:
    """Read the file of this name, also a wrong one.

    A good one comes from memory, a wrong one from the disk. Raises NotFound, Denied, TooLarge, StoreUnavailable.
    """
    wrong = sorted(folder.wrong_files.get(name, ()))
    filename = folder.filenames.get(name) or next(iter(wrong), "")
    if filename not in wrong:
        entry = folder.get_entry(name)
        return FileText(entry.data, entry.etag, folder.files.display_path(folder.path / filename), False)
    check = partial(owners.check_file, in_mount=folder.in_mount)
    data, _stamp = await folder.run_disk(read_file, folder.path / filename, FILE_LIMIT_BYTES, check)
    etag = hashlib.sha256(data).hexdigest()
    return FileText(data, etag, folder.files.display_path(folder.path / filename), True)

"""Editing files that both people and the API write.

Each edit is made on what the file says at that moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from store.disk.entries import is_named
from store.disk.folders import Folder
from store.errors import Changed, Conflict, Exists

# An edit starts again when somebody saves the file at the same moment; more often in a row is not expected.
MAX_TRIES = 5
# The tag of a file that does not exist.
NO_FILE_TAG = "none"


def get_tag(folder: Folder, name: str) -> str:
    """Return what `If-Match` must say of the file.

    That is its sha256, or a word for a file that is not there.
    """
    return folder.get_entry(name).etag if name in folder else NO_FILE_TAG


async def edit_file(folder: Folder, name: str, edit: Callable[[bytes], bytes], if_match: str | None = None) -> None:
    """Replace the file's bytes by `edit(bytes)`, durably.

    `edit` gets b"" when there is no file. It runs off the event loop, and again when somebody else changed the file in
    between, unless `if_match` says what the edit is based on. Raises what `edit` raises, Changed, Conflict (the file
    cannot be read), StoreUnavailable, StoreFull.
    """
    async with folder.edit_lock:
        for left in reversed(range(MAX_TRIES)):
            if await _try_edit(folder, name, edit, if_match, last=not left):
                return


async def _try_edit(
    folder: Folder, name: str, edit: Callable[[bytes], bytes], if_match: str | None, last: bool
) -> bool:
    """Try the edit once; return False if somebody else was faster.

    If this was the last try, that is an error.
    """
    await folder.refresh([folder.choose_filename(name)])
    tag = get_tag(folder, name)
    if if_match is not None and not is_named(if_match, tag):
        raise Changed(folder.kind, name, None if tag == NO_FILE_TAG else tag)
    before = folder.get_entry(name).data if tag != NO_FILE_TAG else b""
    after = await asyncio.to_thread(edit, before)
    try:
        if after == before:
            return True
        if tag == NO_FILE_TAG:
            await folder.create(name, after)
        else:
            await folder.put(name, after, if_match=tag)
        return True
    except (Changed, Exists):
        if folder.wrong_files and name not in folder:
            reason = folder.list_problems()[0]["reason"]
            raise Conflict(f"the file '{name}' cannot be read ({reason}); correct or remove it first") from None
        if if_match is not None or last:
            raise
        return False

"""Whose files these are, and who else could have written them.

What is believed here must be the server's user's own: files of somebody else, or that somebody else may write, do not
count. That a group may write is no harm where the group is the user's own, as `useradd` makes it and a umask of 002
expects it. A mount may be a project's, in which many people write: there only what everybody may write does not count.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shlex
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from store.errors import Denied, Foreign, from_os_error

MAX_LINKS = 40
ACCESS_LIST = "system.posix_acl_access"
OPEN_TO_ALL = "may be written by everybody"


def explain_owner(status: os.stat_result) -> str | None:
    """Explain whose a file or folder is; None if it is our own."""
    if status.st_uid == os.geteuid():
        return None
    return f"belongs to {find_user_name(status.st_uid)}, not to {find_user_name(os.geteuid())}"


def explain_writers(status: os.stat_result, place: int | Path) -> str | None:
    """Explain who else may write the file or folder; None if nobody may.

    `place` is its path or a descriptor of it.
    """
    if status.st_mode & stat.S_IWOTH:
        return OPEN_TO_ALL
    # What an access list grants to others stands in the bits of the group too.
    if not status.st_mode & stat.S_IWGRP or (is_private_group(status.st_gid) and not has_access_list(place)):
        return None
    return f"may be written by the group {find_group_name(status.st_gid)}"


def is_private_group(gid: int) -> bool:
    """Tell whether the group is our user's own: its name, nobody else in it."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return user.pw_gid == gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def has_access_list(place: int | Path) -> bool:
    """Tell whether a file has a POSIX access list."""
    try:
        return bool(os.getxattr(place, ACCESS_LIST))
    except (OSError, AttributeError):  # none, or a system without them
        return False


def explain_distrust(status: os.stat_result, place: int | Path, in_mount: bool = False) -> str | None:
    """Explain why a file or folder does not count; None if it does."""
    if in_mount:
        return OPEN_TO_ALL if status.st_mode & stat.S_IWOTH else None
    return explain_owner(status) or explain_writers(status, place)


def check_file(fd: int, status: os.stat_result, in_mount: bool = False) -> None:
    """Raise Denied for an open file that does not count."""
    if why := explain_distrust(status, fd, in_mount):
        raise Denied(f"the file {why}, so it does not count")


def explain_folder(folder: Path, in_mount: bool = False) -> str | None:
    """Explain why no file in this folder counts; None if they do."""
    try:
        status = folder.stat()
    except OSError:
        return None  # gone, or not readable: so each file tells
    why = explain_distrust(status, folder, in_mount)
    return f"the folder {why}, so files in it do not count" if why else None


def check_folder(folder: Path) -> None:
    """Raise Foreign unless the folder is ours and stays in its place.

    All that the path leads through counts: who may write in a folder above can put another one in the place of this.
    Where only the owner may move things (the sticky bit, as in /tmp) everybody may write.
    """
    try:
        status = folder.stat()
        user, place = find_user_name(os.geteuid()), shlex.quote(str(folder))
        if why := explain_owner(status):
            raise Foreign(f"{folder} {why}: chown -R {user} {place}, or use another folder with --store")
        if why := explain_writers(status, folder):
            raise Foreign(f"{folder} {why}: chmod go-w {place}")
        for above in _list_way(folder):
            _check_above(folder, above)
    except OSError as error:
        raise from_os_error(error, f"look at the folders above {folder}") from error


def check_entries(folder: Path) -> None:
    """Raise Foreign unless each file and folder in this one is ours alone."""
    for path in sorted(folder.iterdir()):
        try:
            status = path.stat()
        except FileNotFoundError:  # gone meanwhile, or a link that leads nowhere
            continue
        user, place = find_user_name(os.geteuid()), shlex.quote(str(path))
        if why := explain_owner(status):
            raise Foreign(f"{path} {why}: chown {user} {place}, or use another folder with --store")
        if why := explain_writers(status, path):
            raise Foreign(f"{path} {why}: chmod go-w {place}")


def _check_above(folder: Path, above: Path) -> None:
    status = above.lstat()
    # Whoever has the top of the file system has everything; in a container without root that is nobody's.
    if status.st_uid not in (0, os.geteuid(), os.lstat("/").st_uid):
        owner = find_user_name(status.st_uid)
        raise Foreign(f"{above} belongs to {owner}, who could replace {folder}: use another folder with --store")
    if stat.S_ISLNK(status.st_mode) or status.st_mode & stat.S_ISVTX:
        return
    if why := explain_writers(status, above):
        mend = f"chmod go-w {shlex.quote(str(above))}"
        raise Foreign(f"{above} {why}, who could replace {folder}: {mend}, or use another folder with --store")


def _list_way(path: Path) -> Iterator[Path]:
    """List the folders and links that the path leads through, from / on."""
    names, links, here = deque(path.parts[1:]), 0, Path("/")
    yield here
    while names:
        name = names.popleft()
        if name == "..":
            here = here.parent
            continue
        step = here / name
        if step.is_symlink():
            yield step
            links += 1
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = step.readlink()
            names.extendleft(reversed(target.parts))
            if not target.is_absolute():
                continue
            names.popleft()
            here = Path("/")
        else:
            here = step
            if names:
                yield here


def find_user_name(uid: int) -> str:
    """Find the name of a user; the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def find_group_name(gid: int) -> str:
    """Find the name of a group; the number where there is none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)

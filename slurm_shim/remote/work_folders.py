"""Folders in which remote jobs work: what is new there, their end.

Pure: blocks of shell, and the parsing of what they print. Names come from programs of anybody, so only plain ones are
told, and no link is followed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from slurm_shim.commands import check_arguments

# A name that is told of a file, and of the folder that it lies in.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}", re.ASCII)


class ChangedFile(NamedTuple):
    """A file that is not as it was known to be.

    `state` tells this version from others, and means nothing else. `data` is None for one that is too large to be read.
    """

    state: str
    data: bytes | None


def build_changes_block(folder: str, known: Mapping[str, str], most_bytes: int, most_files: int, mark: str) -> str:
    """Build shell that prints those of some files of a folder that changed.

    `known` has the state in which each was read last, "" for none. One pass over the folder, whatever their number;
    $T is what limits the time.
    """
    check_arguments(["find", folder, *known])
    lines = shlex.join(f"{name} {state}".rstrip() for name, state in known.items())
    printed = "-printf '%f %i %s %T@\\n'"
    choose = f'!b && $0 == "{mark}" {{b = 1; next}} !b {{w[$1] = $0; next}} ($1 in w) && w[$1] != $0'
    return f"""d={shlex.quote(folder)}
{{ printf '%s\\n' {lines} {mark}; $T find "$d" -mindepth 1 -maxdepth 1 -type f {printed} 2>/dev/null; }} |
awk '{choose}' | head -n {most_files} | while read -r n i s t; do
printf '\\n%s %s %s %s %s\\n' {mark} "$n" "$i" "$s" "$t"
[ "$s" -gt {most_bytes} ] || $T head -c {most_bytes} -- "$d/$n" </dev/null 2>/dev/null
done"""


def parse_changes(out: bytes, known: Mapping[str, str], most_bytes: int, mark: str) -> dict[str, ChangedFile]:
    """Parse what the block of `build_changes_block` printed, by name.

    A file whose size is not the one that was told is left out: it was replaced meanwhile, and is asked for again.
    """
    found = {}
    for piece in out.split(f"\n{mark} ".encode())[1:]:
        head, _, data = piece.partition(b"\n")
        name, *state = head.decode("utf-8", "replace").split(" ")
        if name not in known or len(state) != 3 or not state[1].isdigit():
            continue  # a file with blanks in its name
        size_bytes = int(state[1])
        if size_bytes > most_bytes or len(data) == size_bytes:
            found[name] = ChangedFile(" ".join(state), None if size_bytes > most_bytes else data)
    return found


def build_listing_block(folder: str, names: Sequence[str], ending: str, most_files: int) -> str:
    """Build shell that lists files in some folders below one folder."""
    check_arguments(["find", folder, *names])
    words = shlex.join(f"{folder}/{name}" for name in names)
    looking = f"-mindepth 1 -maxdepth 1 -type f -name {shlex.quote(f'*{ending}')} -printf '%h/%f\\n'"
    return f"$T find {words} {looking} 2>/dev/null </dev/null | head -n {most_files}"


def parse_listing(out: bytes, folder: str, names: Iterable[str]) -> list[str]:
    """Parse a listing to `FOLDER/FILE`; names that are not plain are left out."""
    known, found = set(names), []
    for line in out.decode("utf-8", "replace").splitlines():
        name, _, file = line.removeprefix(f"{folder}/").partition("/")
        if name in known and NAME.fullmatch(file):
            found.append(f"{name}/{file}")
    return sorted(found)


def build_removal_block(folder: str) -> str:
    """Build shell that removes a folder with all that is in it.

    $T is what limits the time; what is left is removed the next time.
    """
    check_arguments(["rm", folder])
    return f"$T rm -rf -- {shlex.quote(folder)} </dev/null"

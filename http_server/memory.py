"""Free memory, which is given back to the system.

The C library keeps what thousands of TLS handshakes have left in pieces, and would take more for the next thousands.
Left to itself it also gives each thread memory of its own, and keeps whole lists that nobody needs any more.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

# What a poll leaves that brings thousands of other rows; to give so much back takes some ms.
MUCH_BYTES = 2_000_000


# mallopt(3): what malloc.h calls the options, and their values. Two threads at work at once is what there is at most.
OPTIONS = {"M_ARENA_MAX": (-8, 2), "M_TRIM_THRESHOLD": (-1, 1_000_000), "M_MMAP_THRESHOLD": (-3, 1_000_000)}


class Counts(ctypes.Structure):
    """What mallinfo2(3) counts: ten numbers, the ninth the free bytes."""

    _fields_ = (("numbers", ctypes.c_size_t * 10),)


@functools.cache
def find_library() -> Any:
    """Find the C library; None for one that cannot count.

    glibc can since 2.33.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return None
    library.mallinfo2.restype = Counts
    return library


def bound_memory() -> None:
    """Bound what is kept of free memory; call it before threads start."""
    if (library := find_library()) is not None:
        for option, value in OPTIONS.values():
            library.mallopt(option, value)


def give_back_rest() -> None:
    """Give back what has been needed for the start alone."""
    if (library := find_library()) is not None:
        library.malloc_trim(0)


def give_back_memory(known_bytes: int) -> int:
    """Give free memory back where there is much more of it than is known.

    Returns what is known then: how much was free, given back or not.
    """
    if (library := find_library()) is None:
        return 0
    free_bytes: int = library.mallinfo2().numbers[8]
    if free_bytes < known_bytes + MUCH_BYTES:
        return min(free_bytes, known_bytes)
    library.malloc_trim(0)
    return free_bytes

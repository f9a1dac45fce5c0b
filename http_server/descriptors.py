"""How many descriptors the process may have, and how many of them callers."""

from __future__ import annotations

import contextlib
import resource

# For SLURM's programs, which take some ten each, the files of the store, and the server itself.
RESERVE = 256
# More connections than any use needs, where the system would let a process have a million.
MOST_CONNECTIONS = 4096


def raise_limit() -> int:
    """Raise the limit of descriptors as far as the user may.

    Returns how many of them connections may take.
    Programs that are started get back what this process had: see slurm_shim/programs.py.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems have a lower bound of their own
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return count_connections(soft)


def count_connections(limit: int) -> int:
    """Count the connections that so many descriptors have room for.

    >>> count_connections(1024), count_connections(256), count_connections(1_000_000)
    (768, 128, 4096)
    """
    return MOST_CONNECTIONS if limit < 0 else min(MOST_CONNECTIONS, max(limit - RESERVE, limit // 2))

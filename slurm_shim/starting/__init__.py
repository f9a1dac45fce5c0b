"""Programs are started by one small process, which `sh` forks instead.

starter    what the server knows of it          process    what it runs
"""

from __future__ import annotations

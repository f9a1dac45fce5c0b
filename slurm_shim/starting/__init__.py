"""How programs are started: by one small process, which `sh` forks in place of the server.

starter    what the server knows of it          process    what it runs
"""

from __future__ import annotations

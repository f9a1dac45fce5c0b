"""Programs are started by one small process, which `sh` forks instead.

starter    what the server knows of it      process    what it runs         calls   who is waited for
starts     how a program is started by sh   shells     those that are kept to start programs again and again
"""

from __future__ import annotations

"""The installed command `sluice`: app.py with what lies beside it.

In a wheel app.py, engine, store and slurm_shim lie in this folder, in a checkout one above. Their names are short and
could be somebody else's, so they are importable in our own process only.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE if (HERE / "app.py").exists() else HERE.parent))


def main() -> None:
    """Run the command line of app.py."""
    import app  # found by the line above

    app.main()

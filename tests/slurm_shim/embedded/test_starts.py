"""How the programs start: SQLite with little beside it, and what is compiled where it can be kept."""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.slurm_shim.embedded.own_cluster import Cluster

SOURCE = ROOT / "slurm_shim"
# Opens a state twice, as the programs do, and tells what was loaded for it.
OPEN = """
import os
from embedded import state
for _ in range(2):
    opened = state.State(sys.argv[2])
    for number in range(300):
        opened.db.execute(f"INSERT INTO meta VALUES ('{number}', ?) ON CONFLICT DO NOTHING", (number,))
    assert len(opened.db.execute("SELECT * FROM meta").fetchall()) == 300
    opened.close()
print(state.sqlite3.__name__)
import functools
assert functools.lru_cache(int)("1") == functools.partial(int, "1")()
"""
NEEDS_MORE = """
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "_sqlite3":
            from functools import partial
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    ("why", "before", "loaded"),
    [
        ("as the programs start", "", "_sqlite3"),
        ("functools is there already", "import functools", "sqlite3"),
        ("a Python that nobody has tried", "sys.version_info = (3, 99, 0)", "sqlite3"),
        ("SQLite needs more of functools", NEEDS_MORE, "sqlite3"),
    ],
)
def test_sqlite_works_however_it_is_loaded(why: str, before: str, loaded: str, tmp_path: Path) -> None:
    code = f"import sys\nsys.path.insert(0, sys.argv[1])\n{before}\n{OPEN}"
    words = [sys.executable, "-I", "-S", "-c", code, str(SOURCE), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    expected = loaded if sys.version_info[:2] <= (3, 13) else "sqlite3"
    assert (done.stdout.strip(), done.stderr) == (expected, ""), why


# Root may write everywhere, so what the folder allows is pretended.
START = """
import os, runpy, sys
is_writable = sys.argv[1] == "writable"
os.access = lambda path, mode: is_writable
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def list_compiled(folder: Path) -> set[str]:
    return {path.name.partition(".")[0] for path in folder.rglob("*.pyc")}


@pytest.mark.parametrize(
    ("why", "before", "folder", "beside", "by_cluster"),
    [
        ("where it can be written", "nothing", "writable", {"begin", "squeue", "state"}, set()),
        ("not where nothing can", "nothing", "read-only", set(), {"begin", "squeue", "state"}),
        ("what an installer has compiled is used", "all", "read-only", {"begin", "squeue", "state"}, set()),
    ],
)
def test_what_is_compiled_is_kept(
    why: str, before: str, folder: str, beside: set[str], by_cluster: set[str], tmp_path: Path
) -> None:
    installed, cluster = tmp_path / "installed", Cluster(tmp_path / "own")
    shutil.copytree(SOURCE, installed, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    if before == "all":
        compileall.compile_dir(installed, quiet=1)
    main = installed / "embedded" / "programs" / "main.py"
    words = [sys.executable, "-I", "-S", "-c", START, folder, str(main), "squeue"]
    subprocess.run(words, env=cluster.env, cwd=cluster.work, check=True, timeout=60)
    for place, names in ((installed, beside), (cluster.folder, by_cluster)):
        compiled = list_compiled(place)
        assert compiled >= names if names else compiled == names, why

"""Entry point: `python -I -S main.py PROGRAM ARGUMENTS…`.

As little as can be: Python compiles this file anew at each start, but keeps what it has compiled of those it imports.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
COMPILED = f"{HERE}/__pycache__/begin.{sys.implementation.cache_tag}.pyc"
sys.path.insert(0, os.path.dirname(os.path.dirname(HERE)))
if not os.path.exists(COMPILED) and not os.access(HERE, os.W_OK):
    # It cannot be kept beside the source, so it is kept by each cluster.
    sys.pycache_prefix = os.path.join(os.path.dirname(os.path.abspath(os.environ.get("SLURM_CONF", ""))), "bytecode")

if __name__ == "__main__":
    __import__("embedded.programs.begin", fromlist=["end_with"]).end_with(sys.argv[1:])

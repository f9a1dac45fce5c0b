"""Entry point: `python -I -S main.py PROGRAM ARGUMENTS…`.

As little as can be: Python compiles this file anew at each start, but keeps what it has compiled of those it imports.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

if __name__ == "__main__":
    __import__("embedded.programs.begin", fromlist=["end_with"]).end_with(sys.argv[1:])

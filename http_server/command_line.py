"""The command line: what `sluice` takes."""

from __future__ import annotations

import argparse
import importlib.metadata

from store.access import token_commands
from store.access.yaptide import user_commands
from store.config.settings import CHOICES


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="sluice",
        description="Sluice: one small server in front of SLURM.",
        epilog="`sluice serve -h` has its flags.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {importlib.metadata.version('sluice')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serving = commands.add_parser("serve", help="serve until Ctrl-C (what happens without a command)")
    serving.add_argument("--store", help="the folder with everything that is remembered (default: ./data)")
    serving.add_argument("--host", help="the address to listen on (default: 127.0.0.1)")
    serving.add_argument("--port", help="the port to listen on (default: 8000; 0: one that is free)")
    serving.add_argument(
        "--cluster", choices=CHOICES["cluster"], help="real SLURM, the embedded cluster, or what is there"
    )
    token_commands.add_parser(commands)
    user_commands.add_parser(commands)
    commands.add_parser("routes", help="print every operation with its method and path")
    return parser

"""Amounts as SLURM reads and prints them.

Memory in MB, and counts of trackable resources.
"""

from __future__ import annotations

FACTORS = {"": 1.0, "k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0**2}


def is_number(text: str) -> bool:
    """Return whether the text is a whole number that SQLite can hold.

    Only the ASCII digits count.
    """
    return text.isascii() and text.isdigit() and len(text) <= 18


def parse_memory_mb(text: str) -> int:
    """Parse `500K`, `512`, `2G` to megabytes; kilobytes round up.

    ValueError for anything else (also `1.5G`).
    """
    digits = text.rstrip("kKmMgGtTbB")
    unit = text[len(digits) :].lower().removesuffix("b")
    if not is_number(digits) or unit not in FACTORS or len(digits) > 15:
        raise ValueError(text)
    return -int(-int(digits) * FACTORS[unit] // 1)


def format_memory(mb: int, convert: bool = True) -> str:
    """Format megabytes with SLURM's unit letters: 512M, 1G, 1.50G.

    A value that would lose digits keeps its unit.
    """
    if not mb:
        return "0"
    value, letters = float(mb), "MGTP"
    index = 0
    while convert and value >= 1024 and value % 512 == 0 and index < 3:
        value /= 1024
        index += 1
    return f"{int(value)}{letters[index]}" if value == int(value) else f"{value:.2f}{letters[index]}"


def format_tres(cpus: int, mem_mb: int, nodes: int, gpus: int, by_name: bool = False, convert: bool = True) -> str:
    """Format trackable resources: `cpu=2,mem=512M,node=1,billing=2`.

    sacct sorts them by name.
    """
    pairs = [("cpu", str(cpus)), ("mem", format_memory(mem_mb, convert) if mem_mb else ""), ("node", str(nodes))]
    pairs += [("billing", str(cpus)), ("gres/gpu", str(gpus) if gpus else "")]
    if by_name:
        pairs.sort()
    return ",".join(f"{name}={value}" for name, value in pairs if value)

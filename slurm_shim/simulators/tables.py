"""CSV files of Geant4 (command-based scoring) and TOPAS as pages.

Both write a line for each bin: its indices, then numbers. Geant4 says neither sizes nor places of bins, so its axes
count bins from 0; several quantities stand in a file one after the other. TOPAS says in its head what the columns are.
Errors (standard errors) follow where sums of squares or standard deviations are there and the primaries are known.
"""

import math
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

# How pages of several tasks are put together; other columns of TOPAS (extremes, deviations) cannot be.
TOPAS_COLUMNS = {"Sum": "sum", "Mean": "mean", "Count_in_Bin": "sum", "Histories_with_Scorer_Active": "sum"}
TOPAS_AXIS = re.compile(r"# (\w+) in (\d+) bins? *of ([\d.eE+-]+) (\S+)")
TOPAS_BINNED = re.compile(r"# Binned by (.+?) in (\d+) bins? *of \S+ (\S+) from (\S+) \S+ to (\S+)")
TOPAS_QUANTITY = re.compile(r"# (\w+)(?: \( (.*?) \))? *: +(\w+(?: +\w+)*) *$")
GEANT4_COLUMNS = re.compile(r"# *i(\w*) *, *i(\w*) *, *i(\w*) *, *total\(value\) *(?:\[(.*?)\])?")


class Axis(NamedTuple):
    """An axis of bins."""

    name: str
    unit: str
    begin: float
    width: float
    bins: int


class Bad(Exception):
    """The file is no such table."""


def read_geant4(text: str, primaries: int) -> List[Dict[str, Any]]:
    """Read what /score/dumpQuantityToFile wrote, or dumpAllQuantities."""
    found = []
    for head, rows in split_blocks(text):
        check_rows(head, rows)
        scorer = next((line.partition(":")[2].strip() for line in head if "primitive scorer name:" in line), "")
        columns = next((match for match in map(GEANT4_COLUMNS.match, head) if match), None)
        if columns is None or len(rows[0]) < 4:
            raise Bad("it is no scoring mesh of Geant4")
        names = [columns.group(number) or "ABC"[number - 1] for number in (1, 2, 3)]
        sizes = [count_bins([row[place] for row in rows]) for place in range(3)]
        axes = [Axis(name, "", -0.5, 1.0, size) for name, size in zip(names, sizes)]
        cells = [(row[:3], row[3]) for row in rows]
        squares = [(row[:3], row[4]) for row in rows] if len(rows[0]) > 4 and primaries > 1 else None
        page = build_page(scorer or "value", columns.group(4) or "", "sum", axes, cells)
        if squares is not None:
            totals = page["data"]["values"]
            page["data"]["errors"] = [
                math.sqrt(max(0.0, square - total * total / primaries) * primaries / (primaries - 1))
                for total, square in zip(totals, fill_bins(axes, squares))
            ]
        found.append(page)
    return found


def read_topas(text: str, primaries: int) -> List[Dict[str, Any]]:
    """Read a scorer's CSV file: a page for each column."""
    blocks = list(split_blocks(text))
    if len(blocks) != 1:
        raise Bad("it is no table of TOPAS")
    head, rows = blocks[0]
    check_rows(head, rows)
    axes = [
        Axis(match.group(1), match.group(4), 0.0, float(match.group(3)), int(match.group(2)))
        for match in map(TOPAS_AXIS.match, head) if match
    ]  # fmt: skip
    quantity = next((match for match in map(TOPAS_QUANTITY.match, reversed(head)) if match), None)
    columns = quantity.group(3).split() if quantity else []
    if quantity is None or not set(columns) & set(TOPAS_COLUMNS):
        raise Bad("it is no table of TOPAS, or has neither sums nor means")
    indexed = len(axes) if len(rows[0]) > len(columns) else 0
    axes = axes if indexed else []
    binned = next((match for match in map(TOPAS_BINNED.match, head) if match), None)
    shares = 1
    if binned is not None:
        shares, begin = int(binned.group(2)), float(binned.group(4))
        width = (float(binned.group(5)) - begin) / shares
        axes = [*axes, Axis(binned.group(1), binned.group(3), begin, width, shares)]
    # What is below the first bin and above the last one is left out.
    skipped = 1 if binned is not None else 0
    if len(rows[0]) < indexed + (shares + skipped) * len(columns):
        raise Bad("it has fewer columns than its head says")

    def pick(column: str) -> List[Tuple[List[float], float]]:
        start = indexed + skipped * len(columns) + columns.index(column)
        return [
            (row[:indexed] + ([share] if binned is not None else []), row[start + share * len(columns)])
            for row in rows
            for share in range(shares)
        ]

    found = []
    for column in columns:
        if column not in TOPAS_COLUMNS:
            continue
        name = quantity.group(1) if column in ("Sum", "Mean") else column
        unit = (quantity.group(2) or "") if column in ("Sum", "Mean") else ""
        page = build_page(name, unit, TOPAS_COLUMNS[column], axes, pick(column))
        if column in ("Sum", "Mean") and "Standard_Deviation" in columns and primaries > 0:
            factor = math.sqrt(primaries) if column == "Sum" else 1 / math.sqrt(primaries)
            spread = fill_bins(axes, pick("Standard_Deviation"))
            page["data"]["errors"] = [deviation * factor for deviation in spread]
        page["metadata"]["column"] = column
        found.append(page)
    return found


def split_blocks(text: str) -> Iterator[Tuple[List[str], List[List[float]]]]:
    """Split a file into its heads, each with the rows below it."""
    head: List[str] = []
    rows: List[List[float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line.startswith("#"):
            if rows:
                yield head, rows
                head, rows = [], []
            head.append(line)
        elif line:
            try:
                rows.append([float(cell) for cell in line.replace(",", " ").split()])
            except ValueError:
                raise Bad(f"line {number} has a cell that is no number") from None
    yield head, rows


def check_rows(head: List[str], rows: List[List[float]]) -> None:
    """Make sure that there are rows, all of the same length."""
    if not head or not rows:
        raise Bad("it has no head or no rows")
    if len(set(map(len, rows))) > 1:
        raise Bad("its rows have not all the same number of columns")


def build_page(
    name: str, unit: str, merge: str, axes: List[Axis], cells: List[Tuple[List[float], float]]
) -> Dict[str, Any]:
    """Build a page; axes with a single bin are not shown."""
    page: Dict[str, Any] = {"metadata": {"merge": merge, "data_order": "F", "name": name, "unit": unit}}
    long = [axis for axis in axes if axis.bins > 1]
    page["dimensions"] = len(long)
    for number, axis in enumerate(long, 1):
        places = [axis.begin + (place + 0.5) * axis.width for place in range(axis.bins)]
        page[f"axis_dim{number}"] = {"name": axis.name, "unit": axis.unit, "values": places}
    page["data"] = {"name": name, "unit": unit, "values": fill_bins(axes, cells)}
    return page


def count_bins(indices: List[float]) -> int:
    """Count the bins of an axis by its indices; no more than there are rows."""
    if not all(0 <= index < len(indices) for index in indices):
        raise Bad("it has an index that is none")
    return int(max(indices)) + 1


def fill_bins(axes: List[Axis], cells: List[Tuple[List[float], float]]) -> List[float]:
    """Put values into their bins, the first axis running fastest."""
    size = 1
    steps = []
    for axis in axes:
        steps.append(size)
        size *= axis.bins
    if size != len(cells):
        raise Bad(f"it has {len(cells)} rows for {size} bins")
    values: List[Optional[float]] = [None] * size
    for indices, value in cells:
        for index, axis in zip(indices, axes):
            if not 0 <= index < axis.bins:
                raise Bad("it has a bin that its head does not know")
        values[sum(int(index) * step for index, step in zip(indices, steps))] = value
    if None in values:
        raise Bad("it has no value for some of its bins")
    return values  # type: ignore[return-value]

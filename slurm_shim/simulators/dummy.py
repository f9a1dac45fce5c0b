"""A small Monte-Carlo simulator: protons through layers of material.

    python3 dummy.py -N SEED FOLDER

FOLDER/dummy.dat says what to simulate, a keyword and its values in each line; `#` begins a comment:

    NSTAT    10000          # primaries
    ENERGY   150 1.5        # MeV, and its spread (standard deviation)
    BEAM     0.5            # cm, width of the beam (standard deviation)
    LAYER    water 18       # material and thickness in cm, in the order of the beam
    LAYER    bone 2
    BINS     100            # of the depth dose
    MAP      50 20          # bins of the map: along the beam, and across from -WIDTH to WIDTH
    WIDTH    5              # cm
    PACE     0              # at most so many primaries in a second; 0: as fast as possible
    FAIL     3 7            # tasks with these seeds fail half-way, to try that out

A proton loses energy by the rule of Bragg and Kleeman (R = 0.0022 cm * E ** 1.77 in water), with a range that
straggles, is deflected a little in every step, and is lost in a nuclear reaction now and then. It is meant to look
right, not to be right. Progress goes to FOLDER/dummy_NNNN.log as SHIELD-HIT12A writes it, results to
FOLDER/*.pages.json (pages.py). The same seed and primaries give the same results to the bit.
"""

import math
import random
import sys
import time
from itertools import accumulate
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

if __package__:
    from . import pages
else:  # a plain file on a cluster
    import pages  # type: ignore[import-not-found,no-redef]

# Range in cm of water: ALPHA * MeV ** POWER (Bortfeld, Med. Phys. 24, 1997).
ALPHA, POWER = 0.0022, 1.77
STRAGGLING, REACTIONS_PER_CM, SCATTERING = 0.012, 0.0115, 0.006
# Stopping power relative to water, and density in g/cm3.
MATERIALS = {
    "air": (0.00108, 0.0012), "water": (1.0, 1.0), "pmma": (1.16, 1.19), "bone": (1.7, 1.85), "lung": (0.26, 0.26),
    "aluminium": (2.1, 2.7),
}  # fmt: skip
REPORTS = 20
# Bounds of what somebody may ask for by mistake.
MOST_BINS, MOST_PRIMARIES = 5_000_000, 1_000_000_000


class Wrong(Exception):
    """The input says something that cannot be simulated."""


class Setup(NamedTuple):
    """What dummy.dat says."""

    primaries: int
    energy: Tuple[float, float]
    beam: float
    layers: List[Tuple[str, float]]
    bins: int
    map_bins: Tuple[int, int]
    width: float
    pace: float
    failing: List[int]

    @property
    def depth(self) -> float:
        """Depth of all layers in cm."""
        return sum(thickness for _, thickness in self.layers)


def main(arguments: List[str]) -> int:
    """Run what the folder says; 2 when that cannot be simulated."""
    try:
        if len(arguments) != 3 or arguments[0] != "-N":
            raise Wrong("usage: dummy.py -N SEED FOLDER")
        seed, folder = int(arguments[1]), Path(arguments[2])
        if seed < 1:
            raise Wrong("the seed is at least 1")
        setup = parse_setup((folder / "dummy.dat").read_text(encoding="utf-8"))
    except (Wrong, ValueError, OSError) as problem:
        print(f"dummy: {problem}", file=sys.stderr)
        return 2
    with (folder / f"dummy_{seed:04d}.log").open("w", encoding="utf-8", buffering=1) as log:
        return simulate(setup, seed, folder, log.write)


def simulate(
    setup: Setup,
    seed: int,
    folder: Path,
    write: Callable[[str], Any],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Any] = time.sleep,
) -> int:
    """Run all primaries and write the results; 1 when it is to fail."""
    began = clock()
    write(f" Random seed N : {seed}\n Requested number of primaries NSTAT : {setup.primaries}\n")
    tally = Tally(setup)
    tracker = Tracker(setup, random.Random(seed))  # noqa: S311 - physics, not secrets
    stops = sorted({setup.primaries * number // REPORTS for number in range(1, REPORTS + 1)} - {0})
    number = 0
    for stop in stops:
        while number < stop:
            tracker.track_primary(tally)
            number += 1
            if setup.pace:
                sleep(max(0.0, began + number / setup.pace - clock()))
        left = (clock() - began) * (setup.primaries - number) / number
        write(f" Primary particle no. {number:7d} ETR: {format_duration(left)}\n")
        if seed in setup.failing and number * 2 >= setup.primaries:
            write(" Error: this seed is to fail\n")
            print(f"dummy: seed {seed} is to fail (FAIL in dummy.dat)", file=sys.stderr)
            return 1
    for name, found in tally.build_estimators().items():
        metadata = {"number_of_primaries": str(setup.primaries), "file_format": "pages", "data_order": "F"}
        with pages.PagesWriter(folder / (name + ".pages.json"), name, metadata) as writer:
            for page_number, page in enumerate(found):
                page["metadata"] = {"page_number": str(page_number), "name": page["data"]["name"], "data_order": "F"}
                writer.write_page(page)
    write(f" Run time: {format_duration(clock() - began)}\n")
    return 0


def format_duration(seconds: float) -> str:
    """Format a duration as SHIELD-HIT12A does.

    >>> format_duration(3725.4)
    '1 hour(s) 2 minute(s) 5 second(s)'
    """
    whole = int(seconds)
    return f"{whole // 3600} hour(s) {whole // 60 % 60} minute(s) {whole % 60} second(s)"


# --- input -----------------------------------------------------------------------------------------------------------


def parse_setup(text: str) -> Setup:
    """Parse dummy.dat; what is missing has a default."""
    found: Dict[str, List[str]] = {}
    layers = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        keyword, values = words[0].upper(), words[1:]
        if keyword == "LAYER":
            layers.append(parse_layer(number, values))
        elif keyword in ("NSTAT", "ENERGY", "BEAM", "BINS", "MAP", "WIDTH", "PACE", "FAIL", "TITLE"):
            found[keyword] = values
        else:
            raise Wrong(f"dummy.dat, line {number}: there is no keyword {words[0]}")

    def read(keyword: str, default: Sequence[float], least: float, most: float) -> List[float]:
        try:
            numbers = [float(word) for word in found.get(keyword, [])] or list(default)
            if not all(least <= number <= most for number in numbers):
                raise ValueError
            return (numbers + list(default)[len(numbers) :])[: len(default)]
        except ValueError:
            raise Wrong(f"dummy.dat: {keyword} needs numbers from {least:g} to {most:g}") from None

    energy, spread = read("ENERGY", (150, 1.5), 0, 1000)
    along, across = read("MAP", (50, 20), 1, 5000)
    setup = Setup(
        primaries=int(read("NSTAT", [1000], 1, MOST_PRIMARIES)[0]),
        energy=(energy, spread),
        beam=read("BEAM", [0.5], 0, 1000)[0],
        layers=layers or [("water", 20.0)],
        bins=int(read("BINS", [100], 1, MOST_BINS)[0]),
        map_bins=(int(along), int(across)),
        width=read("WIDTH", [5], 0.001, 1000)[0],
        pace=read("PACE", [0], 0, 1e9)[0],
        failing=[int(word) for word in found.get("FAIL", []) if word.isdigit()],
    )
    if energy <= 0:
        raise Wrong("dummy.dat: ENERGY needs more than 0 MeV")
    return setup


def parse_layer(number: int, values: List[str]) -> Tuple[str, float]:
    """Parse a layer: its material and its thickness."""
    try:
        material, thickness = values[0].lower(), float(values[1])
    except (IndexError, ValueError):
        raise Wrong(f"dummy.dat, line {number}: LAYER needs a material and a thickness in cm") from None
    if material not in MATERIALS:
        known = ", ".join(sorted(MATERIALS))
        raise Wrong(f"dummy.dat, line {number}: there is no material {material}, but {known}")
    if not 0 < thickness <= 1000:
        raise Wrong(f"dummy.dat, line {number}: a layer is at most 1000 cm thick")
    return material, thickness


# --- physics ---------------------------------------------------------------------------------------------------------


class Tracker:
    """Follows primaries through the layers."""

    def __init__(self, setup: Setup, numbers: random.Random) -> None:
        self.setup, self.numbers = setup, numbers
        self.step = setup.depth / setup.bins
        ends = list(accumulate(thickness for _, thickness in setup.layers))
        middles = [(number + 0.5) * self.step for number in range(setup.bins)]
        names = [
            next(name for (name, _), end in zip(setup.layers, ends) if middle < end or end == ends[-1])
            for middle in middles
        ]
        # In each bin: centimetres of water, and the mass of the material in a column of 1 cm2.
        self.water = [MATERIALS[name][0] * self.step for name in names]
        self.mass = [MATERIALS[name][1] * self.step for name in names]

    def track_primary(self, tally: "Tally") -> None:
        """Follow one proton until it stops, reacts or leaves."""
        draw, gauss = self.numbers.random, self.numbers.gauss
        energy = max(0.1, gauss(*self.setup.energy))
        reach = ALPHA * energy**POWER
        left = max(0.0, reach * gauss(1.0, STRAGGLING))
        energy = (left / ALPHA) ** (1 / POWER)
        across, slope = gauss(0.0, self.setup.beam), 0.0
        deposited = 0.0
        for number, water in enumerate(self.water):
            if left <= 0:
                break
            tally.enter_bin(number)
            reacts = draw() < REACTIONS_PER_CM * water
            left = 0.0 if reacts else max(0.0, left - water)
            after = (left / ALPHA) ** (1 / POWER)
            # Of a reaction's energy, a part goes away with neutrons.
            lost = (energy - after) * (0.6 if reacts else 1.0)
            slope += gauss(0.0, SCATTERING) * math.sqrt(water)
            across += slope * self.step
            tally.add_dose(number, across, lost, lost / self.mass[number])
            deposited += lost
            energy = after
        tally.end_primary(deposited, left > 0)


class Tally:
    """What all primaries left behind, and how far they differ."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.count = 0
        self.dose, self.fluence = Score(setup.bins), Score(setup.bins)
        self.map = Score(setup.map_bins[0] * setup.map_bins[1])
        self.scalars = Score(2)

    def enter_bin(self, number: int) -> None:
        """Count the primary where it is."""
        self.fluence.add(number, 1.0)

    def add_dose(self, number: int, across: float, lost: float, dose: float) -> None:
        """Add energy that was lost in a bin, at this distance from the axis."""
        self.dose.add(number, dose)
        along, wide = self.setup.map_bins
        place = (
            int((across + self.setup.width) / (2 * self.setup.width) * wide) if abs(across) < self.setup.width else -1
        )
        if place >= 0:
            self.map.add(number * along // self.setup.bins * wide + min(place, wide - 1), lost)

    def end_primary(self, deposited: float, left: bool) -> None:
        """End the primary; only now it is known what each bin got from it."""
        self.scalars.add(0, deposited)
        if left:
            self.scalars.add(1, 1.0)
        self.count += 1
        for score in (self.dose, self.fluence, self.map, self.scalars):
            score.end_primary()

    def build_estimators(self) -> Dict[str, List[Dict[str, Any]]]:
        """Build the estimators with their pages."""
        depth, width, (along, wide) = self.setup.depth, self.setup.width, self.setup.map_bins
        z = build_axis("Position (Z)", 0.0, depth, self.setup.bins)
        dose = {"dimensions": 1, "axis_dim1": z, "data": self._build_data("Dose", "MeV/g", self.dose)}
        fluence = {"dimensions": 1, "axis_dim1": z, "data": self._build_data("Fluence", "/primary", self.fluence)}
        flat = {
            "dimensions": 2,
            "axis_dim1": build_axis("Position (X)", -width, width, wide),
            "axis_dim2": build_axis("Position (Z)", 0.0, depth, along),
            "data": self._build_data("Energy", "MeV", self.map),
        }
        deposited = self._build_data("Deposited energy", "MeV", self.scalars)
        through = self._build_data("Transmission", "/primary", self.scalars)
        for place, data in enumerate((deposited, through)):
            data.update({name: data[name][place : place + 1] for name in ("values", "errors")})
        scalars = [{"dimensions": 0, "data": data} for data in (deposited, through)]
        return {"depth_dose": [dose, fluence], "energy_map": [flat], "totals": scalars}

    def _build_data(self, name: str, unit: str, score: "Score") -> Dict[str, Any]:
        values, errors = score.average(self.count)
        return {"name": name, "unit": unit, "values": values, "errors": errors}


class Score:
    """Sums over primaries in bins, and sums of squares for their errors."""

    def __init__(self, bins: int) -> None:
        self.sums, self.squares = [0.0] * bins, [0.0] * bins
        self.current: Dict[int, float] = {}

    def add(self, place: int, value: float) -> None:
        """Add what the present primary leaves in a bin."""
        self.current[place] = self.current.get(place, 0.0) + value

    def end_primary(self) -> None:
        """Add up what the primary left."""
        for place, value in self.current.items():
            self.sums[place] += value
            self.squares[place] += value * value
        self.current.clear()

    def average(self, count: int) -> Tuple[List[float], List[float]]:
        """Return the mean in each bin and its standard error."""
        means = [total / count for total in self.sums]
        freedom = max(1, count - 1) * count
        errors = [
            math.sqrt(max(0.0, squares - total * mean) / freedom) if count > 1 else 0.0
            for total, squares, mean in zip(self.sums, self.squares, means)
        ]
        return means, errors


def build_axis(name: str, begin: float, end: float, bins: int) -> Dict[str, Any]:
    """Build an axis with the middle of each bin."""
    width = (end - begin) / bins
    return {"name": name, "unit": "cm", "values": [begin + (number + 0.5) * width for number in range(bins)]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

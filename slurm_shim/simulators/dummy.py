"""A small Monte-Carlo simulator: protons through layers of material.

    python3 dummy.py --seed SEED INPUT

INPUT is JSON that says what to simulate; everything but `primaries` may be left out:

    {
      "primaries": 10000,
      "energy_mev": 150, "energy_spread_mev": 1.5, "beam_width_cm": 0.5,
      "layers": [{"material": "water", "thickness_cm": 18}, {"material": "bone", "thickness_cm": 2}],
      "bins": 100,                                    of the depth dose
      "map_bins": [20, 50], "map_width_cm": 5,        across (from -width to width) and along the beam
      "pace": 0,                                      at most so many primaries in a second; 0: as fast as possible
      "failing_seeds": [3, 7]                         tasks with these seeds fail half-way, to try that out
    }

A proton loses energy by the rule of Bragg and Kleeman (R = 0.0022 cm * E ** 1.77 in water), with a range that
straggles, is deflected a little in every step, and is lost in a nuclear reaction now and then. It is meant to look
right, not to be right. Progress goes to shieldhit_NNNN.log beside the input, as SHIELD-HIT12A writes it, and results to
*.pages.json (pages.py). The same seed and input give the same results to the bit.
"""

import difflib
import json
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
BOUNDS = {
    "primaries": (1, 1e9), "energy_mev": (1, 1000), "energy_spread_mev": (0, 100), "beam_width_cm": (0, 1000),
    "bins": (1, 5e6), "map_bins": (1, 5000), "map_width_cm": (0.001, 1000), "pace": (0, 1e9),
    "failing_seeds": (0, 2**31),
}  # fmt: skip


class Wrong(Exception):
    """The input says something that cannot be simulated."""


class Setup(NamedTuple):
    """What the input says."""

    primaries: int
    energy_mev: float = 150.0
    energy_spread_mev: float = 1.5
    beam_width_cm: float = 0.5
    layers: Sequence[Tuple[str, float]] = (("water", 20.0),)
    bins: int = 100
    map_bins: Tuple[int, int] = (20, 50)
    map_width_cm: float = 5.0
    pace: float = 0.0
    failing_seeds: Sequence[int] = ()

    @property
    def depth(self) -> float:
        """Depth of all layers in cm."""
        return sum(thickness for _, thickness in self.layers)


def main(arguments: List[str]) -> int:
    """Run what the input says; 2 when that cannot be simulated."""
    try:
        if len(arguments) != 3 or arguments[0] != "--seed":
            raise Wrong("usage: dummy.py --seed SEED INPUT")
        seed, path = int(arguments[1]), Path(arguments[2])
        if seed < 0:
            raise Wrong("the seed is at least 0")
        setup = parse_setup(path.read_text(encoding="utf-8"))
    except (Wrong, ValueError, OSError) as problem:
        print(f"dummy: {problem}", file=sys.stderr)
        return 2
    with (path.parent / f"shieldhit_{seed:04d}.log").open("w", encoding="utf-8", buffering=1) as log:
        return simulate(setup, seed, path.parent, log.write)


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
        if seed in setup.failing_seeds and number * 2 >= setup.primaries:
            write(" Error: this seed is to fail\n")
            print(f"dummy: seed {seed} is one of failing_seeds", file=sys.stderr)
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
    """Parse the input; Wrong says what is wrong with it."""
    said = json.loads(text)
    if not isinstance(said, dict):
        raise Wrong("the input is no JSON object")
    for key in said:
        if key not in Setup._fields:
            near = difflib.get_close_matches(key, Setup._fields, 1)
            raise Wrong(f"there is no key {key}{'; is it ' + near[0] + '?' if near else ''}")
    if "primaries" not in said:
        raise Wrong("the input does not say how many primaries there are")
    for key, (least, most) in BOUNDS.items():
        value = said.get(key, least)
        for number in value if key in ("map_bins", "failing_seeds") and isinstance(value, list) else [value]:
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not least <= number <= most:
                raise Wrong(f"{key} is a number from {least:g} to {most:g}, not {number}")
    for key in ("primaries", "bins"):
        if not isinstance(said.get(key, 1), int):
            raise Wrong(f"{key} is a whole number")
    for number in said.get("failing_seeds", []) if isinstance(said.get("failing_seeds", []), list) else [None]:
        if not isinstance(number, int):
            raise Wrong("failing_seeds is a list of whole numbers")
    if "map_bins" in said and not (
        isinstance(said["map_bins"], list) and [type(number) for number in said["map_bins"]] == [int, int]
    ):
        raise Wrong("map_bins are two whole numbers, across and along the beam")
    if "layers" in said:
        if not isinstance(said["layers"], list) or not said["layers"]:
            raise Wrong("layers is a list of at least one layer")
        said["layers"] = [parse_layer(layer) for layer in said["layers"]]
    return Setup(**said)


def parse_layer(layer: Any) -> Tuple[str, float]:
    """Parse a layer: its material and its thickness."""
    if not isinstance(layer, dict) or set(layer) != {"material", "thickness_cm"}:
        raise Wrong("a layer has a material and a thickness_cm")
    material, thickness = layer["material"], layer["thickness_cm"]
    if not isinstance(material, str) or material not in MATERIALS:
        raise Wrong(f"there is no material {material}, but {', '.join(sorted(MATERIALS))}")
    if isinstance(thickness, bool) or not isinstance(thickness, (int, float)) or not 0 < thickness <= 1000:
        raise Wrong(f"a layer is more than 0 and at most 1000 cm thick, not {thickness}")
    return material, float(thickness)


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
        energy = max(0.1, gauss(self.setup.energy_mev, self.setup.energy_spread_mev))
        reach = ALPHA * energy**POWER
        left = max(0.0, reach * gauss(1.0, STRAGGLING))
        energy = (left / ALPHA) ** (1 / POWER)
        across, slope = gauss(0.0, self.setup.beam_width_cm), 0.0
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
        wide, along = self.setup.map_bins
        place = (
            int((across + self.setup.map_width_cm) / (2 * self.setup.map_width_cm) * wide)
            if abs(across) < self.setup.map_width_cm
            else -1
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
        depth, width, (wide, along) = self.setup.depth, self.setup.map_width_cm, self.setup.map_bins
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

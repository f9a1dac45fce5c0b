"""Binary results of SHIELD-HIT12A and FLUKA, as their programs write them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

# Tags of bdo files of 2019 (pymchelper/readers/shieldhit/binary_spec.py).
FORMAT, PRIMARIES, GEOMETRY, BINS, BEGIN, END, UNITS = 0x05, 0xAA00, 0xE000, 0xE004, 0xE002, 0xE003, 0xE00A
DETECTOR, NUMBER, NORMALIZED, UNIT, DATA = 0xDD30, 0xDD31, 0xDD32, 0xDDBC, 0xDDBB
DOSE, CM = 5, 10


def write_bdo(path: Path, primaries: int, bins: tuple[int, int, int], pages: Sequence[tuple[int, list[float]]]) -> None:
    """Write a mesh; pages are how they are normalized, and their raw numbers."""
    parts = [struct.pack("<6s2s16s", b"xSH12A", b"II", b"0.7.4")]

    def add(tag: int, kind: str, *values: float | bytes) -> None:
        form = {"i": "q", "f": "d"}.get(kind[1], "")
        data = struct.pack(f"<{len(values)}{form}", *values) if form else values[0]
        assert isinstance(data, bytes)
        parts.append(struct.pack("<Q8sQ", tag, kind.encode(), len(values)) + data)

    add(FORMAT, "<i8", 2)
    add(PRIMARIES, "<i8", primaries)
    add(GEOMETRY, "|S3", b"MSH")
    add(BINS, "<i8", *bins)
    add(BEGIN, "<f8", 0.0, 0.0, 0.0)
    add(END, "<f8", *[float(count) for count in bins])
    add(UNITS, "<i8", CM, CM, CM)
    for number, (normalized, values) in enumerate(pages):
        add(DETECTOR, "<i8", DOSE)
        add(NUMBER, "<i8", number)
        add(NORMALIZED, "<i8", normalized)
        add(UNIT, "|S5", b"MeV/g")
        add(DATA, "<f8", *values)
    path.write_bytes(b"".join(parts))


def write_usrbin(path: Path, primaries: int, bins: tuple[int, int, int], values: Sequence[float]) -> None:
    """Write an energy deposition of FLUKA (USRBIN), in GeV per primary."""

    def pack_record(data: bytes) -> bytes:
        return struct.pack("=i", len(data)) + data + struct.pack("=i", len(data))

    head = struct.pack("=80s32sfiii", b"made by a test".ljust(80), b"now".ljust(32), 1.0, primaries, 0, 1)
    nx, ny, nz = bins
    places = [word for count in bins for word in (0.0, float(count), count, 1.0)]
    # Type 10 is a Cartesian mesh of energy (208).
    detector = struct.pack("=i10siiffifffifffififff", 1, b"EneDep".ljust(10), 10, 208, *places, 0, 0.0, 0.0, 0.0)
    numbers = struct.pack(f"={nx * ny * nz}f", *values)
    path.write_bytes(b"".join(map(pack_record, (head, detector, numbers))))

"""Small documents as few bytes: compressed with the documents of the same folder as the dictionary.

The files of a folder say nearly the same in nearly the same words. Deflate alone makes a fourth of one; knowing a few
of the others beforehand it makes a tenth, in the same time. That is what lets every document stay in memory.
"""

from __future__ import annotations

import zlib

# Half way between speed and size; a higher level costs half as much again for a tenth less.
LEVEL = 3
WINDOW_BITS = -15  # raw deflate (zlib.h): what is wrong is noticed where the bytes come from a file
MEMORY_LEVEL = 6
SAMPLES = 4
SAMPLE_BYTES = 8_000


class Packing:
    """One way of packing, given by its dictionary. Can be used by several threads."""

    def __init__(self, dictionary: bytes = b"") -> None:
        self.dictionary = dictionary
        self._compressor = zlib.compressobj(
            LEVEL, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, dictionary
        )

    def pack(self, data: bytes) -> bytes:
        """The data as fewer bytes."""
        deflate = self._compressor.copy()
        return deflate.compress(data) + deflate.flush()

    def unpack(self, packed: bytes) -> bytes:
        """The data that was packed with the same dictionary."""
        return zlib.decompressobj(WINDOW_BITS, self.dictionary).decompress(packed)


class Packer:
    """How a folder packs: without a dictionary until it has seen a few documents, with those as one from then on."""

    def __init__(self) -> None:
        self.packing = Packing()
        self._samples: list[bytes] = []

    def choose_packing(self, data: bytes) -> Packing:
        """The way to pack this document."""
        if not self.packing.dictionary:
            self._samples.append(data[:SAMPLE_BYTES])
            if len(self._samples) >= SAMPLES:
                self.set_dictionary(b"".join(self._samples))
        return self.packing

    def set_dictionary(self, dictionary: bytes) -> None:
        """Nothing; this is the dictionary from now on. What was packed before keeps its own."""
        self.packing = Packing(dictionary)
        self._samples = []

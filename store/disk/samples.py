"""samples/DAY.jsonl: a line for each sample; old days are removed whole."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from store.disk.files import Files
from store.rules.monitoring.samples import DAY_S, Sample, format_sample, parse_sample

log = logging.getLogger("sluice.store")

DAY = re.compile(r"(\d{4}-\d{2}-\d{2})\.jsonl")


class SampleFiles:
    """The files of one store. Only ever appended to, a day each, in UTC."""

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder, self.files = folder, files

    async def append(self, sample: Sample) -> None:
        """Append a sample to its day. Raises StoreUnavailable, StoreFull."""
        day = datetime.fromtimestamp(sample.at, UTC)
        await self.files.append(self.folder / f"{day:%Y-%m-%d}.jsonl", format_sample(sample))

    def load(self, since: float) -> Iterator[Sample]:
        """Read the samples of all days from `since` on, oldest first. Blocks.

        Lines that are none are left alone.
        """
        for path, end in self._list_days():
            if end <= since:
                continue
            try:
                lines = path.read_bytes().splitlines()
            except OSError as problem:
                log.warning("samples/%s cannot be read: %s", path.name, problem)
                continue
            found = [parse_sample(line) for line in lines]
            if wrong := found.count(None):
                log.warning("samples/%s: %d lines are no samples", path.name, wrong)
            yield from (sample for sample in found if sample is not None)

    async def remove_old(self, before: float) -> None:
        """Remove the files of days that ended before this time.

        Raises StoreUnavailable.
        """
        for path, end in await asyncio.to_thread(self._list_days):
            if end <= before:
                await self.files.discard(path, lambda _status: True)

    def _list_days(self) -> list[tuple[Path, float]]:
        """List the files with the end of their day, oldest first."""
        found = []
        for path in sorted(self.folder.glob("*.jsonl")):
            if match := DAY.fullmatch(path.name):
                try:
                    day = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
                except ValueError:  # no such day: not a file of ours
                    continue
                found.append((path, day.timestamp() + DAY_S))
        return found

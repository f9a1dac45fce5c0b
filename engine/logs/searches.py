"""Search in a log: how many lines match, and which is the next."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.logs.log_files import LogFile, open_log, open_reported
from engine.server import Server
from store import access
from store.rules.logs.counts import KNOWN_BYTES, PART_BYTES, Counts
from store.rules.logs.matches import Find, Match, compile_search, find_matches

# So long one request searches; the next one goes on from there.
SEARCH_S = 1.0


async def search_log(
    server: Server,
    job_id: str,
    stream: str,
    q: str,
    regex: bool,
    case: bool,
    offset: int | None,
    direction: str,
    caller: access.Caller,
    cluster: str | None = None,
) -> dict[str, Any]:
    """Search in a job's output; raise NotFound, Denied, Invalid."""
    log = await open_log(server, cluster, job_id, stream, caller)
    return await search_file(log, q, regex, case, offset, direction)


async def search_reported_log(
    server: Server, job_id: str, file: str, q: str, regex: bool, case: bool, offset: int | None, direction: str
) -> dict[str, Any]:
    """Search in a log that a job sent; raise NotFound, Invalid."""
    return await search_file(await open_reported(server, job_id, file), q, regex, case, offset, direction)


async def search_file(
    log: LogFile, q: str, regex: bool, case: bool, offset: int | None, direction: str
) -> dict[str, Any]:
    """Search in a log for as long as one request may."""
    find = compile_search(q, regex, case)
    await log.find_counts()
    known, _ = await log.find_counts((q, regex, case))
    is_complete = await log.search_on(known, find, SEARCH_S)
    last = await find_unfinished(log, known, find) if is_complete else None
    is_forward = direction == "forward"
    at = (0 if is_forward else log.size_bytes) if offset is None else offset
    hit = last if last and not is_forward and last["offset"] < at else None
    hit = hit or await find_hit(log, known, find, at, is_forward)
    if last and is_forward and hit is None and last["offset"] >= at:
        hit = last
    return {
        **log.describe(),
        "count": known.hit_count + (last is not None),
        "searched_bytes": log.size_bytes if is_complete else known.end,
        "complete": is_complete,
        "hit": hit,
    }


async def find_unfinished(log: LogFile, known: Counts, find: Find) -> dict[str, Any] | None:
    """Find the last line as a hit, while it has no end and is not counted."""
    (data,) = await log.read((known.end, PART_BYTES))
    rest = data.partition(b"\n")[0]
    begun = known.tail[known.tail.rfind(b"\n") + 1 :]
    match = next(find_matches(begun + rest, find), None)
    if not rest or match is None or (begun and known.is_inside):
        return None
    number, line = known.hit_count + 1, known.line_count + 1
    return {"number": number, "line": line, "offset": known.end - len(begun), "text": match.text}


async def find_hit(log: LogFile, known: Counts, find: Find, offset: int, is_forward: bool) -> dict[str, Any] | None:
    """Find the first hit from an offset on, or the last one before it."""
    if not known.starts:
        return None
    at: int | None = max(0, known.find_part(min(offset, known.end) - (not is_forward)))
    while at is not None:
        begin, _ = known.get_part(at)
        found = list(enumerate(await list_matches(log, known, find, at))) if known.count_hits(at) else []
        fitting = [each for each in found if (begin + each[1].begin >= offset) == is_forward]
        if fitting:
            number, match = fitting[0 if is_forward else -1]
            return {
                "number": known.hits[at] + number + 1,
                "line": known.lines[at] + match.line + 1,
                "offset": begin + match.begin,
                "text": match.text,
            }
        at = known.find_part_with_hits(at, is_forward)
    return None


async def list_matches(log: LogFile, known: Counts, find: Find, at: int) -> list[Match]:
    """List the lines that match and begin in a part."""
    begin, end = known.get_part(at)
    start = max(0, begin - KNOWN_BYTES)
    (data,) = await log.read((start, end - start))
    cut = data.rfind(b"\n", 0, begin - start) + 1  # a long line may go on here, as when it was counted
    before = begin - start - cut
    found = await asyncio.to_thread(lambda: list(find_matches(data[cut:], find)))
    found = [match._replace(begin=max(0, match.begin - before)) for match in found]
    return found[max(0, len(found) - known.count_hits(at)) :]

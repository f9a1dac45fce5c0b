"""Requests over an open connection, and their answers: as little as can be done at this end."""

from __future__ import annotations

import asyncio
import re


def find_length(head: bytes) -> int:
    """The length of the body that follows this head."""
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    assert found is not None, head
    return int(found[1])


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[bytes, bytes]:
    """Send a request; return the head and the body of its answer."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    return head, b"" if head.startswith(b"HTTP/1.1 304") else await reader.readexactly(find_length(head))

"""A real `Server` over a store, without HTTP and without the loop: a test begins by itself what it needs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from engine.loop import apply_access, apply_config
from engine.server import Server
from store.config.settings import Settings


@contextlib.asynccontextmanager
async def open_server(root: Path, cluster: bool = False) -> AsyncIterator[Server]:
    """Open the store at `root`; with `cluster`, find the embedded one too."""
    server = Server(Settings(store=root, cluster="embedded", watch="poll", system_config=root.parent / "system.json"))
    await asyncio.to_thread(server.store.open)
    apply_access(server)
    apply_config(server)
    async with close_at_end(server):
        if cluster:
            await server.clusters.start()
        yield server


@contextlib.asynccontextmanager
async def close_at_end(server: Server) -> AsyncIterator[None]:
    """End everything that the server has, in the order of the app."""
    try:
        yield
    finally:
        await server.tasks.stop()
        await server.clusters.close()
        server.renderer.close()
        await server.notifications.outbox.stop()
        await server.store.close()
        server.mount_work.close()
        server.file_work.close()
        server.pool.shutdown(wait=False, cancel_futures=True)


def write_files(root: Path, files: Mapping[str, str]) -> None:
    """Write these texts below the folder."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

"""Looking at many files of a folder beside other work."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from store.disk.kept.look_worker import SIZE_BYTES, STATE, look_at

log = logging.getLogger("sluice.store")

PROJECT = Path(__file__).parents[3]


class Looker:
    """Looks at files of one folder, `with_helper` in a process of its own.

    One list at a time: `ask` for it, do something else, `take` the states. What the process does not tell is looked at
    by the caller.
    """

    def __init__(self, folder: Path, *, with_helper: bool) -> None:
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._asked: Sequence[str] = ()
        self._helper: subprocess.Popen[bytes] | None = None
        if with_helper:
            command = [sys.executable, "-S", "-m", "store.disk.kept.look_worker", str(folder)]
            try:
                self._helper = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={"PYTHONPATH": str(PROJECT)},
                    cwd="/",
                )
            except OSError:
                log.warning("files are looked at without the help of another process", exc_info=True)

    def __enter__(self) -> Looker:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._end_helper()
        os.close(self._folder)

    def ask(self, filenames: Sequence[str]) -> None:
        """Begin to look at these files."""
        self._asked = filenames
        if self._helper is not None and filenames:
            data = b"\0".join(map(os.fsencode, filenames))
            assert self._helper.stdin is not None
            try:
                self._helper.stdin.write(len(data).to_bytes(SIZE_BYTES, "big") + data)
                self._helper.stdin.flush()
            except OSError:
                self._end_helper()

    def take(self) -> bytes:
        """Return the states of the files that were asked for."""
        size = len(self._asked) * STATE.size
        if self._helper is not None and size:
            assert self._helper.stdout is not None
            states = self._helper.stdout.read(size)
            if len(states) == size:
                return states
            self._end_helper()
        return b"".join([look_at(filename, self._folder) for filename in self._asked])

    def _end_helper(self) -> None:
        """End the process, if there is one."""
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.kill()
            helper.communicate()

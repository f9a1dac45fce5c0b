"""The embedded cluster's commands: submissions that meet go together.

Each program there is a start of Python, a scheduling pass and a write of its own. One start makes the calls of all who
wait meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slurm_shim import programs
from slurm_shim.commands import Slurm
from slurm_shim.embedded.blobs import pack_blobs, unpack_blobs
from slurm_shim.programs import Outcome
from slurm_shim.starting.work import Work

# So many calls at once: the others go next, and nobody waits long for those beside him.
MOST_CALLS = 32
_CALL_S = 0.05  # which each may take longer than one alone


class _Call:
    """A call of sbatch that waits, and its outcome.

    `is_due` is set when it is over, or when it is its turn to make the calls of all who wait.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], stdin: bytes) -> None:
        self.argv, self.environment, self.stdin = argv, environment, stdin
        self.is_due = threading.Event()
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None


class EmbeddedSlurm(Slurm):
    """The embedded cluster's commands; used as `Slurm`, with the same errors."""

    def __init__(self, path: str, slurm_conf: str | None, timeout_s: float = 5.0, hold_fd: int | None = None) -> None:
        super().__init__(path, slurm_conf, timeout_s, hold_fd)
        self._lock, self._waiting, self._is_calling = threading.Lock(), list[_Call](), False

    def _call_program(
        self, program: str, argv: Sequence[str], environment: Mapping[str, str], stdin: bytes, timeout_s: float,
        **bounds: Any,
    ) -> Work[Outcome]:  # fmt: skip
        # In the thread of who calls: it may have to make the calls of all.
        if argv[0] != "sbatch":
            return (yield from super()._call_program(program, argv, environment, stdin, timeout_s, **bounds))
        call = _Call(argv, environment, stdin)
        with self._lock:
            self._waiting.append(call)
            if not self._is_calling:
                self._is_calling = True
                call.is_due.set()
        call.is_due.wait()
        if call.outcome is None and call.error is None:
            self._call_for_all(program, timeout_s, bounds)
        if call.error is not None:
            raise call.error
        assert call.outcome is not None
        return call.outcome

    def _call_for_all(self, program: str, timeout_s: float, bounds: dict[str, Any]) -> None:
        """Make the calls of all who wait; then it is the turn of the next."""
        with self._lock:
            calls, self._waiting = self._waiting[:MOST_CALLS], self._waiting[MOST_CALLS:]
        try:
            if len(calls) == 1:
                call = calls[0]
                call.outcome = programs.run_program(
                    program, call.argv, call.environment, call.stdin, timeout_s, **bounds
                )
            else:
                self._call_together(program, calls, timeout_s, bounds)
        except BaseException as error:  # whatever it is, nobody waits for ever
            for call in calls:
                call.error = error
        finally:
            with self._lock:
                self._is_calling = bool(self._waiting)
                for call in [*calls, *self._waiting[:1]]:
                    call.is_due.set()

    def _call_together(self, program: str, calls: Sequence[_Call], timeout_s: float, bounds: dict[str, Any]) -> None:
        common = self.build_environment(for_jobs=True)
        pieces = []
        for call in calls:
            own = [f"{name}={value}" for name, value in call.environment.items() if common.get(name) != value]
            pieces += ["\0".join(call.argv).encode(), "\0".join(own).encode(), call.stdin]
        ended = programs.run_program(
            str(Path(program).with_name("sbatch-all")),
            ["sbatch"],
            common,
            pack_blobs(pieces),
            timeout_s + _CALL_S * len(calls),
            hold_fd=bounds.get("hold_fd"),
            by_shell=True,
        )
        said = list(unpack_blobs(ended.out)) if ended.exit_code == 0 else []
        for number, call in enumerate(calls):
            if said:
                code, out, err = said[3 * number : 3 * number + 3]
                call.outcome = Outcome(int(code), out, err)
            else:
                call.outcome = Outcome(ended.exit_code, b"", ended.err)

"""Jobs that left the queue, and what accounting says of them.

The queue forgets an ended job after MinJobAge, and accounting learns of it late. So that a job is nowhere counts only
when queue and accounting have said so again and again, without a failure between, for longer than accounting may lag.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Sequence
from typing import Any

from slurm_shim.parse import Job

CONFIRM_S = 60.0  # for so long at least a job must be nowhere, unless the configuration says otherwise
_LONGEST_S = 600.0  # the longest lag that is waited for
_RUNAWAY_S = 600.0  # accounting that calls a job running which the queue has lost for so long is not believed
_ASK_AGAIN_S = 3.0  # the shortest pause before the next sacct about a job that the last one did not settle
_DOUBTED_S = 300.0  # for so long a job counts as gone; then it is looked for anew if somebody asks
_FORGOTTEN_S = 1800.0  # what is gone for so long, and belongs to nothing that is open, is not followed any more
_REMEMBERED = 20_000  # jobs that settled answers and first sights are kept of
_MEASURED = 100  # jobs that the lag of accounting is measured by


class Absence:
    """For how long things have been nowhere, without a break.

    `confirm_s` is the least time that counts; it grows with the lag that was measured.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.confirm_s = CONFIRM_S
        self._lags_s: deque[float] = deque(maxlen=_MEASURED)
        self._since: dict[str, float] = {}

    @property
    def needed_s(self) -> float:
        """Time for which something must be nowhere."""
        return max(self.confirm_s, min(_LONGEST_S, 2 * max(self._lags_s, default=0.0)))

    def note_lag(self, seconds: float) -> None:
        """Note how long accounting took to learn of the end of a job."""
        self._lags_s.append(seconds)

    def break_off(self) -> None:
        """Begin anew for all: something did not answer."""
        self._since.clear()

    def end(self, name: str) -> None:
        """Note that it was found, or is not looked for any more."""
        self._since.pop(name, None)

    def confirm(self, name: str) -> bool:
        """Note that it is nowhere; return whether that has lasted long enough."""
        return self._now() - self._since.setdefault(name, self._now()) >= self.needed_s

    def compute_pause_s(self, name: str) -> float:
        """Compute the time until it should be looked for again.

        It grows, but the last look comes as soon as it counts.
        """
        gone_s = self._now() - self._since.get(name, self._now())
        return max(_ASK_AGAIN_S, min(gone_s, self.needed_s - gone_s))


class MissingJobs:
    """The jobs that somebody asked about and the queue does not show.

    `absence` is shared with whoever looks for other things in the same cluster.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.absence = Absence(now)
        self._first_asked: dict[str, float] = {}
        self._unfound: set[str] = set()  # asked about, and not in the queue or not looked for yet
        self._since: dict[str, float] = {}
        self._settled: dict[str, tuple[float, list[Job]]] = {}  # when, and all that accounting has under the id
        self._ask_again_at: dict[str, float] = {}

    def note_asked(self, job_id: str) -> None:
        """Note that somebody asks about this job."""
        if job_id not in self._first_asked and job_id not in self._settled:
            store_bounded(self._first_asked, job_id, self._now(), _REMEMBERED)
            self._unfound.add(job_id)

    def follow_queue(self, began: float, has_lost_rows: bool, is_there: Callable[[str], bool]) -> None:
        """Follow an answer of the queue that was asked for at this time.

        Whoever was in the queue is still there, as long as no row has gone.
        """
        unfound = set()
        for job_id in self._first_asked if has_lost_rows else self._unfound:
            asked_at = self._first_asked.get(job_id)
            if is_there(job_id):
                self._since.pop(job_id, None)
                self.absence.end(job_id)
            elif asked_at is not None:
                unfound.add(job_id)
                if asked_at < began:
                    self._since.setdefault(job_id, began)
        self._unfound = unfound

    def find_settled(self, job_id: str) -> list[Job] | None:
        """Find what accounting has of a job that left the queue.

        [] for one that is nowhere; None while that is not known.
        """
        at, rows = self._settled.get(job_id, (0.0, None))
        if rows == [] and self._now() - at > _DOUBTED_S:
            del self._settled[job_id]
            return None
        return rows

    def forget(self, job_id: str) -> None:
        """Forget what was settled: the job is in the queue again."""
        self._settled.pop(job_id, None)

    def list_due(self, job_ids: Container[str]) -> list[str]:
        """List those of the jobs that accounting is to be asked about now.

        `job_ids` are those of all that is open: of others, what is gone for long is forgotten.
        """
        long_ago = self._now() - _FORGOTTEN_S
        for job_id in [name for name, at in self._since.items() if at < long_ago and name not in job_ids]:
            self._forget_question(job_id)
        return [job_id for job_id in self._since if job_id in job_ids and self.is_due(job_id)]

    def is_due(self, job_id: str) -> bool:
        """Return whether accounting is to be asked about this job now."""
        return (
            job_id not in self._settled and job_id in self._since and self._now() >= self._ask_again_at.get(job_id, 0.0)
        )

    def settle(self, job_id: str, rows: Sequence[Job], is_over: bool) -> bool:
        """Take what accounting says of a job; return whether that is all.

        `rows` are the job's, [] if accounting does not know it or there is none.
        """
        gone_s = self._now() - self._since.get(job_id, self._now())
        if is_over:
            self.absence.note_lag(gone_s)
        elif gone_s < _RUNAWAY_S if rows else not self.absence.confirm(job_id):
            self._ask_again_at[job_id] = self._now() + self.absence.compute_pause_s(job_id)
            return False
        store_bounded(self._settled, job_id, (self._now(), list(rows) if is_over else []), _REMEMBERED)
        self._forget_question(job_id)
        return True

    def _forget_question(self, job_id: str) -> None:
        for remembered in (self._first_asked, self._since, self._ask_again_at):
            remembered.pop(job_id, None)
        self._unfound.discard(job_id)
        self.absence.end(job_id)


def store_bounded(remembered: dict[Any, Any], name: Any, value: Any, most: int) -> list[Any]:
    """Store a value; the oldest go where there are more than `most`.

    Returns the values that went.
    """
    remembered[name] = value
    return [remembered.pop(next(iter(remembered))) for _ in range(len(remembered) - most)]

"""A deadline for work that a caller's text can make long.

What works through such text looks at it now and then; whoever begins the work sets it. It counts the computing of the
thread alone, so that a busy machine refuses nothing that an idle one takes.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from contextvars import ContextVar

from store.errors import Invalid, make_problem

_deadline_s: ContextVar[float] = ContextVar("deadline_s", default=math.inf)


@contextlib.contextmanager
def limit_computing(most_s: float) -> Iterator[None]:
    """Let the block compute for so long; a limit around it counts too."""
    before_s = _deadline_s.get()
    token = _deadline_s.set(min(before_s, time.thread_time() + most_s))
    try:
        yield
    finally:
        _deadline_s.reset(token)


def spend_computing(spent_s: float) -> None:
    """Count what another process has computed for this thread.

    Raises Invalid as `check_deadline`.
    """
    _deadline_s.set(_deadline_s.get() - spent_s)
    check_deadline()


def check_deadline() -> None:
    """Raise Invalid once the time for computing is used up."""
    if time.thread_time() > _deadline_s.get():
        raise Invalid([make_problem("is too complicated: checking it takes too long", type="too_complicated")])

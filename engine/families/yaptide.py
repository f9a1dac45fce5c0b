"""The YAPTIDE API: its operations that functions answer as they are.

In the order of the contract; app.py registers them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.simulations import actions, lists

OPERATIONS: dict[str, Callable[..., Any]] = {
    "yaptide_get_job": actions.get_job,
    "yaptide_list_clusters": lists.list_clusters,
}

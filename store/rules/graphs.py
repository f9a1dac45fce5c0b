"""What follows from who waits for whom: circles, an order, and what is wrong among the jobs of a workflow."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from store.errors import make_problem
from store.rules import fields
from store.rules.shapes import MAX_PROBLEMS, Loc, Problem, suggest_name

# Searches for a near name among the jobs; each looks at every name.
MAX_SEARCHES = 10


def sort_by_needs(edges: Mapping[str, Collection[str]]) -> list[str]:
    """The names so that each comes after those it needs, else as `edges` has them; names in a circle are left out."""
    place = {name: index for index, name in enumerate(edges)}
    names = list(edges)
    waits = {name: len(place.keys() & set(needs)) for name, needs in edges.items()}
    after: dict[str, list[str]] = {name: [] for name in edges}
    for name, needs in edges.items():
        for one in place.keys() & set(needs):
            after[one].append(name)
    ready = [place[name] for name, count in waits.items() if not count]
    result = []
    while ready:
        name = names[heapq.heappop(ready)]
        result.append(name)
        for one in after[name]:
            waits[one] -= 1
            if not waits[one]:
                heapq.heappush(ready, place[one])
    return result


def find_cycles(edges: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Circles among the names, none sharing a name with another, as paths that end where they begin.

    Empty exactly when there is no circle.
    """
    found: list[list[str]] = []
    circled: set[str] = set()
    done: set[str] = set()
    for start in edges:
        path: dict[str, None] = {}  # in the order of the steps
        ways = [iter([start])]
        while ways:
            step = next(ways[-1], None)
            if step is None:
                ways.pop()
                if path:
                    done.add(path.popitem()[0])
            elif step in path:
                if step not in circled:
                    steps = list(path)
                    circle = steps[steps.index(step) :]
                    if circled.isdisjoint(circle):
                        circled.update(circle)
                        found.append([*circle, step])
            elif step not in done:
                path[step] = None
                ways.append(iter(edges.get(step, ())))
    return found


def find_graph_problems(jobs: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """What is wrong among the jobs: names that come twice, dependencies on nothing, twice or in a circle.

    Jobs may be wrong in themselves; what cannot be read is left to the check of the fields.
    """
    problems: list[Problem] = []
    first: dict[str, int] = {}
    for index, job in enumerate(jobs):
        name = job.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            message = f"Duplicate job names found in workflow: '{name[:128]}'"
            problems.append(make_problem(message, ("jobs", index, "name"), input=name[:200]))
    edges: dict[str, set[str]] = {name: set() for name in first}
    for index, job in enumerate(jobs):
        name = str(job.get("name"))
        found = _parse_dependencies(job.get("depends_on"), ("jobs", index, "depends_on"))
        if len(problems) < MAX_PROBLEMS:
            problems += _find_dependency_problems(name, found, first, suggest=len(problems) < MAX_SEARCHES)
        if first.get(name) == index:
            edges[name] = {other for _, _, other in found if other in first and other != name}
    ordered = {name: sorted(needs, key=first.__getitem__) for name, needs in edges.items()}
    for cycle in find_cycles(ordered):
        message = f"Circular job dependency: {' -> '.join(cycle)}"
        problems.append(make_problem(message, ("jobs", first[cycle[0]], "depends_on"), type="cycle"))
    return problems


def _parse_dependencies(value: Any, loc: Loc) -> list[tuple[Loc, str, str]]:
    """Place, type and job of each dependency that can be read."""
    found = []
    for index, one in enumerate([value] if isinstance(value, str) else value if isinstance(value, list) else []):
        try:
            type_, _, job = fields.check_dependency(one).partition(":")
        except ValueError:
            continue  # the check of the fields says why
        found.append((loc if isinstance(value, str) else (*loc, index), type_, job))
    return found


def _find_dependency_problems(
    name: str, found: list[tuple[Loc, str, str]], known: Collection[str], *, suggest: bool
) -> list[Problem]:
    problems: list[Problem] = []
    counts = Counter((type_, other) for _, type_, other in found)
    others = [one for one in known if one != name]
    seen: set[tuple[str, str]] = set()
    for loc, type_, other in found:
        message = None
        if other == name:
            message = f"Job '{name}' depends on itself"
        elif other not in known:
            message = f"Job '{name[:128]}' depends on unknown job '{other}'"
            message += suggest_name(other, others) if suggest and len(problems) < MAX_SEARCHES else ""
        elif (type_, other) in seen:
            message = f"the dependency '{type_}:{other}' stands here twice"
        elif type_ == "afternotok" and counts["afterok", other]:
            message = f"afterok and afternotok of '{other}' can never both come true"
        seen.add((type_, other))
        if message and len(problems) < MAX_PROBLEMS:
            problems.append(make_problem(message, loc, input=other))
    return problems

"""Dependency graphs of jobs: order, cycles, and what is wrong in them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from store.deadlines import check_deadline
from store.errors import MAX_SEARCHES, make_problem, suggest_word
from store.rules import fields
from store.rules.shapes import MAX_PROBLEMS, Loc, Problem


def sort_by_needs(edges: Mapping[str, Collection[str]]) -> list[str]:
    """Sort names so that each comes after those it needs.

    Otherwise the order of `edges` is kept. Names in a cycle are left out.
    """
    position = {name: index for index, name in enumerate(edges)}
    names = list(edges)
    waits = {name: len(position.keys() & set(needs)) for name, needs in edges.items()}
    followers: dict[str, list[str]] = {name: [] for name in edges}
    for name, needs in edges.items():
        for other in position.keys() & set(needs):
            followers[other].append(name)
    ready = [position[name] for name, count in waits.items() if not count]
    result = []
    while ready:
        name = names[heapq.heappop(ready)]
        result.append(name)
        for other in followers[name]:
            waits[other] -= 1
            if not waits[other]:
                heapq.heappush(ready, position[other])
    return result


def find_cycles(edges: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Find cycles, as paths that end where they begin.

    No two share a name. Empty exactly when there is no cycle.
    """
    paths: list[list[str]] = []
    circled: set[str] = set()
    done: set[str] = set()
    for start in edges:
        path: dict[str, None] = {}  # a set that keeps the order
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
                        paths.append([*circle, step])
            elif step not in done:
                path[step] = None
                ways.append(iter(edges.get(step, ())))
    return paths


def find_graph_problems(jobs: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Find problems among jobs: duplicate names and wrong dependencies.

    A dependency is wrong when its job is unknown, or it comes twice or closes a cycle. Jobs may be wrong in themselves;
    what cannot be parsed is left to the check of the fields.
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
        check_deadline()
        name = str(job.get("name"))
        dependencies = _parse_dependencies(job.get("depends_on"), ("jobs", index, "depends_on"))
        if len(problems) < MAX_PROBLEMS:
            problems += _find_dependency_problems(name, dependencies, first, suggest=len(problems) < MAX_SEARCHES)
        if first.get(name) == index:
            edges[name] = {other for _, _, other in dependencies if other in first and other != name}
    ordered = {name: sorted(needs, key=first.__getitem__) for name, needs in edges.items()}
    for cycle in find_cycles(ordered):
        message = f"Circular job dependency: {' -> '.join(cycle)}"
        problems.append(make_problem(message, ("jobs", first[cycle[0]], "depends_on"), type="cycle"))
    return problems


def _parse_dependencies(value: Any, loc: Loc) -> list[tuple[Loc, str, str]]:
    """Return place, type and job of each dependency that can be parsed."""
    dependencies = []
    for index, entry in enumerate([value] if isinstance(value, str) else value if isinstance(value, list) else []):
        try:
            type_, _, job = fields.check_dependency(entry).partition(":")
        except ValueError:
            continue  # reported by the check of the fields
        dependencies.append((loc if isinstance(value, str) else (*loc, index), type_, job))
    return dependencies


def _find_dependency_problems(
    name: str, dependencies: list[tuple[Loc, str, str]], known: Collection[str], *, suggest: bool
) -> list[Problem]:
    problems: list[Problem] = []
    counts = Counter((type_, other) for _, type_, other in dependencies)
    seen: set[tuple[str, str]] = set()
    for loc, type_, other in dependencies:
        message = None
        if other == name:
            message = f"Job '{name}' depends on itself"
        elif other not in known:
            message = f"Job '{name[:128]}' depends on unknown job '{other}'"
            if suggest and len(problems) < MAX_SEARCHES:
                message += suggest_word(other, (known_name for known_name in known if known_name != name))
        elif (type_, other) in seen:
            message = f"the dependency '{type_}:{other}' stands here twice"
        elif type_ == "afternotok" and counts["afterok", other]:
            message = f"afterok and afternotok of '{other}' can never both come true"
        seen.add((type_, other))
        if message and len(problems) < MAX_PROBLEMS:
            problems.append(make_problem(message, loc, input=other))
    return problems

"""What callers send is looked through beside everything else, and all that is done with it has one deadline."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import engine.server
from engine import planning
from slurm_shim import script_checks
from store import deadlines
from store.errors import Invalid
from store.rendering.renderer import Renderer
from store.rules import workflows
from tests.app_client import Client, serving

FILE = "jobs: [{name: a, command: x}]\n"
UPLOAD = {"yaml": FILE, "filename": "b.yaml"}
CHECKS = [  # what is done, the module and function that do it, the request
    ("a text is checked", workflows, "find_complaints", "/api/workflows/validate", {"yaml": FILE}),
    ("a file is read before it is saved", workflows, "parse_workflow", "/api/workflows/upload", UPLOAD),
    ("templates are rendered", workflows, "plan_workflow", "/api/workflows/a/run", {"dry_run": True}),
    ("scripts are made", planning, "build_run", "/api/workflows/a/run", {"dry_run": True}),
    ("scripts are read by a shell", script_checks, "run_program", "/api/workflows/c/run", {"dry_run": True}),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    store: Path = tmp_path_factory.mktemp("deadlines") / "store"
    (store / "workflows").mkdir(parents=True)
    (store / "workflows" / "a.yaml").write_text(FILE)
    (store / "workflows" / "c.yaml").write_text("jobs: [{name: c, command: nobody has read this before}]\n")
    with serving(store, "embedded") as made:
        yield made


@pytest.mark.parametrize(("what", "module", "name", "path", "body"), CHECKS, ids=[row[0] for row in CHECKS])
def test_others_are_answered_while_a_check_takes_long(
    client: Client, monkeypatch: pytest.MonkeyPatch, what: str, module: Any, name: str, path: str, body: Any
) -> None:
    """More requests than there are threads for checks; all of them stand still."""
    begun, over, work = threading.Semaphore(0), threading.Event(), getattr(module, name)

    def stand_still(*given: Any, **named: Any) -> Any:
        begun.release()
        assert over.wait(60)
        return work(*given, **named)

    monkeypatch.setattr(module, name, stand_still)
    with ThreadPoolExecutor(4) as callers:
        try:
            waiting = [callers.submit(client.post, path, json=body) for _ in range(4)]
            assert begun.acquire(timeout=60), what
            for asked in ("/health", "/api/workflows", "/api/workflows/a", "/api/jobs"):
                assert client.get(asked).status_code == 200
            assert not any(answer.done() for answer in waiting)
        finally:
            over.set()
        assert all(answer.result().status_code < 300 for answer in waiting)


@pytest.mark.parametrize(("what", "path", "body"), [(row[0], *row[3:]) for row in CHECKS if row[2] != "run_program"])
def test_what_takes_too_long_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch, what: str, path: str, body: Any
) -> None:
    monkeypatch.setattr(engine.server, "CHECK_S", 0)
    assert "too complicated" in client.post(path, json=body).text, what


def test_what_is_rendered_elsewhere_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own renders, and this thread's clock does not see it."""
    spent: list[float] = []
    monkeypatch.setattr("store.rendering.renderer.spend_computing", spent.append)
    with Renderer(wall_s=60) as renderer:
        # Long enough that even the clock of a virtual machine, which leaves out what the host takes, moves.
        renderer.render("{% for i in range(50000) %}{{ i * i }}{% endfor %}", {})
    assert len(spent) == 1 and spent[0] > 0
    with deadlines.limit_computing(100), pytest.raises(Invalid, match="too complicated"):
        deadlines.spend_computing(100.1)

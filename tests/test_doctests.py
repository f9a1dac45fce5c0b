"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests import ROOT

MODULES = [
    f"{path.parent.relative_to(ROOT).as_posix().replace('/', '.')}.{path.stem}"
    for folder in ("engine", "store", "slurm_shim")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted and not result.failed, name

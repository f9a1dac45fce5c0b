"""The table of faults names tests that exist."""

from __future__ import annotations

from tests import ROOT, faults


def test_every_fault_has_its_test() -> None:
    rows, missing, text = 0, [], ""
    for line in (faults.__doc__ or "").splitlines()[2:]:
        fault, _, name = line.strip().partition(": ")
        if name:
            rows += 1
            missing += [] if f"def {name}(" in text else [fault]
        elif fault:
            text = (ROOT / "tests" / fault).read_text()
    assert rows and not missing

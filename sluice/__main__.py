"""`python -m sluice` is the command `sluice`."""

from __future__ import annotations

from sluice import main

main()

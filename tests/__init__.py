"""The tests, foldered as the source."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

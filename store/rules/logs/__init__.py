"""Logs by lines: where they begin, how they are cut, which of them match."""

"""Logs by lines: what is counted, cut and matched."""

"""Logs by lines, without files."""

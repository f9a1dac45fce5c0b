"""Logs of jobs by lines, searched and whole."""

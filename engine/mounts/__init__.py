"""Mounts: their files, and copying them to where jobs run."""

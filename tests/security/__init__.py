"""Callers, files of others, paths and requests: what must not get through."""

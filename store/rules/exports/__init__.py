"""Exports and reports: what may be asked for, and how they go on."""

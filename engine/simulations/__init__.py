"""Simulations: particles tracked in many tasks, and their results merged."""

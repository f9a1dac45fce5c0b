"""What Sluice remembers: plain files under one root, and their rules.

Knows neither HTTP nor SLURM.
"""

"""What Sluice remembers: plain files under one root, and the rules that follow from them.

Knows neither HTTP nor SLURM.
"""

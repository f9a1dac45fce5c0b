"""Simulations: how they are split, run, followed and merged. Pure."""

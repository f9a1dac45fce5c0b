"""Nodes: their states, and drains that end by themselves. Pure."""

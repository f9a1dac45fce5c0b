"""Nodes, partitions and reservations: shown, and nodes changed."""

"""Exports and reports of the cluster: what may be asked for, and how they go on."""

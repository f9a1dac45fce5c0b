"""Clients that other programs generate from the contract."""

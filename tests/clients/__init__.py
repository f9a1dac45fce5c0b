"""Clients: a browser, and what other programs generate from the contract."""

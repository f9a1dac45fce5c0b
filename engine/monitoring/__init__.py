"""How cluster and server are, now and over time."""

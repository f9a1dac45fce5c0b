"""The HTTP server, and what a caller may cost it."""

"""Jobs that the queue lists no more."""

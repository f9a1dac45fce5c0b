"""The queue as it is changed."""

"""The queue as a whole: listed, filtered and changed."""

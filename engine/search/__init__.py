"""Things found by words."""

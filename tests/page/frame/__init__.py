"""What stands around every view, driven in a real browser."""

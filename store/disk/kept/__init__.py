"""What was read from folders of the store, kept on disk for the next start."""

"""What was read from folders, kept on disk for the next start."""

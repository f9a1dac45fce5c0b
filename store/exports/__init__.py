"""Files that are made in child processes with bounds."""

"""Files that are made of many rows, in child processes with bounds."""

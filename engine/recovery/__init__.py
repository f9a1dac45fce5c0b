"""Jobs that the cluster seemed to have lost."""

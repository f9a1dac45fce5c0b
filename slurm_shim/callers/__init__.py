"""Who calls, as programs of the cluster know it."""

"""Programs that run where a simulation runs."""

"""Single jobs: what SLURM says of them, records, and lost ones."""

"""Pure decisions about documents: no disk, no SLURM, no HTTP."""

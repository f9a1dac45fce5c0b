"""A cluster on this machine that answers to SLURM's own commands.

Slurm 22.05.8 is the model.

There is no daemon. One SQLite file beside `slurm.conf` holds the state; every command, and every job that
ends, runs the scheduling pass under a lock. The programs in `slurm_shim/bin` lead to `programs/main.py`. SLURM has all
of them but `sbatch-all`, by which a server makes many calls of sbatch at once.
The app imports `conf` only; nothing here imports anything outside the standard library.
"""

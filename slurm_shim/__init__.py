"""How SLURM is reached, and an embedded cluster with its commands.

commands    one method per command: argv list -> program -> parser
errors      what SLURM can answer instead of yes, as exceptions
parse       pure: what the programs print -> plain dicts        times  durations, instants
snapshot    one shared, always recent state of queue and nodes: N viewers cost one poll
cluster     one cluster under a name that tells its jobs from those of other clusters
resources   pure: GPUs and nodes per partition                  script  pure: job dict -> batch script
directives  pure: what a script asks of sbatch                  script_checks  what is wrong with a script
starting/   the small process that starts all programs
remote/     the same commands over SSH, and copies of folders by rsync
embedded/, bin/   SLURM's programs without SLURM, chosen by PATH alone
"""

from __future__ import annotations

"""Two things in one house: the words we speak to SLURM, and a stand-in that understands them.

errors      what SLURM can answer instead of yes, as exceptions
words       one method per command: argv list -> program -> parser
parse       pure: what the programs print -> plain dicts        times  durations, instants
snapshot    one shared, always recent picture of queue and nodes: N viewers cost one poll
resources   pure: GPUs and nodes per partition                  script  pure: job dict -> batch script
embedded/, bin/   the stand-in: the same programs without SLURM, chosen by PATH alone
"""

from __future__ import annotations

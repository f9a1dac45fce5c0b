"""The script of slurm_shim.script as a template to start from.

Rendered with `script.build_variables` it gives the same script as `script.render_script` does, for folders and
resources that need no quoting.
"""

from __future__ import annotations

TEXT = """\
#!/bin/bash

#SBATCH --job-name={{ job_name }}
{%- if nodes is not none %}
#SBATCH --nodes={{ nodes }}
{%- endif %}
{%- if gpus_per_node %}
#SBATCH --gpus-per-node={{ gpus_per_node }}
{%- endif %}
{%- if ntasks_per_node is not none %}
#SBATCH --ntasks-per-node={{ ntasks_per_node }}
{%- endif %}
{%- if cpus_per_task is not none %}
#SBATCH --cpus-per-task={{ cpus_per_task }}
{%- endif %}
{%- if memory_per_node %}
#SBATCH --mem={{ memory_per_node }}
{%- endif %}
{%- if time_limit %}
#SBATCH --time={{ time_limit }}
{%- endif %}
{%- if nodelist %}
#SBATCH --nodelist={{ nodelist }}
{%- endif %}
{%- if partition %}
#SBATCH --partition={{ partition }}
{%- endif %}
{%- set log = (log_dir.rstrip("/") ~ "/" if log_dir else "") ~ "%x_%j.log" %}
#SBATCH --output={{ log }}
#SBATCH --error={{ log }}
{%- if work_dir %}
#SBATCH --chdir={{ work_dir }}
{%- endif %}
#SBATCH --wait-all-nodes=1

set -euo pipefail
export WORLD_SIZE=${SLURM_NTASKS:-1}
{%- if cpus_per_task is not none %}
export SRUN_CPUS_PER_TASK={{ cpus_per_task }}
{%- endif %}
{%- if exports %}
{{ exports }}
{%- endif %}
{%- if environment_setup %}
# Environment setup
{{ environment_setup }}
{%- endif %}
# Execute command
srun {% if srun_args %}{{ srun_args }} {% endif %}{% if launch_prefix %}{{ launch_prefix }} {% endif %}{{ command }}
"""

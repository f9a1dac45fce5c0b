"""Job dict -> batch script. Pure: the text is all that is made here.

A job: `{name, command: [word] | text, resources: {...}, environment: {...}, work_dir, log_dir, srun_args,
launch_prefix, exports_env: {NAME: value}, dependency, comment}`; all but name and command may be missing or None.
resources: nodes, gpus_per_node, ntasks_per_node, cpus_per_task, memory_per_node, time_limit, nodelist, partition.
environment: conda | venv, container {runtime, image, mounts, workdir, nv, rocm, cleanenv, fakeroot, writable_tmpfs,
overlay, env}, env_vars {NAME: value}.
What becomes a word of sbatch or of the shell is quoted; what cannot be (line breaks, control characters) is refused
with a ValueError that names the field. `command` as text, `srun_args` and `launch_prefix` are the author's own shell
text and go in as they are.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slurm_shim.directives import PROGRAM_LINE, read_options

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_RESERVED = ("SLURM_", "SBATCH_")
_LONGEST_NAME = 200

# As in the order of the script.
_NUMBERS = (("nodes", "nodes"), ("gpus_per_node", "gpus-per-node"), ("ntasks_per_node", "ntasks-per-node"))
_WORDS = (("memory_per_node", "mem"), ("time_limit", "time"), ("nodelist", "nodelist"), ("partition", "partition"))
_RESOURCES = (*(name for name, _ in _NUMBERS), "cpus_per_task", *(name for name, _ in _WORDS))

# conda is a shell function: it has to be brought in first, from wherever it is installed where the job runs. Its
# scripts and those of venv read variables that are not set.
_CONDA = """\
set +u
if ! command -v conda >/dev/null 2>&1; then
    for base in "$HOME"/miniconda3 "$HOME"/miniforge3 "$HOME"/mambaforge "$HOME"/anaconda3 /opt/conda; do
        if [ -x "$base/bin/conda" ]; then PATH="$base/bin:$PATH"; break; fi
    done
fi
source "$(conda info --base)/etc/profile.d/conda.sh"
conda activate {name}
set -u"""
_VENV = """\
set +u
source {path}/bin/activate
set -u"""

# What SLURM gives each task of an array as its number.
TASK_NUMBER = "$SLURM_ARRAY_TASK_ID"
# A secret travels in sbatch's environment. SLURM hands on what begins with SLURM_ whatever --export says.
_PREFIX = "SLURM_SLUICE_"
_REFERENCE = re.compile(rf"(\$\{{{_PREFIX}\w+\}})")


def make_secret_variable(place: str) -> str:
    """Make the name of the variable that brings the secret of this place.

    >>> make_secret_variable("env_vars.HF_TOKEN")
    'SLURM_SLUICE_env_vars_HF_TOKEN'
    """
    return _PREFIX + re.sub(r"\W", "_", place)


def refer_to_secret(place: str) -> str:
    """Return the text that stands in a job for the secret of this place."""
    return f"${{{make_secret_variable(place)}}}"


def mask_references(script: str) -> str:
    """Return the script as it is shown, with masks in place of secrets.

    >>> mask_references('export HF_TOKEN="${SLURM_SLUICE_env_vars_HF_TOKEN}"')
    'export HF_TOKEN=***'
    """
    return re.sub(f'"?{_REFERENCE.pattern}"?', "***", script)


def render_script(job: Mapping[str, Any]) -> str:
    """Render the batch script of a job, with a final line break."""
    known = build_variables(job)
    directives = [f"#SBATCH --{option}={value}" for option, value in _list_directives(job)]
    exports = _build_exports(_get_environment(job).get("env_vars") or {}, "environment.env_vars")
    # The server's own variables win over the author's.
    exports += _build_exports(job.get("exports_env") or {}, "exports_env", reserved=())
    return "\n".join(
        [
            "#!/bin/bash",
            "",
            *directives,
            "#SBATCH --wait-all-nodes=1",
            "",
            "set -euo pipefail",
            "export WORLD_SIZE=${SLURM_NTASKS:-1}",
            *_export_cpus_per_task(job),
            *exports,
            *(["# Environment setup", known["environment_setup"]] if known["environment_setup"] else []),
            "# Execute command",
            " ".join(part for part in ("srun", known["srun_args"], known["launch_prefix"], known["command"]) if part),
            "",
        ]
    )


def render_program_script(
    options: Mapping[str, str | bool],
    lines: Sequence[str],
    work_dir: str,
    program: Sequence[str],
    log_name: str,
    array: str | None = None,
) -> str:
    """Render the script of a job that becomes one of our own programs.

    `options` are sbatch's by their long names, True for one without a value; `lines` are shell that comes before. The
    program takes the shell's place, so that every signal reaches it. Raises ValueError for what no script can hold.
    """
    own = {"chdir": work_dir, "output": f"{_escape_pattern(work_dir)}/logs/{log_name}"}
    if array is not None:
        own["array"] = array
    directives = [
        f"#SBATCH --{name}" if value is True else f"#SBATCH --{name}={_quote_directive(str(value), name)}"
        for name, value in {**options, **own}.items()
    ]
    words = [shlex.quote(word) if word != TASK_NUMBER else f'"{word}"' for word in program]
    # `module` is a function that only a login shell has; others begin with the PATH that they were given.
    first = "#!/bin/bash -l" if any(re.match(r"\s*(?:module|ml)\s", line) for line in lines) else "#!/bin/bash"
    script = "\n".join([first, "", *directives, "", *lines, f"exec {' '.join(words)}", ""])
    return require_folder(script, work_dir, is_chosen=True)


def _escape_pattern(path: str) -> str:
    """Escape what sbatch(1) replaces in names of files.

    Raises ValueError for a backslash, which switches all symbols off.
    """
    if "\\" in path:
        raise ValueError("a backslash cannot be part of a work folder")
    return path.replace("%", "%%")


def build_variables(job: Mapping[str, Any]) -> dict[str, Any]:
    """Build the variables that a template may use.

    job_name, command, log_dir, work_dir, environment_setup, srun_args, launch_prefix, container, the eight resources,
    exports (shell lines). None where the job does not say.
    """
    resources = job.get("resources") or {}
    container = _get_environment(job).get("container") or None
    setup, flags, prefix = _build_container(container) if container else ("", "", "")
    return {
        "job_name": to_job_name(str(job["name"])),
        "command": _build_command(job["command"]),
        "log_dir": _check_word(job.get("log_dir") or "", "log_dir"),
        "work_dir": _check_word(job.get("work_dir") or "", "work_dir"),
        "environment_setup": "\n".join(part for part in (_build_software_setup(_get_environment(job)), setup) if part),
        "srun_args": _join_words(flags, _check_line(job.get("srun_args"), "srun_args")),
        "launch_prefix": _join_words(prefix, _check_line(job.get("launch_prefix"), "launch_prefix")),
        "container": container,
        "exports": "\n".join(
            _build_exports(_get_environment(job).get("env_vars") or {}, "environment.env_vars")
            + _build_exports(job.get("exports_env") or {}, "exports_env", reserved=())
        ),
        **{name: resources.get(name) for name in _RESOURCES},
    }


def build_options(job: Mapping[str, Any]) -> dict[str, str | int | bool | None]:
    """Build the sbatch options that win over the script.

    job_name, dependency, comment, kill_on_invalid_dep.

    A job whose dependency can never come true any more ends instead of waiting for ever.
    """
    dependency = job.get("dependency") or None
    return {
        "job_name": to_job_name(str(job["name"])),
        "dependency": _check_word(dependency, "dependency") if dependency else None,
        "comment": _check_word(job.get("comment") or "", "comment") or None,
        "kill_on_invalid_dep": "yes" if dependency else None,
    }


def to_job_name(name: str) -> str:
    """Convert a name to one for SLURM, which log files can carry.

    All but letters, digits, `_`, `.`, `-` becomes `_`.
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:_LONGEST_NAME] or "job"


# --------------------------------------------------------------------------------------------------------- #SBATCH


def _list_directives(job: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    resources = job.get("resources") or {}
    yield "job-name", to_job_name(str(job["name"]))
    for name, option in _NUMBERS:
        if resources.get(name) is not None and not (name == "gpus_per_node" and resources[name] == 0):
            yield option, _format_number(resources[name], f"resources.{name}")
    if resources.get("cpus_per_task") is not None:
        yield "cpus-per-task", _format_number(resources["cpus_per_task"], "resources.cpus_per_task")
    for name, option in _WORDS:
        value = resources.get(name)
        if value not in (None, ""):
            yield (
                option,
                _quote_directive(_normalize_memory(str(value)) if option == "mem" else str(value), f"resources.{name}"),
            )
    log = _quote_directive(_build_log_path(job), "log_dir")
    yield "output", log
    yield "error", log
    if job.get("work_dir"):
        yield "chdir", _quote_directive(str(job["work_dir"]), "work_dir")


def find_log_path(script: str, folder: str, name: str, job_id: str) -> str | None:
    """Find where a script submitted with the missing options logs.

    `name` as SLURM has it; None where the script chose another file.
    """
    if read_options(script).get("output") not in (None, _build_log_pattern(folder)):
        return None
    return f"{folder.rstrip('/')}/{name}_{job_id}.log" if folder else f"{name}_{job_id}.log"


def build_missing_options(script: str, work_dir: str, log_dir: str | None = None) -> dict[str, str]:
    """Build the sbatch options that the script does not set itself.

    `chdir`, and with `log_dir` also `output`.
    """
    given = read_options(script)
    folders = {} if "chdir" in given else {"chdir": work_dir}
    if log_dir is not None and "output" not in given:
        folders["output"] = _build_log_pattern(log_dir)
    return folders


def add_result_export(script: str, path: str) -> str:
    """Export SLUICE_RESULT before the script's first command.

    `%j` in the path becomes the job's id there.
    """
    before, _, after = path.partition("%j")
    quoted = shlex.quote(before) + ('"$SLURM_JOB_ID"' + shlex.quote(after) if after else "")
    return _begin_with(f"export SLUICE_RESULT={quoted}", script)


def require_folder(script: str, folder: str, is_chosen: bool = False) -> str:
    """Have the script fail where its job cannot enter its folder.

    That is this one, unless the script chooses another and it `is_chosen` by nobody. SLURM lets it run in /tmp then,
    where its files are lost.
    """
    folder = folder if is_chosen else read_options(script).get("chdir") or folder
    if not folder.startswith("/"):  # one of its own that depends on where sbatch is called
        return script
    quoted = shlex.quote(folder)
    text = shlex.quote(f"cannot enter the work folder {folder}: do the compute nodes see it?")
    return _begin_with(f"cd -- {quoted} || {{ echo {text} >&2; exit 1; }}", script)


def _begin_with(command: str, script: str) -> str:
    """Put a command before the first, on its line: none gets another number.

    The script is left as it is when no shell runs it.
    """
    if not re.match(rf"{PROGRAM_LINE}(?:ba|da|z|k)?sh\b", script):
        return script
    lines = script.split("\n")
    first = next((at for at, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), None)
    if first is None:
        return f"{script.rstrip()}\n{command}\n"
    lines[first] = f"{command}; {lines[first]}"
    return "\n".join(lines)


def _build_log_path(job: Mapping[str, Any]) -> str:
    return _build_log_pattern(str(job.get("log_dir") or ""))


def _build_log_pattern(folder: str) -> str:
    if "\\" in folder:
        # sbatch(1): a backslash in a file name pattern switches all symbols off.
        raise ValueError("log_dir: a backslash cannot be part of a log folder")
    literal = folder.rstrip("/").replace("%", "%%")
    return f"{literal}/%x_%j.log" if folder else "%x_%j.log"


def _normalize_memory(text: str) -> str:
    # sbatch takes whole numbers only; 1.5GB is what people write.
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])i?B?\s*", text, re.IGNORECASE | re.ASCII)
    if match is None:
        return text
    number, unit = float(match[1]), match[2].upper()
    return f"{int(number)}{unit}" if number.is_integer() else f"{math.ceil(number * 1024 ** ('KMGT'.index(unit)))}K"


def _quote_directive(value: str, field: str) -> str:
    # sbatch splits the line at blanks, takes quotes away and stops at `#`.
    _check_word(value, field)
    if re.fullmatch(r"[\w@%+=:,./\[\]-]+", value):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def _format_number(value: Any, field: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{field}: {value!r} is not a whole number")
    return str(value)


# ------------------------------------------------------------------------------------------------------ environment


def _get_environment(job: Mapping[str, Any]) -> Mapping[str, Any]:
    return job.get("environment") or {}


def _export_cpus_per_task(job: Mapping[str, Any]) -> list[str]:
    # Since 22.05 srun does not take --cpus-per-task over from sbatch (srun(1)).
    cpus = (job.get("resources") or {}).get("cpus_per_task")
    return [f"export SRUN_CPUS_PER_TASK={_format_number(cpus, 'resources.cpus_per_task')}"] if cpus is not None else []


def _build_exports(named: Mapping[str, Any], field: str, reserved: tuple[str, ...] = _RESERVED) -> list[str]:
    lines = []
    for name, value in named.items():
        if not _NAME.fullmatch(name) or name.startswith(reserved):
            raise ValueError(f"{field}: {name[:60]!r} cannot be the name of a variable")
        if "\0" in str(value):
            raise ValueError(f"{field}.{name}: a NUL character cannot be part of a variable")
        lines.append(f"export {name}={_quote(str(value))}")
    return lines


def _build_software_setup(environment: Mapping[str, Any]) -> str:
    conda, venv = environment.get("conda"), environment.get("venv")
    if conda and venv:
        raise ValueError("environment: only one of conda and venv can be used")
    if conda:
        return _CONDA.replace("{name}", shlex.quote(_check_word(conda, "environment.conda")))
    if venv:
        return _VENV.replace("{path}", shlex.quote(_check_word(venv, "environment.venv").rstrip("/")))
    return ""


def _build_container(container: Mapping[str, Any]) -> tuple[str, str, str]:
    # (lines of setup, flags for srun, prefix of the command)
    runtime = container.get("runtime") or "pyxis"
    if runtime == "pyxis":
        return _build_pyxis_setup(container), '"${CONTAINER_ARGS[@]}"', ""
    if runtime not in ("apptainer", "singularity"):
        raise ValueError(f"environment.container.runtime: {str(runtime)[:40]!r} is not known")
    return "", "", " ".join(map(_quote, _build_apptainer_prefix(runtime, container)))


def _build_pyxis_setup(container: Mapping[str, Any]) -> str:
    words = [f"--container-image={_get_container_field(container, 'image')}"]
    mounts = _list_mounts(container)
    words += [f"--container-mounts={','.join(mounts)}"] if mounts else []
    words += [f"--container-workdir={_get_container_field(container, 'workdir')}"] if container.get("workdir") else []
    return "CONTAINER_ARGS=(\n" + "".join(f"    {_quote(word)}\n" for word in words) + ")"


def _build_apptainer_prefix(runtime: str, container: Mapping[str, Any]) -> list[str]:
    # --env may end a value at a comma, and takes quotes for its own; a variable of the runtime's holds anything.
    variables, options = [], []
    for name, value in (container.get("env") or {}).items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"environment.container.env: {name[:60]!r} cannot be the name of a variable")
        pair = f"{name}={_check_word(value, f'environment.container.env.{name}')}"
        if "," in pair or '"' in pair:
            variables.append(f"{runtime.upper()}ENV_{pair}")
        else:
            options += ["--env", pair]
    words = [*(["env", *variables] if variables else ()), runtime, "exec"]
    words += [f"--{flag.replace('_', '-')}" for flag in _FLAGS if container.get(flag)]
    words += ["--overlay", _get_container_field(container, "overlay")] if container.get("overlay") else []
    for mount in _list_mounts(container):
        words += ["--bind", mount]
    words += options
    words += ["--pwd", _get_container_field(container, "workdir")] if container.get("workdir") else []
    return [*words, _get_container_field(container, "image")]


_FLAGS = ("nv", "rocm", "cleanenv", "fakeroot", "writable_tmpfs")


def _list_mounts(container: Mapping[str, Any]) -> list[str]:
    return [_check_word(mount, "environment.container.mounts") for mount in container.get("mounts") or []]


def _get_container_field(container: Mapping[str, Any], name: str) -> str:
    value = _check_word(container.get(name) or "", f"environment.container.{name}")
    if not value:
        raise ValueError(f"environment.container.{name}: missing")
    return value


# ----------------------------------------------------------------------------------------------------- single words


# Texts that srun cannot take as they stand, since they begin with what only a shell knows (bash(1): reserved words,
# builtins that no program stands for, assignments, groups, comments).
_SHELL_ONLY = re.compile(
    r"\s*(?:[({#!;]|\[\[|[A-Za-z_]\w*(?:\[[^]]*\])?\+?=|(?:if|for|while|until|case|select|function|coproc|cd|pushd|popd"
    r"|export|unset|declare|local|readonly|typeset|set|shopt|source|\.|eval|exec|exit|return|trap|ulimit|umask|wait|shift"
    r"|let|read|alias|type|command|builtin|hash|mapfile|:)(?:[\s;&|<>(]|$))"
)


def _build_command(command: Any) -> str:
    """Build the words behind srun: quote a list, keep a text.

    A text that begins with what only a shell knows is given to a shell whole.
    """
    if isinstance(command, str):
        if "\0" in command:
            raise ValueError("command: a NUL character cannot be part of a script")
        text = command.strip("\n")
        return f"bash -euo pipefail -c {shlex.quote(text)}" if _SHELL_ONLY.match(text) else text
    words = [str(word) for word in command]
    if any("\0" in word for word in words):
        raise ValueError("command: a NUL character cannot be part of a script")
    return shlex.join(words)


def _quote(text: str) -> str:
    """Quote a word for the shell, but for its references to secrets."""
    parts = enumerate(_REFERENCE.split(text))
    return "".join(f'"{part}"' if at % 2 else shlex.quote(part) for at, part in parts if part) or "''"


def _check_word(value: Any, field: str) -> str:
    text = str(value)
    if _CONTROL.search(text):
        raise ValueError(f"{field}: line breaks and control characters cannot be part of it")
    return text


def _check_line(value: Any, field: str) -> str:
    return _check_word(value or "", field).strip()


def _join_words(*parts: str) -> str:
    return " ".join(part for part in parts if part)

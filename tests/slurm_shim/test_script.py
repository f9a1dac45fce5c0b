"""The batch script of a job: its text, and what bash really makes of it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_shim.directives import read_options
from slurm_shim.script import (
    TASK_NUMBER,
    build_missing_options,
    build_options,
    build_variables,
    find_log_path,
    mask_references,
    refer_to_secret,
    render_program_script,
    render_script,
    require_folder,
    to_job_name,
)

FULL: dict[str, Any] = {
    "name": "train model",
    "command": ["python", "train.py", "--note", "it's"],
    "resources": {
        "nodes": 2,
        "gpus_per_node": 4,
        "ntasks_per_node": 4,
        "cpus_per_task": 8,
        "memory_per_node": "64GB",
        "time_limit": "8:00:00",
        "nodelist": "node[01-02]",
        "partition": "gpu",
    },
    "environment": {"venv": "/opt/my env", "env_vars": {"TOKEN": "a b"}},
    "work_dir": "/scratch/run",
    "log_dir": "/scratch/run/logs",
    "srun_args": "--mpi=pmix",
    "launch_prefix": "nice -n 5",
    "exports_env": {"SLUICE_RESULT": "/scratch/result.json"},
}


def test_the_whole_script() -> None:
    assert render_script(FULL) == (
        "#!/bin/bash\n"
        "\n"
        "#SBATCH --job-name=train_model\n"
        "#SBATCH --nodes=2\n"
        "#SBATCH --gpus-per-node=4\n"
        "#SBATCH --ntasks-per-node=4\n"
        "#SBATCH --cpus-per-task=8\n"
        "#SBATCH --mem=64G\n"
        "#SBATCH --time=8:00:00\n"
        "#SBATCH --nodelist=node[01-02]\n"
        "#SBATCH --partition=gpu\n"
        "#SBATCH --output=/scratch/run/logs/%x_%j.log\n"
        "#SBATCH --error=/scratch/run/logs/%x_%j.log\n"
        "#SBATCH --chdir=/scratch/run\n"
        "#SBATCH --wait-all-nodes=1\n"
        "\n"
        "set -euo pipefail\n"
        "export WORLD_SIZE=${SLURM_NTASKS:-1}\n"
        "export SRUN_CPUS_PER_TASK=8\n"
        "export TOKEN='a b'\n"
        "export SLUICE_RESULT=/scratch/result.json\n"
        "# Environment setup\n"
        "set +u\n"
        "source '/opt/my env'/bin/activate\n"
        "set -u\n"
        "# Execute command\n"
        "srun --mpi=pmix nice -n 5 python train.py --note 'it'\"'\"'s'\n"
    )


def test_the_smallest_script() -> None:
    assert render_script({"name": "a", "command": "echo done > report"}) == (
        "#!/bin/bash\n\n#SBATCH --job-name=a\n#SBATCH --output=%x_%j.log\n#SBATCH --error=%x_%j.log\n"
        "#SBATCH --wait-all-nodes=1\n\nset -euo pipefail\nexport WORLD_SIZE=${SLURM_NTASKS:-1}\n"
        "# Execute command\nsrun echo done > report\n"
    )


def lines(job: dict[str, Any]) -> list[str]:
    return render_script({"name": "a", "command": "true"} | job).splitlines()


@pytest.mark.parametrize(
    ("why", "job", "line"),
    [
        ("no GPUs, no line", {"resources": {"gpus_per_node": 0, "nodes": 1}}, "#SBATCH --nodes=1"),
        ("decimals, which sbatch refuses", {"resources": {"memory_per_node": "1.5GB"}}, "#SBATCH --mem=1572864K"),
        ("what is no memory is sbatch's to refuse", {"resources": {"memory_per_node": "lots"}}, "#SBATCH --mem=lots"),
        ("a blank is quoted", {"work_dir": "/a b"}, '#SBATCH --chdir="/a b"'),
        ("quotes, backslashes, number signs", {"work_dir": '/a"\\#'}, '#SBATCH --chdir="/a\\"\\\\#"'),
        ("a percent sign in a folder is no symbol", {"log_dir": "/l%j/"}, "#SBATCH --output=/l%%j/%x_%j.log"),
        ("logs in the root", {"log_dir": "/"}, "#SBATCH --output=/%x_%j.log"),
        (
            "a container by pyxis",
            {"environment": {"container": {"image": "/i.sqsh", "mounts": ["/a:/a", "/b c:/b"], "workdir": "/w"}}},
            'srun "${CONTAINER_ARGS[@]}" true',
        ),
        (
            "mounts of pyxis",
            {"environment": {"container": {"image": "/i.sqsh", "mounts": ["/a:/a", "/b c:/b"]}}},
            "    '--container-mounts=/a:/a,/b c:/b'",
        ),
        (
            "a container by apptainer",
            {
                "environment": {
                    "container": {
                        "runtime": "apptainer",
                        "image": "i.sif",
                        "nv": True,
                        "writable_tmpfs": True,
                        "overlay": "o",
                        "mounts": ["/a:/a"],
                        "env": {"K": "v w"},
                        "workdir": "/w",
                        "rocm": False,
                    }
                }
            },
            "srun apptainer exec --nv --writable-tmpfs --overlay o --bind /a:/a --env 'K=v w' --pwd /w i.sif true",
        ),
        (
            "what apptainer's --env would take for further variables, or for its own quotes",
            {
                "environment": {
                    "container": {
                        "runtime": "apptainer",
                        "image": "i.sif",
                        "nv": True,
                        "env": {"K": "a=b,PATH=c", "L": 'say "x"', "M": "a=b"},
                    }
                }
            },
            "srun env APPTAINERENV_K=a=b,PATH=c 'APPTAINERENV_L=say \"x\"' apptainer exec --nv --env M=a=b i.sif true",
        ),
        (
            "a job's own arguments come after the generated ones",
            {
                "environment": {"container": {"runtime": "singularity", "image": "i.sif"}},
                "srun_args": " -l ",
                "launch_prefix": "numactl -N0",
            },
            "srun -l singularity exec i.sif numactl -N0 true",
        ),
        ("conda by name", {"environment": {"conda": "my env"}}, "conda activate 'my env'"),
        ("a job without a usable name", {"name": ""}, "#SBATCH --job-name=job"),
    ],
)
def test_a_line(why: str, job: dict[str, Any], line: str) -> None:
    assert line in lines(job), why
    assert not any("gpus-per-node=0" in other for other in lines(job))


@pytest.mark.parametrize(
    ("field", "job"),
    [
        ("work_dir", {"work_dir": "/a\n#SBATCH --uid=0"}),
        ("log_dir", {"log_dir": "/a\nb"}),
        ("log_dir", {"log_dir": "/a\\b"}),
        ("resources.partition", {"resources": {"partition": "a\rb"}}),
        ("resources.nodelist", {"resources": {"nodelist": "a\0"}}),
        ("resources.nodes", {"resources": {"nodes": "1\n#SBATCH -x"}}),
        ("resources.nodes", {"resources": {"nodes": True}}),
        ("resources.cpus_per_task", {"resources": {"cpus_per_task": -1}}),
        ("srun_args", {"srun_args": "-l\nrm x"}),
        ("launch_prefix", {"launch_prefix": "a\tb"}),
        ("environment.conda", {"environment": {"conda": "a\nb"}}),
        ("environment.venv", {"environment": {"venv": "a\nb"}}),
        ("environment", {"environment": {"conda": "a", "venv": "b"}}),
        ("environment.env_vars", {"environment": {"env_vars": {"A B": "x"}}}),
        ("environment.env_vars", {"environment": {"env_vars": {"SLURM_JOB_ID": "x"}}}),
        ("environment.env_vars.A", {"environment": {"env_vars": {"A": "x\0"}}}),
        ("exports_env", {"exports_env": {"A;id": "x"}}),
        ("environment.container.image", {"environment": {"container": {"mounts": []}}}),
        ("environment.container.mounts", {"environment": {"container": {"image": "i", "mounts": ["a\nb"]}}}),
        ("environment.container.runtime", {"environment": {"container": {"image": "i", "runtime": "docker"}}}),
        (
            "environment.container.env",
            {"environment": {"container": {"image": "i", "runtime": "apptainer", "env": {"=": ""}}}},
        ),
        ("command", {"command": ["a\0"]}),
        ("command", {"command": "a\0"}),
    ],
)
def test_what_cannot_be_part_of_a_script_is_refused_by_name(field: str, job: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        render_script({"name": "a", "command": "true"} | job)


def test_a_command_as_text_goes_in_as_it_is() -> None:
    assert render_script({"name": "a", "command": "a | b\nc\n"}).endswith("# Execute command\nsrun a | b\nc\n")


def test_what_templates_may_use() -> None:
    known = build_variables(FULL)
    assert known["command"] == "python train.py --note 'it'\"'\"'s'"
    assert (known["job_name"], known["partition"], known["nodes"], known["container"]) == (
        "train_model",
        "gpu",
        2,
        None,
    )
    assert known["exports"] == "export TOKEN='a b'\nexport SLUICE_RESULT=/scratch/result.json"
    smallest = build_variables({"name": "a", "command": "true"})
    assert smallest.keys() == known.keys()
    assert smallest["memory_per_node"] is None


def test_options_that_win_over_the_script() -> None:
    job = {"name": "x/../y z", "command": "true", "dependency": "afterok:1,afterany:2", "comment": "sluice:ab"}
    assert build_options(job) == {
        "job_name": "x_.._y_z",
        "dependency": "afterok:1,afterany:2",
        "comment": "sluice:ab",
        "kill_on_invalid_dep": "yes",
    }
    assert build_options({"name": "a", "command": "true"}) == dict.fromkeys(
        ("dependency", "comment", "kill_on_invalid_dep")
    ) | {"job_name": "a"}


@given(st.text())
def test_names_are_safe(name: str) -> None:
    made = to_job_name(name)
    assert 0 < len(made) <= 200
    assert "/" not in made
    assert shlex.quote(made) == made


# -------------------------------------------------------------------------------------------------- run by bash


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs a rendered script under plain bash, with an srun that just runs its command; gives back (code, output)."""
    folder = tmp_path_factory.mktemp("bash")
    srun = folder / "srun"
    srun.write_text('#!/bin/sh\nexec "$@"\n')
    srun.chmod(0o755)

    def run(job: dict[str, Any], **env: str) -> tuple[int, str]:
        environment = {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder)} | env
        ended = subprocess.run(
            ["/bin/bash"],
            input=render_script(job).encode(),
            capture_output=True,
            env=environment,
            cwd=folder,
            timeout=300,
        )
        return ended.returncode, (ended.stdout + ended.stderr).decode()

    return run


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=30, deadline=None)
@given(words=st.lists(TEXT, max_size=3), value=TEXT)
def test_words_and_variables_arrive_unchanged(bash: Any, words: list[str], value: str) -> None:
    job = {
        "name": "a",
        "command": ["printf", "%s\\0", *words, "end"],
        "environment": {"env_vars": {"A": value}},
    }
    assert bash(job) == (0, "".join(f"{word}\0" for word in [*words, "end"]))
    assert bash(job | {"command": ["printenv", "-0", "A"]}) == (0, value + "\0")


@pytest.mark.parametrize(
    ("why", "command", "code"),
    [
        ("its own exit code", ["bash", "-c", "exit 7"], 7),
        ("a failure in the middle of a pipe", "false | true", 1),
        ("a missing program", ["no-such-program"], 127),
        ("success", "true", 0),
    ],
)
def test_exit_codes(bash: Any, why: str, command: Any, code: int) -> None:
    assert bash({"name": "a", "command": command})[0] == code, why


@pytest.mark.parametrize(
    ("why", "text", "code", "said"),
    [
        ("a loop", "for i in 1 2; do echo $i; done", 0, "1\n2\n"),
        ("a condition", "if true; then echo yes; fi", 0, "yes\n"),
        ("until", "until true; do :; done; echo over", 0, "over\n"),
        ("a folder first", "cd / && pwd", 0, "/\n"),
        ("a folder first, a line each", "cd /\npwd\n", 0, "/\n"),
        ("a variable first", 'A="it\'s" printenv A', 0, "it's\n"),
        ("a variable of its own", "A=1; B+=2; echo $A$B", 0, "12\n"),
        ("a comment first", "# why\necho it", 0, "it\n"),
        ("a group", "{ echo a; echo b; }", 0, "a\nb\n"),
        ("a subshell", "(cd / && pwd)", 0, "/\n"),
        ("a negation", "! true", 1, ""),
        ("a test of bash", "[[ a == a* ]] && echo is", 0, "is\n"),
        ("a code of its own", "exit 3", 3, ""),
        ("a failure in the middle ends it", "export A=1; false; echo never", 1, ""),
        ("blanks before", "  : && echo it", 0, "it\n"),
    ],
)
def test_a_text_that_only_a_shell_knows_is_given_to_one(bash: Any, why: str, text: str, code: int, said: str) -> None:
    assert bash({"name": "a", "command": text}) == (code, said), why
    assert len(re.findall("^srun ", render_script({"name": "a", "command": text}), re.MULTILINE)) == 1, (
        "all of it a step"
    )


@pytest.mark.parametrize(
    "text", ["format x", "./if.sh", "cdx", "exit-code", "echo A=1; x", "[ -f x ]", "$CMD x", "do-it", "trap-x", "~/x"]
)
def test_a_text_that_begins_with_a_program_stands_as_it_is(text: str) -> None:
    assert render_script({"name": "a", "command": text}).endswith(f"\nsrun {text}\n")


@pytest.mark.parametrize(
    ("why", "script", "made"),
    [
        (
            "the line of the first command",
            "#!/bin/sh\n# c\n\ntrue\nfalse\n",
            "#!/bin/sh\n# c\n\n{guard}; true\nfalse\n",
        ),
        ("no command", "#!/bin/bash -l\n", "#!/bin/bash -l\n{guard}\n"),
        (
            "its own folder, the same",
            "#!/bin/sh\n#SBATCH -D '/a b'\ntrue",
            "#!/bin/sh\n#SBATCH -D '/a b'\n{guard}; true",
        ),
        ("its own folder, a relative one", "#!/bin/sh\n#SBATCH -D c\ntrue", "#!/bin/sh\n#SBATCH -D c\ntrue"),
        ("through env", "#!/usr/bin/env -S bash -l\ntrue", "#!/usr/bin/env -S bash -l\n{guard}; true"),
        ("no shell", "#!/usr/bin/python3\nprint()\n", "#!/usr/bin/python3\nprint()\n"),
    ],
)
def test_a_script_that_needs_its_folder(why: str, script: str, made: str) -> None:
    said = "cannot enter the work folder /a b: do the compute nodes see it?"
    guard = f"cd -- '/a b' || {{ echo '{said}' >&2; exit 1; }}"
    assert require_folder(script, "/a b") == made.format(guard=guard), why


def test_a_folder_that_the_script_chooses_is_the_one_it_needs() -> None:
    assert "\ncd -- /c ||" in require_folder("#!/bin/sh\n#SBATCH -D /c\ntrue", "/a b")


@pytest.mark.parametrize(
    ("why", "options", "chosen"),
    [
        ("none", "", {"chdir": "/w", "output": "/l/%x_%j.log"}),
        ("both, in other words", "#SBATCH -D/x --outp y", {}),
        ("of a name that begins alike", "#SBATCH --open-mode=append", {"chdir": "/w", "output": "/l/%x_%j.log"}),
        ("in a value", "#SBATCH --comment='-D x -o y'", {"chdir": "/w", "output": "/l/%x_%j.log"}),
    ],
)
def test_options_that_a_script_leaves_out(why: str, options: str, chosen: dict[str, str]) -> None:
    script = f"#!/bin/sh\n{options}\ntrue\n#SBATCH -D /late\n"
    assert build_missing_options(script, "/w", "/l") == chosen, why
    assert find_log_path(script, "/l", "n", "7") == ("/l/n_7.log" if "output" in chosen else None), why


def test_conda_is_found_where_the_job_runs(bash: Any, tmp_path: Path) -> None:
    base = tmp_path / "miniforge3"
    (base / "bin").mkdir(parents=True)
    (base / "etc/profile.d").mkdir(parents=True)
    (base / "bin/conda").write_text(f"#!/bin/sh\necho {base}\n")
    (base / "bin/conda").chmod(0o755)
    # Reads a variable that is not set, as the real one does.
    (base / "etc/profile.d/conda.sh").write_text('conda() { echo "conda $* $PS1"; }\n')
    job = {"name": "a", "command": "echo ready", "environment": {"conda": "my env"}}
    assert bash(job, HOME=str(tmp_path)) == (0, "conda activate my env \nready\n")


def test_a_virtual_environment(bash: Any, tmp_path: Path) -> None:
    (tmp_path / "my env/bin").mkdir(parents=True)
    (tmp_path / "my env/bin/activate").write_text('IN_VENV="yes$UNSET"; export IN_VENV\n')
    job = {"name": "a", "command": "printenv IN_VENV", "environment": {"venv": f"{tmp_path}/my env/"}}
    assert bash(job) == (0, "yes\n")


def test_the_arguments_of_a_container_stay_whole(bash: Any) -> None:
    container = {"image": "/i m.sqsh", "mounts": ["/a:/a", "/b c:/b"]}
    job = {"name": "a", "command": "after", "environment": {"container": container}}
    # The srun of this test runs its arguments: the first one fails, but under its whole name.
    code, said = bash(job)
    assert code == 127
    assert "--container-image=/i m.sqsh" in said


def test_a_reference_to_a_secret_is_what_the_shell_expands() -> None:
    place = refer_to_secret("env_vars.A_TOKEN")
    env = {"A_TOKEN": place, "URL": f"a b{place}'c"}
    flags = {
        "apptainer": f"""--env A_TOKEN="{place}" --env 'URL=a b'"{place}"''"'"'c' "{place}" true\n""",
        "pyxis": f'    --container-image="{place}"\n',
    }
    for runtime, words in flags.items():
        environment = {"env_vars": env, "container": {"runtime": runtime, "image": place, "env": env}}
        text = render_script({"name": "a", "command": "true", "environment": environment})
        assert words in text and f'export A_TOKEN="{place}"\n' in text
        assert place not in mask_references(text) and "export A_TOKEN=***\n" in mask_references(text)


def test_a_script_that_becomes_one_of_our_programs(tmp_path: Path) -> None:
    work = tmp_path / 'it\'s 100% "mine"'
    work.mkdir()
    program = work / "show.py"
    program.write_text("import os, sys; print(os.getcwd(), *sys.argv[1:], os.getppid(), sep='\\n')")
    options: dict[str, str | bool] = {"comment": 'a "b" # c', "hold": True}
    words = ["python3", str(program), TASK_NUMBER, "$HOME"]
    text = render_program_script(options, ["export A=1"], str(work), words, "task_%4a.log", array="1-3")
    output = f"{work}/logs/task_%4a.log".replace("100%", "100%%")
    expected = {"comment": 'a "b" # c', "hold": None, "chdir": str(work), "output": output, "array": "1-3"}
    assert dict(read_options(text)) == expected
    environment = {"PATH": os.environ["PATH"], "SLURM_ARRAY_TASK_ID": "7 8"}
    ended = subprocess.run(["bash"], input=text, text=True, env=environment, capture_output=True, check=True)
    folder, *rest, parent = ended.stdout.splitlines()
    assert (folder, rest, parent) == (str(work), ["7 8", "$HOME"], str(os.getpid())), "the shell is gone"
    assert text.startswith("#!/bin/bash\n")
    loading = render_program_script({}, ["module load x"], str(work), ["python3"], "collect.log")
    assert loading.startswith("#!/bin/bash -l\n"), "module is a function of login shells"
    for wrong, folder in ((["a\nb"], str(work)), (["1"], "/a\\b")):
        with pytest.raises(ValueError, match=r"line breaks|backslash"):
            render_program_script({"time": wrong[0]}, [], folder, ["python3"], "collect.log")

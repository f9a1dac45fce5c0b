"""Options and headers that owners of simulations choose: nothing of them starts a program or names a file."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_shim.embedded import request
from store.errors import Invalid
from store.rules.simulations import batch_options

DEFAULT = {"time": "00:59:59"}


def test_all_options_of_sbatch_are_known() -> None:
    known = set(batch_options.KINDS) | set(batch_options.NOT_TAKEN)
    assert known == {entry.rstrip("=?").partition("/")[0] for entry in request.TABLE.split()}
    assert set(batch_options.TAKEN.split()) | set(batch_options.REFUSED.split()) == set(request.TABLE.split())
    assert not set(batch_options.KINDS) & set(batch_options.NOT_TAKEN)


@pytest.mark.parametrize(
    ("why", "given", "array", "collect"),
    [
        ("nothing asked for", {}, DEFAULT, DEFAULT),
        (
            "the document's options are for both",
            {"cluster_name": "x", "slurm_options": {"time": "01:00:00", "partition": "plgrid"}},
            {"time": "01:00:00", "partition": "plgrid"},
            {"time": "01:00:00", "partition": "plgrid"},
        ),
        (
            "each job has its own",
            {"array_options": {"time": "0:15:00"}, "collect_options": {"mem": "2G"}},
            {"time": "0:15:00"},
            DEFAULT | {"mem": "2G"},
        ),
        (
            "own options win over a header, and that over the shared ones",
            {
                "slurm_options": {"partition": "a", "qos": "q"},
                "array_header": "#SBATCH -p b --qos=r\n",
                "array_options": {"p": "c"},
            },
            DEFAULT | {"partition": "c", "qos": "r"},
            DEFAULT | {"partition": "a", "qos": "q"},
        ),
        ("a letter", {"array_options": {"p": "x", "-A": "acc", "n": 4}},
         DEFAULT | {"partition": "x", "account": "acc", "ntasks": "4"}, DEFAULT),
        ("hyphens before it", {"array_options": {"--cpus-per-task": 2}}, DEFAULT | {"cpus-per-task": "2"}, DEFAULT),
        ("underscores", {"array_options": {"cpus_per_task": 2.0}}, DEFAULT | {"cpus-per-task": "2"}, DEFAULT),
        ("without a value", {"array_options": {"requeue": True, "contiguous": ""}},
         DEFAULT | {"requeue": True, "contiguous": True}, DEFAULT),
        ("left out", {"array_options": {"requeue": False, "partition": None}}, DEFAULT, DEFAULT),
        ("a value that may be missing", {"array_options": {"exclusive": True, "nice": "10"}},
         DEFAULT | {"exclusive": True, "nice": "10"}, DEFAULT),
        ("null for the whole", {"array_options": None, "array_header": None}, DEFAULT, DEFAULT),
        ("characters of a shell are only characters", {"array_options": {"comment": "$(id); `id` 'x' # \"y\""}},
         DEFAULT | {"comment": "$(id); `id` 'x' # \"y\""}, DEFAULT),
    ],
)  # fmt: skip
def test_options(why: str, given: dict[str, Any], array: dict[str, Any], collect: dict[str, Any]) -> None:
    options = batch_options.check_batch_options(given)
    assert (options.array, options.collect) == (array, collect), why


@pytest.mark.parametrize(
    ("why", "options", "problem"),
    [
        ("a typo", {"partitoin": "x"}, "sbatch has no option 'partitoin'; did you mean 'partition'?"),
        ("no option", {"9": "x"}, "sbatch has no option '9'"),
        ("an injected key", {"x;id": "1"}, "sbatch has no option 'x;id'"),
        ("an injected line", {"x\n#SBATCH --wrap": "1"}, "sbatch has no option"),
        ("the array is ours", {"array": "1-100"}, "the option --array of sbatch cannot be chosen"),
        ("its letter", {"a": "1-100"}, "--array"),
        ("the merge waits for the tasks", {"dependency": "singleton"}, "--dependency"),
        ("variables could start programs", {"export": "ALL,BASH_ENV=/tmp/x"}, "--export"),
        ("a command", {"wrap": "id"}, "--wrap"),
        ("a file that is written", {"output": "/home/me/.bashrc"}, "--output"),
        ("another", {"e": "x"}, "--error"),
        ("where it works", {"chdir": "/"}, "--chdir"),
        ("where it is submitted", {"M": "all"}, "--clusters"),
        ("as whom", {"uid": "0"}, "--uid"),
        ("nothing would run", {"test-only": True}, "--test-only"),
        ("two lines", {"comment": "a\nb"}, "one line"),
        ("a carriage return", {"comment": "a\rb"}, "one line"),
        ("NUL", {"comment": "a\0"}, "one line"),
        ("another line break", {"comment": "a\u2028b"}, "one line"),
        ("half a surrogate pair", {"comment": "\ud800"}, "one line"),
        ("long", {"comment": "x" * 1001}, "at most 1000 characters"),
        ("an empty value", {"partition": " "}, "--partition needs a value"),
        ("a list", {"partition": ["a"]}, "--partition needs a value"),
        ("true for a value", {"partition": True}, "--partition needs a value"),
        ("a value for none", {"requeue": "maybe"}, "--requeue has no value"),
        ("a file of nodes", {"nodelist": "./x"}, "has no slash"),
        ("its letter", {"w": "/etc/hosts"}, "has no slash"),
        ("a name of a file", {"J": "../x"}, "has no slash"),
    ],
)
def test_refused_options(why: str, options: dict[str, Any], problem: str) -> None:
    for key in ("array_options", "collect_options", "slurm_options"):
        with pytest.raises(Invalid) as found:
            batch_options.check_batch_options({key: options})
        assert problem in str(found.value), why
        assert found.value.problems[0]["loc"][:3] == ["body", "batch_options", key]


@pytest.mark.parametrize(
    ("why", "header", "options", "lines"),
    [
        ("none", "", {}, []),
        ("a module", "module load plgrid/tools/shieldhit/1.0\n", {}, ["module load plgrid/tools/shieldhit/1.0"]),
        ("its short form", "  ml  fluka   gcc/12.2\r\n", {}, ["module load fluka gcc/12.2"]),
        ("short, with its word", "ml unload fluka\nml purge", {}, ["module unload fluka", "module purge"]),
        ("no folder of modules", "ml use input", {}, ["module load use input"]),
        ("no module that is a file", "ml source input/x", {}, ["module load source input/x"]),
        ("without them", "module purge", {}, ["module purge"]),
        ("comments and empty lines", "#!/bin/bash\n# hello\n\n   \n#SBATCHx", {}, []),
        ("both", "#SBATCH --time=1:00\nmodule load a\n", {"time": "1:00"}, ["module load a"]),
        ("several options", "#SBATCH -N 1 -n4 --mem 2G --exclusive # rest", {"nodes": "1", "ntasks": "4", "mem": "2G",
         "exclusive": True}, []),
        ("quotes", "#SBATCH --comment='a b' -J \"x y\"", {"comment": "a b", "job-name": "x y"}, []),
        ("a tab", "#SBATCH\t--qos=x", {"qos": "x"}, []),
    ],
)  # fmt: skip
def test_headers(why: str, header: str, options: dict[str, Any], lines: list[str]) -> None:
    assert batch_options.parse_header(header, ()) == (options, lines), why


@pytest.mark.parametrize(
    ("why", "header", "problem"),
    [
        ("a command", "id > /tmp/x", "line 1 is neither #SBATCH nor 'module load'"),
        ("a variable", "\nexport LD_PRELOAD=/x", "line 2 is neither"),
        ("a folder of modules", "module use /tmp/mine", "is neither"),
        ("a folder of the work folder", "module use input", "is neither"),
        ("none", "module load", "is neither"),
        ("what is loaded", "ml", "is neither"),
        ("more than all", "module purge x", "is neither"),
        ("a module that is a file", "module load /tmp/x", "is neither"),
        ("a module beside", "module load ./x", "is neither"),
        ("a module above", "module load a/../../x", "is neither"),
        ("a second command", "module load a; id", "is neither"),
        ("a substitution", "module load $(id)", "is neither"),
        ("a continuation", "module load a \\\n", "is neither"),
        ("a background", "module load a &", "is neither"),
        ("an option that is ours", "#SBATCH --array=1-9", "--array"),
        ("its letter", "#SBATCH -a1-9", "--array"),
        ("a typo", "#SBATCH --tme=1", "did you mean 'time'?"),
        ("a word", "#SBATCH hello", "'hello' is no option"),
        ("a quote without its end", "#SBATCH --comment='a", "line 1: No closing quotation"),
        ("no value", "#SBATCH --time", "--time needs a value"),
        ("a value for none", "#SBATCH --requeue=x", "--requeue has no value"),
        ("a control character", "#SBATCH --comment=a\x1bb", "control characters"),
        ("an old line break", "# a\rid", "control characters"),
        ("long", "#" * 1001, "too long"),
        ("many", "\n" * 200, "at most 200 lines"),
    ],
)
def test_refused_headers(why: str, header: str, problem: str) -> None:
    with pytest.raises(Invalid) as found:
        batch_options.check_batch_options({"collect_header": header})
    assert problem in str(found.value), why


@given(st.text(max_size=200))
def test_any_header_is_taken_or_refused(header: str) -> None:
    try:
        options, lines = batch_options.parse_header(header, ())
    except Invalid:
        return
    assert all(batch_options.MODULE_LINE.fullmatch(line) for line in lines)
    assert all("\n" not in str(value) for value in options.values())


@given(
    st.dictionaries(
        st.text(max_size=20), st.none() | st.booleans() | st.integers() | st.text(max_size=50) | st.floats()
    )
)
def test_any_options_are_taken_or_refused(given: dict[str, Any]) -> None:
    try:
        options = batch_options.check_options(given, ())
    except Invalid:
        return
    assert set(options) <= set(batch_options.KINDS)

"""Names and sentences: a stranger understands each at first sight. Read from the source by `ast`."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract_judge import operations as list_operations
from tests.test_layout import ROOT, SOURCES, name_of, part, tree

TESTS = sorted((ROOT / "tests").rglob("*.py"))
LINE = 72
FILES_PER_FOLDER = 20
Function = ast.FunctionDef | ast.AsyncFunctionDef

# First words of sentences and names. Both lists grow by hand, when a plain verb is missing.
VERBS = """
    abandon accept acknowledge acquire activate add admit adopt advance answer append apply archive ask attempt
    await back begin bound bring browse build call cancel carry catch change check choose claim classify clean clear
    close collect combine commit compare compile complete compose compress compute confirm connect convert copy
    count create cut deactivate deal decide decode decompress delete describe detect diff disable discard display do
    download draft drain draw drop dump edit empty enable end ensure enter escape examine exchange expand explain
    export extend extract fail feed fetch fill filter find finish flatten fold follow forget fork format frame
    freeze fsync gather get give go group guard hand hang hash have hide hold identify ignore include index init
    insert install intend issue iterate join judge keep launch lead learn leave let limit link list listen load
    locate lock log look make mark mask match measure memorize merge move name narrow note notify number observe
    open order pack pad parse pass pause perform pick place plan poll pop post prepare preview print prune put queue
    quote raise rank reach read rebuild receive reconcile record recover redact refresh refuse register release
    remember remove rename render renew reopen replace report represent request requeue require rerun reserve reset
    resolve restart restore resume retract retry return revoke rewrite round run save scan schedule search select
    send serve set settle share shorten show signal skip sleep sort spawn spend splice split spread start stop store
    stream strip submit subscribe suggest sum summarize supervise suspend switch sync take tell test tidy touch
    trace transfer translate try turn undo unlink unlock unmask unpack unquote unsubscribe unwrap update upload use
    validate view wait wake walk watch widen wrap write yield
"""
IMPERATIVES = frozenset(VERBS.split())
# What begins a name beside these: questions that are answered by yes or no, and conversions.
QUESTIONS = frozenset({"is", "has", "can", "may", "needs", "wants", "accepts", "prefers"})
CONVERSIONS = frozenset(["to", "from", "as", "by", "on"])
# Names that a library or the command line looks for, and the word that every control loop has for its pass.
CALLED_BY_NAME = frozenset({"main", "getattr", "reconcile", "incr", "aclose"})
# Forms of verbs that say what was done instead of what is to be done.
PARTICIPLES = re.compile(
    r"_*([a-z]+ed|told|shown|made|found|heard|held|known|written|drawn|given|taken|kept|sent|seen|said|gone|going|left|laid|put_down)_*"
)
WORDS_LIKE_PARTICIPLES = frozenset({"feed", "seed", "speed", "need"})
# What a variable may not be called: none of these says what it holds.
EMPTY_WORDS = frozenset({"one", "told", "shown", "listed", "going", "news"})


def functions_of(path: Path) -> Iterator[tuple[Function, bool]]:
    """Each function that has a name of ours, and whether it is a module's own; without those inside of functions."""

    def walk(body: list[ast.stmt], top: bool) -> Iterator[tuple[Function, bool]]:
        for node in body:
            if isinstance(node, Function):
                yield node, top
            elif isinstance(node, ast.ClassDef):
                yield from walk(node.body, False)
            elif isinstance(node, ast.If | ast.Try | ast.With):
                yield from walk(node.body, top)

    for node, top in walk(tree(path).body, True):
        if not re.fullmatch("__[a-z_]+__", node.name):
            yield node, top


def is_noun(function: Function) -> bool:
    """Whether the function is read like an attribute."""
    marks = [ast.unparse(mark) for mark in function.decorator_list]
    return any(mark.endswith(("property", "fixture")) for mark in marks)


def docstrings_of(path: Path) -> Iterator[tuple[ast.AST, str]]:
    """Everything in a file that has a docstring, with its first line."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and (text := ast.get_docstring(node)):
            yield node, text.splitlines()[0]


def name_problem(name: str, top: bool) -> str | None:
    """What is wrong with a function's name in engine/ and store/; None for a good one."""
    if name in CALLED_BY_NAME:
        return None
    first, *rest = name.strip("_").split("_")
    if first not in IMPERATIVES | QUESTIONS | CONVERSIONS:
        return "does not begin with a verb"
    if top and not rest:
        return "is one word: of what?"
    return None


files = pytest.mark.parametrize("path", [pytest.param(path, id=name_of(path)) for path in SOURCES])


@files
def test_first_lines_are_short_sentences(path: Path) -> None:
    lines = [(getattr(node, "lineno", 1), line) for node, line in docstrings_of(path)]
    assert [(number, line) for number, line in lines if len(line) > LINE] == []
    assert [(number, line) for number, line in lines if line.startswith("Nothing")] == [], "the type says None"


@files
def test_functions_say_what_they_do_in_the_imperative(path: Path) -> None:
    found = []
    for function, _top in functions_of(path):
        text = ast.get_docstring(function)
        if text and not is_noun(function) and text.split()[0].rstrip(".,;:").lower() not in IMPERATIVES:
            found.append((function.lineno, function.name, text.splitlines()[0]))
    assert found == []


@files
def test_no_function_is_named_by_a_participle(path: Path) -> None:
    names = {function.name for function, _top in functions_of(path) if not is_noun(function)}
    assert {
        name for name in names if PARTICIPLES.fullmatch(name) and name.strip("_") not in WORDS_LIKE_PARTICIPLES
    } == set()


@files
def test_functions_of_engine_and_store_are_verb_and_noun(path: Path) -> None:
    if part(path) in ("engine", "store"):
        found = {
            (function.lineno, function.name): problem
            for function, top in functions_of(path)
            if not is_noun(function) and (problem := name_problem(function.name, top))
        }
        assert found == {}


@pytest.mark.parametrize(
    ("why", "name", "top", "good"),
    [
        ("verb and noun", "cancel_run", True, True),
        ("a private one", "_build_row", True, True),
        ("a question", "is_open", True, True),
        ("a verb on its own", "cancel", True, False),
        ("a method whose class is the noun", "put", False, True),
        ("a participle", "shown", False, False),
        ("a noun", "rows_of_jobs", True, False),
    ],
)
def test_what_counts_as_a_good_name(why: str, name: str, top: bool, good: bool) -> None:
    assert (name_problem(name, top) is None) is good, why


def variables_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every variable and parameter of a file; fields of documents are names in files instead."""
    fields = {
        id(node.target)
        for owner in ast.walk(tree(path))
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.AnnAssign)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg


@pytest.mark.parametrize("path", [pytest.param(path, id=name_of(path)) for path in [*SOURCES, *TESTS]])
def test_variables_say_what_they_hold(path: Path) -> None:
    assert [(line, name) for line, name in variables_of(path) if name in EMPTY_WORDS] == []


@pytest.mark.parametrize(
    ("why", "code", "found"),
    [
        ("a variable", "told = 1", ["told"]),
        ("a parameter", "def find_row(one): ...", ["one"]),
        ("a loop", "for shown in []: ...", ["shown"]),
        ("a comprehension", "[one for one in []]", ["one"]),
        ("a walrus", "lambda: (one := 1)", ["one"]),
        ("a field of a document", "class Watch:\n    told: list[str] = []", []),
        ("a good name", "row = one()", []),
    ],
)
def test_what_counts_as_a_name_that_says_nothing(tmp_path: Path, why: str, code: str, found: list[str]) -> None:
    path = tmp_path / "code.py"
    path.write_text(code)
    assert [name for _, name in variables_of(path) if name in EMPTY_WORDS] == found, why


def test_no_folder_is_full() -> None:
    sizes = Counter(name_of(path.parent) for path in [*SOURCES, *TESTS] if path.name != "__init__.py")
    assert {name: size for name, size in sizes.items() if size > FILES_PER_FOLDER} == {}


@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec["operationId"]) for _, _, spec in list_operations()])
def test_summaries_of_the_contract_are_imperative(spec: dict[str, str]) -> None:
    summary = spec["summary"]
    assert len(summary) <= LINE and summary.endswith(".")
    assert summary.split()[0].lower() in IMPERATIVES


def test_lines_of_the_contract_fit_a_screen() -> None:
    lines = (ROOT / "contract.yaml").read_text().splitlines()
    assert [number for number, line in enumerate(lines, 1) if len(line) > 140] == []

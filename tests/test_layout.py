"""The house: who may know whom, where foreign libraries live, how long things may be. Read from the source by `ast`."""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("http_server", "engine", "store", "slurm_shim")
SOURCES = [ROOT / "app.py", *sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))]
# A foreign library and the only place that may know it.
HOMES = {
    "starlette": {"app.py", "http_server"}, "jsonschema_rs": {"app.py"},
    "granian": {"http_server"}, "uvloop": {"http_server"}, "websockets": {"http_server"},
    "pydantic": {"store"}, "ruamel": {"store"}, "aiofiles": {"store"}, "watchfiles": {"store"}, "jinja2": {"store"},
    # Only for the contract, which is our own file: what people write is read strictly, as YAML 1.2.
    "yaml": {"store"},
    "sh": {"slurm_shim"},
    # What the server signs for OAuth clients, and how much each caller asks in an hour.
    "jwt": {"store"}, "limits": {"store"},
    # Passwords of users.
    "argon2": {"store"},
    # The client of webhooks: it speaks HTTP outwards, and lets us choose the address that is connected to.
    "httpcore": {"engine"},
    # In child processes that make files, loaded nowhere else.
    "xlsxwriter": {"store"}, "pyarrow": {"store"}, "matplotlib": {"store"},
    # Where people have installed it, which is not for us to do: it has no licence.
    "converter": {"store"},
    "aiosmtplib": {"engine"},
    "prometheus_client": {"engine"},
    # Results that are sent, as pieces of JSON.
    "msgspec": {"engine"},
    # Regular expressions of callers.
    "re2": {"store"},
    "orjson": {"app.py", "engine", "store", "slurm_shim"},
    # Reads results of FLUKA and SHIELD-HIT12A, where it is installed.
    "pymchelper": {"slurm_shim"},
}  # fmt: skip
# Programs that run on their own, as plain files beside each other: the embedded cluster's, and those of simulations.
ALONE = ("embedded", "simulators")
# app.py speaks HTTP, which http_server/ serves without knowing it; engine/ is where the cluster meets the files; and
# store/ and slurm_shim/ know neither each other nor HTTP.
MAY_KNOW = {
    "app.py": {"app.py", "http_server", "engine", "store", "slurm_shim"},
    "http_server": {"http_server", "store"},
    "engine": {"engine", "store", "slurm_shim"},
    "store": {"store"},
    "slurm_shim": {"slurm_shim"},
}
SECTIONS = [
    "Settings", "Families", "The way of a request", "Guard", "Refusals", "Operations: srunx", "Operations: srtslurm",
    "Operations: YAPTIDE", "Operations: S9S", "Operations: sluice", "Live", "Lifespan and app",
]  # fmt: skip
# app.py was to have 1,500. What bounds callers before anything is trusted (pieces of bodies and of answers, waiting
# before refusals, calls that the end cuts off) came to it, and two families are still to come.
APP_LINES, FILE_LINES, FUNCTION_LINES = 1800, 600, 60
FOLDER_MODULES = 20
OPERATION_LINES, OPERATION_MEDIAN = 12, 4
VAGUE = re.compile(r"(util|helper|manager|service|base|common|misc)s?(_|\.py$)")


def part(path: Path) -> str:
    """The part of the house that a file belongs to."""
    return path.relative_to(ROOT).parts[0]


def is_alone(path: Path) -> bool:
    """Whether this is part of a program that runs on its own."""
    return path.parent.relative_to(ROOT).parts[1:2] in [(name,) for name in ALONE]


def name_of(path: Path) -> str:
    """The file as people call it."""
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    """The file as a syntax tree."""
    return ast.parse(path.read_text(), str(path))


def list_imports(path: Path) -> set[str]:
    """List the top-level names that a file imports."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file."""
    yield from (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def operations() -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The operations of app.py, in its order."""
    from tests.contract_judge import operations as promised

    names = {spec["operationId"] for _, _, spec in promised()}
    functions = [
        node for node in tree(ROOT / "app.py").body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [node for node in functions if node.name in names]


def operation_tables() -> list[list[str]]:
    """The names in each table of operations that functions of engine/ answer as they are."""
    calls = [node.value for node in tree(ROOT / "app.py").body if isinstance(node, ast.Expr)]
    return [
        [str(row.arg) for row in call.keywords]
        for call in calls
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "operations"
    ]


files = pytest.mark.parametrize("path", [pytest.param(path, id=name_of(path)) for path in SOURCES])


# --- who may know whom -----------------------------------------------------------------------------------------------


@files
def test_imports_form_a_diamond(path: Path) -> None:
    own = {"app": "app.py"} | {name: name for name in PACKAGES}
    assert {own[name] for name in list_imports(path) & set(own)} <= MAY_KNOW[part(path)]


@files
def test_foreign_libraries_have_one_home(path: Path) -> None:
    beside = {other.stem for other in path.parent.glob("*.py")} if path.parent.name == "simulators" else {"embedded"}
    foreign = list_imports(path) - set(sys.stdlib_module_names) - {"app", *PACKAGES} - beside
    assert foreign <= set(HOMES), "a new library needs a home"
    assert all(part(path) in HOMES[name] for name in foreign)


@files
def test_only_app_knows_http(path: Path) -> None:
    if path.name != "app.py":
        # The pages beside the operations are files, which starlette sends.
        known = list_imports(path) - ({"starlette"} if name_of(path) == "http_server/pages.py" else set())
        assert not known & {"http", "httpx", "requests", "aiohttp", "uvicorn", "starlette", "fastapi"}


def test_only_files_py_writes_the_store() -> None:
    """Writing is done in one place, so that it is done right; what runs on its own has files of its own."""
    writers = {}
    for path in SOURCES:
        if is_alone(path):
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and (said := _writes(node)):
                writers.setdefault(name_of(path), set()).add(said)
    assert set(writers) <= {"store/disk/files.py"}, writers
    flags = {"O_WRONLY", "O_RDWR", "O_APPEND", "O_CREAT"}
    opening = {
        name_of(path)
        for path in SOURCES
        if not is_alone(path)
        and any(isinstance(node, ast.Attribute) and node.attr in flags for node in ast.walk(tree(path)))
    }
    assert opening <= {"store/disk/files.py", "store/disk/locks.py"}


@pytest.mark.parametrize(
    ("code", "writes"),
    [
        ("open('a', 'w')", True),
        ("path.open(mode='ab')", True),
        ("io.open(path, 'r+')", True),
        ("path.write_text('x')", True),
        ("os.replace(a, b)", True),
        ("shutil.copyfile(a, b)", True),
        ("open('a')", False),
        ("path.open('rb')", False),
        ("text.replace('a', 'b')", False),
        ("path.read_text()", False),
    ],
)
def test_what_counts_as_writing(code: str, writes: bool) -> None:
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert bool(_writes(call)) is writes


def _writes(call: ast.Call) -> str | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("write_text", "write_bytes", "touch", "rename", "unlink", "rmdir", "mkdir", "makedirs", "copyfile"):
        return name
    if name == "replace" and isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "os":
        return "os.replace"
    if name != "open" or (isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "os"):
        return None
    # The mode is the second argument of the function and the first of a path's method.
    owner = getattr(call.func.value, "id", "") if isinstance(call.func, ast.Attribute) else "builtins"
    at = 1 if owner in ("builtins", "io", "aiofiles", "gzip", "codecs") else 0
    words = [*call.args[at : at + 1], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    modes = [node.value for node in words if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return f"open {modes}" if any(re.fullmatch("[rwaxbt+]*[wax+][rwaxbt+]*", mode) for mode in modes) else None


@files
def test_no_shell(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert name not in ("system", "popen", "eval", "exec", "getoutput"), f"line {node.lineno}"
            assert not [keyword for keyword in node.keywords if keyword.arg == "shell"], f"line {node.lineno}"


@files
def test_nothing_is_kept_in_a_module(path: Path) -> None:
    """Two apps live in one process, so what changes belongs to a server."""
    assert [node.names for node in ast.walk(tree(path)) if isinstance(node, ast.Global)] == []


@files
def test_runs_and_sweeps_are_started_in_one_place(path: Path) -> None:
    # The end of a cell that never began is recorded too, which starts nothing.
    places = {"engine/start.py", "engine/sweep_cells.py"}
    assert name_of(path) in places or not re.search(r"\.(runs|sweeps)\.create\(", path.read_text())


def test_an_if_match_header_is_read_in_one_place() -> None:
    assert [name_of(path) for path in SOURCES if '"if-match"' in path.read_text()] == ["store/operations.py"]


# --- how long things may be ------------------------------------------------------------------------------------------


@files
def test_files_and_functions_are_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= (APP_LINES if path.name == "app.py" and part(path) == "app.py" else FILE_LINES)
    long = {node.name: node.end_lineno - node.lineno + 1 for node in functions(path) if node.end_lineno}
    assert {name: length for name, length in long.items() if length > FUNCTION_LINES} == {}


def test_folders_are_small() -> None:
    modules = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    assert {str(folder): count for folder, count in modules.items() if count > FOLDER_MODULES} == {}


@files
def test_every_line_is_typed_and_told(path: Path) -> None:
    body = tree(path).body
    assert ast.get_docstring(tree(path)) or not body, "the first line says what is here"
    public = [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    for node in public:
        if not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


@files
def test_nothing_is_left_for_later(path: Path) -> None:
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text())
    assert not VAGUE.search(path.name), "a name that says nothing"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler) and all(isinstance(node, ast.Pass) for node in node.body):
            lines = path.read_text().splitlines()[node.lineno - 1 : node.end_lineno]
            assert any("#" in line for line in lines), f"line {node.lineno}: swallowed without a reason"


# --- app.py ----------------------------------------------------------------------------------------------------------


def test_the_sections_of_app_stand_in_their_order() -> None:
    lines = (ROOT / "app.py").read_text().splitlines()
    rule = re.compile("# ={50,}")
    titles = [
        lines[at + 1].removeprefix("# ").split(":" if "Operations" not in lines[at + 1] else "\0")[0].strip()
        for at, line in enumerate(lines[:-2])
        if rule.fullmatch(line) and rule.fullmatch(lines[at + 2])
    ]
    known = [title for title in SECTIONS if title in titles]
    assert titles == known, "another section, or another order"
    assert set(titles) >= {"Settings", "The way of a request", "Refusals", "Lifespan and app"}


def test_operations_stand_in_contract_order() -> None:
    from tests.contract_judge import operations as promised

    place = {spec["operationId"]: at for at, (_, _, spec) in enumerate(promised())}
    for names in ([operation.name for operation in operations()], *operation_tables()):
        places = [place[name] for name in names if name in place]
        assert places == sorted(places)


@pytest.mark.parametrize("function", [pytest.param(operation, id=operation.name) for operation in operations()])
def test_an_operation_is_a_short_plain_function(function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    assert _length(function) <= OPERATION_LINES, "a function is missing in engine/, store/ or slurm_shim/"
    assert not function.args.defaults and not [value for value in function.args.kw_defaults if value is not None]
    inner = [type(node).__name__ for node in ast.walk(function)]
    assert "Try" not in inner, "the tables of refusals are where problems become answers"
    named = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    assert not named & {"Request", "Response", "JSONResponse", "scope", "HTTPException"}, "plain data in and out"


def test_operations_are_short_on_the_whole() -> None:
    assert statistics.median(map(_length, operations())) <= OPERATION_MEDIAN


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


# --- around it -------------------------------------------------------------------------------------------------------


def test_every_recipe_says_what_it_is_for() -> None:
    lines = (ROOT / "justfile").read_text().splitlines()
    for at, line in enumerate(lines):
        if re.match(r"[a-z_][\w-]*( [^:=]*)?:(?!=)", line) and not line.startswith(" "):
            before = next(line for line in reversed(lines[:at]) if not line.startswith("["))
            assert before.startswith("# "), line


ENGINE = [path for path in SOURCES if part(path) == "engine" and path.name != "__init__.py"]


@pytest.mark.parametrize("path", [pytest.param(path, id=name_of(path)) for path in ENGINE])
def test_every_module_of_engine_has_its_tests(path: Path) -> None:
    module = path.relative_to(ROOT)
    assert (ROOT / "tests" / module.parent / f"test_{module.name}").is_file()


def test_the_longest_test_files_exist() -> None:
    from tests.conftest import LONGEST_FIRST

    assert [name for name in LONGEST_FIRST if not (ROOT / "tests" / name).is_file()] == []


def test_every_dependency_has_its_reason() -> None:
    lists = re.findall(r"(?ms)^(?:dependencies|dev) = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text())
    lines = [line for block in lists for line in block.splitlines() if line.strip().startswith('"')]
    assert lines and all("#" in line for line in lines)


def test_nothing_speaks_of_the_place_it_was_made_in() -> None:
    place = re.compile(r"(?<!\w)/work/|\.\./shared|/tmp/(?!sluice)|\bissues? (show )?\d")
    for path in [*SOURCES, ROOT / "contract.yaml", ROOT / "justfile", ROOT / "pyproject.toml"]:
        assert not place.search(path.read_text()), name_of(path)

"""The house of the page: sizes, safety, names, and that it calls nothing but operations. Read from its text.

Needs no browser; what a person would see is held by the other modules here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import ROOT
from tests.contract_judge import operations

WEB = ROOT / "web"
UI = WEB / "ui"
MODULES = sorted(UI.rglob("*.js"))
MODULE_LINES, FOLDER_MODULES, TREE_DEPTH, LINE_CHARACTERS = 400, 20, 4, 160
# What one view needs, and all of them; `just bench page` tells the latter beside its target of 300 kB.
VIEW_BYTES, PAGE_BYTES = 300_000, 690_000
# What puts text into the page as markup, or runs it.
FORBIDDEN = re.compile(
    r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|eval|new Function"
    r"|setHTMLUnsafe|srcdoc)\b|setAttribute\(\s*[\"'`](style|on\w+)"
)
ABSOLUTE = re.compile(r"""["'`(](?:https?:)?//[\w.]""")
NAMESPACES = ("http://www.w3.org/2000/svg",)
TEXT = re.compile(r"`(?:[^`\\]|\\.)*`|\"(?:[^\"\\\n]|\\.)*\"")
COMMENT = re.compile(r"^\s*//.*$", re.M)
EXPORT = re.compile(r"^export (?:default )?(?:async )?(function\*?|const|let|class) (\w+)", re.M)
IMPERATIVE = re.compile(r"// (?!The )[A-Z][a-z]*[a-rt-z] ")
IMPORT = re.compile(r"^(?:import|export)\b[^;]*?from \"(\.[^\"]+)\"", re.M)
LAZY = re.compile(r"import\(\"(\.[^\"]+)\"\)")
# The first words of the paths that the page may ask for.
ROOTS = ("api/", "srtslurm/", "oauth/", "auth/", "user/")
# Classes by which code or a test finds a node; nothing is to be seen of them.
HOOKS = {"nodes", "word"}


def name_of(path: Path) -> str:
    """The module as people call it."""
    return str(path.relative_to(WEB))


@cache
def read(path: Path) -> str:
    """The text of a file of the page."""
    return path.read_text()


@cache
def read_code(path: Path) -> str:
    """The text of a module without its comments."""
    return COMMENT.sub("", read(path))


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_fits_in_a_head(path: Path) -> None:
    lines = read(path).splitlines()
    assert len(lines) <= MODULE_LINES
    assert list_long_lines(path) == []
    assert lines[0].startswith("// "), "its first line says what it is"


def list_long_lines(path: Path) -> list[int]:
    """List the numbers of the lines that are too long to read."""
    return [number for number, line in enumerate(read(path).splitlines(), 1) if len(line) > LINE_CHARACTERS]


def test_the_style_sheet_fits_too() -> None:
    assert list_long_lines(UI / "ui.css") == []


def test_folders_and_the_whole_page_stay_small() -> None:
    folders = {path.parent for path in MODULES}
    sizes = {folder.name: len(list(folder.glob("*.js"))) for folder in folders}
    assert {name: size for name, size in sizes.items() if size > FOLDER_MODULES} == {}
    files = {WEB / "index.html", *(path for path in UI.rglob("*") if path.is_file())}
    assert count_bytes(files) < PAGE_BYTES
    frame = {WEB / "index.html", UI / "ui.css", *list_needed(UI / "app.js")}
    sizes = {name_of(view): count_bytes(frame | list_needed(view)) for view in sorted(UI.glob("views/*.js"))}
    assert {name: size for name, size in sizes.items() if size >= VIEW_BYTES} == {}


def count_bytes(paths: set[Path]) -> int:
    """Count the bytes of files."""
    return sum(path.stat().st_size for path in paths)


def list_imports(path: Path, pattern: re.Pattern[str] = IMPORT) -> list[Path]:
    """List the modules that a module imports."""
    return [(path.parent / name).resolve() for name in pattern.findall(read(path))]


def list_needed(path: Path) -> set[Path]:
    """List a module and all that it cannot do without."""
    needed, waiting = {path}, [path]
    while waiting:
        new = [found for found in list_imports(waiting.pop()) if found not in needed]
        needed.update(new)
        waiting += new
    return needed


def test_modules_are_found_after_four_steps() -> None:
    """Where nothing was preloaded, each step is one way to the server and back."""
    for begin in [UI / "app.js", *sorted(UI.glob("views/*.js")), *sorted(UI.glob("workers/*.js"))]:
        level, known = [begin], {begin}
        for _ in range(TREE_DEPTH):
            level = [found for path in level for found in list_imports(path) if found not in known]
            assert [path for path in level if not path.is_file()] == [], begin
            known |= set(level)
        assert level == [] or all(not set(list_imports(path)) - known for path in level), name_of(begin)


def test_views_are_loaded_when_they_are_opened() -> None:
    views = set(UI.glob("views/*.js"))
    assert [name_of(path) for path in MODULES if set(list_imports(path)) & views and path.parent.name == "core"] == []
    assert views <= set(list_imports(UI / "app.js", LAZY)), "every view has a route"


# --- safety ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_text_is_never_markup(path: Path) -> None:
    assert FORBIDDEN.findall(read_code(path)) == []


@pytest.mark.parametrize("path", [WEB / "index.html", UI / "ui.css", *MODULES], ids=name_of)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    text = read(path)
    for namespace in NAMESPACES:
        text = text.replace(namespace, "")
    assert ABSOLUTE.findall(text) == []
    if path.suffix == ".html":
        assert re.findall(r"\s(style|on\w+)\s*=", text) == []


# --- names -----------------------------------------------------------------------------------------------------------


def list_exports(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield kind, name and the first line of the comment before each export."""
    lines = read(path).splitlines()
    for match in EXPORT.finditer(read(path)):
        number = read(path).count("\n", 0, match.start())
        while number and lines[number - 1].startswith("//"):
            number -= 1
        yield match[1], match[2], lines[number]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_exported_functions_say_what_they_do(path: Path) -> None:
    """A comment stands before each, and begins with a verb in the imperative."""
    functions = [(name, says) for kind, name, says in list_exports(path) if kind.startswith("function")]
    assert [(name, says) for name, says in functions if not IMPERATIVE.match(says)] == []


def test_exports_are_used_by_others() -> None:
    """A module that imports this one names it, or a test does; the router opens views."""
    tests = [path.read_text() for path in Path(__file__).parent.rglob("*.py") if path != Path(__file__)]
    of_tests = set(re.findall(r"\w+", "".join(tests)))
    words = {path: set(re.findall(r"\w+", read_code(path))) for path in MODULES}
    imported = {path: {*list_imports(path), *list_imports(path, LAZY)} for path in MODULES}
    unused = []
    for path in MODULES:
        used = of_tests.union({"open"}, *(words[other] for other in MODULES if path in imported[other]))
        unused += [f"{name_of(path)}: {name}" for _, name, _ in list_exports(path) if name not in used]
    assert unused == []


def test_names_of_the_style_sheet() -> None:
    css, code = read(UI / "ui.css"), "\n".join(map(read_code, MODULES))
    defined = set(re.findall(r"(--[\w-]+)\s*:", css)) | set(re.findall(r"\"(--[\w-]+)\"", code))
    assert set(re.findall(r"var\((--[\w-]+)", css + code)) - defined == set()


def list_classes(code: str) -> Iterator[str]:
    """Yield the classes that a module gives to nodes, where it writes them out."""
    texts = re.findall(r"\b(?:class|className):? ?=? (`[^`]*`|\"[^\"]*\")", code)
    texts += re.findall(r"classList\.(?:add|remove|toggle)\((\"[^\"]*\")", code)
    for text in texts:
        yield from (word for word in re.sub(r"\S*\$\{[^}]*\}\S*", " ", text.strip('`"')).split() if word)


def test_classes_mean_something() -> None:
    css = set(re.findall(r"\.([a-zA-Z][\w-]*)", read(UI / "ui.css")))
    unknown = {f"{name_of(path)}: {word}" for path in MODULES for word in list_classes(read_code(path))}
    assert sorted(each for each in unknown if each.split(": ")[1] not in css | HOOKS) == []


# --- operations ------------------------------------------------------------------------------------------------------


@cache
def list_operations() -> dict[tuple[str, ...], set[str]]:
    """The methods of each path of the contract, by its words; a parameter is `{}`."""
    found: dict[tuple[str, ...], set[str]] = {}
    for path, method, _ in operations():
        words = tuple("{}" if word.startswith("{") else word for word in path.strip("/").split("/"))
        found.setdefault(words, set()).add(method.upper())
    return found


def find_methods(path: str) -> set[str]:
    """Find the methods of the operations that a path of the page may mean; none where there is no such operation.

    >>> sorted(find_methods("api/v1/jobs/${id}"))
    ['DELETE', 'GET']
    """
    plain = re.sub(r"\$\{(?:[^{}]|\{[^{}]*\})*\}", "{}", path).partition("?")[0]
    words = plain.strip("/").split("/")
    methods: set[str] = set()
    for known, allowed in list_operations().items():
        if len(known) == len(words) and all(
            word == asked or "{}" in (word, asked) for word, asked in zip(known, words, strict=True)
        ):
            methods |= allowed
        if plain.endswith("/") and len(known) > len(words) and known[: len(words)] == tuple(words):
            methods |= allowed
    return methods


def list_values(code: str, name: str) -> list[str]:
    """List the paths that a name or a field of this name is given in a module."""
    own = re.findall(rf"\b{name}(?: = |: )(`[^`]*`|\"[^\"]*\")", code)
    return [text.strip('`"') for text in own if text.strip('`"').startswith(ROOTS)]


def resolve(code: str, text: str) -> list[str]:
    """Resolve a path that begins with a name: `${path}/logs` where `path` is set in the module.

    There may be several; empty for what is no path.
    """
    match = re.match(r"\$\{([\w.]+)\}", text)
    if match is None:
        return [text] if text.startswith(ROOTS) else []
    return [value + text[match.end() :] for value in list_values(code, match[1].split(".")[-1])]


def list_paths(code: str) -> Iterator[list[str]]:
    """List what each path of operations that a module writes out may be."""
    for text in TEXT.findall(code):
        found = resolve(code, text.strip('`"'))
        if found:
            yield found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_operations_of_the_contract_are_asked(path: Path) -> None:
    assert [texts for texts in list_paths(read_code(path)) if not any(map(find_methods, texts))] == []


CALL = r"(`[^`]*`|\"[^\"]*\")"
CALLS = [
    re.compile(rf"\b(?:send|request|formatCurl)\(\s*\"(?P<method>[A-Z]+)\",\s*(?P<path>{CALL})"),
    re.compile(rf"\bmethod: \"(?P<method>[A-Z]+)\",\s*path: (?P<path>{CALL})"),
    re.compile(rf"\b(?:get|getWhole|loadList|EventSource)\(\s*(?P<method>)(?P<path>{CALL})"),
]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_operations_are_asked_by_their_methods(path: Path) -> None:
    code, wrong = read_code(path), []
    for match in (found for pattern in CALLS for found in pattern.finditer(code)):
        for text in resolve(code, match["path"].strip('`"')):
            if text.startswith(ROOTS) and (match["method"] or "GET") not in find_methods(text):
                wrong.append(f"{match['method'] or 'GET'} {text}")
    assert wrong == []

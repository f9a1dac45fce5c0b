"""The clients in sdk/: what a user does with each against a server, and the document's examples literally."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from tests import ROOT
from tests.app_server import Server
from tests.clients.busy_server import being_busy

pytestmark = pytest.mark.clients
SDK = ROOT / "sdk"
HERE = Path(__file__).parent
PACKAGE = SDK / "python" / "src" / "s9s_client"
SEEN = """\
followed 'one\\ntwo\\n'
ended COMPLETED
output ['one', 'two']
all pages True
one page 1 True True
WaitTimeout
cancelled CANCELLED
bulk 2 0
once True
ResourceNotFound 404 RESOURCE_NOT_FOUND True ['resource_id', 'resource_type']
ValidationError 400 VALIDATION_ERROR True ['fields']
mistyped ValidationError InvalidRequest
exported completed job_id,job_name
nodes ['node01', 'node02'] node01 main
found node01
metrics True v1
reports [] users True
told created True
client pipeline ['read', 'write']
ResourceConflict 409 RESOURCE_CONFLICT True
AuthenticationFailed 401 AUTHENTICATION_FAILED True
at last 77
RateLimitExceeded 429 RATE_LIMIT_EXCEEDED True 3600.0
ConnectionFailed
AuthenticationFailed invalid_client
anew true
"""
SEEN_ASYNC = """\
followed 'three\\n'
ended COMPLETED
all pages True
told created True
left
"""
# An OAuth client of the server.
CLIENT, SECRET = "pipeline", "slo_pipelines-own-secret"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server on an embedded cluster that has what the document's examples ask for."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "config.yaml").write_text("cluster: {nodes: 2, cpus: 16}\npoll: {min_s: 1, max_s: 1}\n")
    made = Server(store, "embedded")
    try:
        with (store / "access.yaml").open("a") as file:
            digest = hashlib.sha256(SECRET.encode()).hexdigest()
            file.write(f"oauth_clients: [{{name: {CLIENT}, sha256: '{digest}', scopes: [write]}}]\n")
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def made() -> dict[str, Path]:
    """What `just sdk` makes; the document of the API is among it."""
    done = subprocess.run([sys.executable, SDK / "make.py"], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return {"python": PACKAGE / "low", "js": SDK / "js" / "contract.d.ts"}


def find_program(name: str) -> str:
    """The program; CI has it."""
    found = shutil.which(name)
    if found is None:
        assert os.environ.get("CI") != "true", f"{name} is missing"
        pytest.skip(f"{name} is not installed")
    return found


def run(folder: Path, *command: str | Path, **environment: str) -> str:
    """What the program prints; it is to end well."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def use(server: Server, folder: Path, *command: str | Path, **environment: str) -> str:
    """What a user's program has seen of the server, and of one that is busy."""
    with being_busy() as busy:
        said = run(
            folder, *command, URL=server.url, TOKEN=server.tokens["write"],
            BUSY=f"http://127.0.0.1:{busy.server_port}", CLIENT=CLIENT, SECRET=SECRET, **environment,
        )  # fmt: skip
        assert len(busy.keys) == 4 and len(set(busy.keys)) == 1 and busy.keys[0], "one key for all attempts"
        assert busy.reads == 1, "a pause of an hour is left to the caller"
        form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET, "scope": "read"}
        assert [dict(parse_qsl(text)) for text in busy.asked] == [form, form], "one that has ended is exchanged"
    return said


def use_anew(server: Server, folder: Path, *command: str | Path, **environment: str) -> None:
    """What a user's program sees of a server that is started anew: nothing is lost, and nothing comes twice."""
    script = "#!/bin/sh\necho one\nuntil [ -e go ]; do sleep 0.1; done\necho two\n"
    asked = {"script": script, "working_directory": str(folder)}
    job_id = server.http.post("/v1/jobs", json=asked).json()["job_id"]
    given = {"URL": server.url, "TOKEN": server.tokens["read"], "JOB": job_id, **environment}
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **given}, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout and {process.stdout.readline(), process.stdout.readline()} == {"one\n", "snapshot\n"}
        server.end()
        server.start()
        (folder / "go").touch()
        assert sorted(process.stdout) == ["COMPLETED\n", "snapshot\n", "two\n"]
        assert process.wait(180) == 0
    finally:
        process.kill()
        process.communicate()


def read_example(language: str, server: Server, folder: Path) -> str:
    """The document's example as README shows it, with this server's address, a token and a script that is there."""
    text = (SDK / language / "README.md").read_text()
    found = re.search(r"^```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found
    script = folder / "test.sh"
    script.write_text("#!/bin/bash\nsleep 600\n")
    example = found[1]
    for given, real in {
        "https://api.example.com": server.url,
        "your_token_here": server.tokens["write"],
        "/home/alice/test.sh": str(script),
    }.items():
        assert given in example
        example = example.replace(given, real)
    return example


def check_submitted(server: Server) -> None:
    """The example's job is there, as it was asked for."""
    row = server.http.get("/v1/jobs").json()["jobs"][0]
    assert (row["job_name"], row["node_count"], row["cpu_count"]) == ("test_job", 2, 32)


# --- Python


def test_python(server: Server, tmp_path: Path, made: dict[str, Path]) -> None:
    said = use(server, tmp_path, sys.executable, HERE / "use_sdk.py", PYTHONPATH=str(PACKAGE.parent))
    assert said == SEEN + SEEN_ASYNC


def test_the_example_in_python(server: Server, tmp_path: Path, made: dict[str, Path]) -> None:
    program = tmp_path / "example.py"
    program.write_text(
        f"{read_example('python', server, tmp_path)}\nprint(jobs.total, job.state, job_details.job_name)\n"
    )
    assert run(tmp_path, sys.executable, program, PYTHONPATH=str(PACKAGE.parent)) == "0 PENDING test_job\n"
    check_submitted(server)


@pytest.mark.parametrize("module", ["values", "updates"])
def test_examples_in_python(module: str, made: dict[str, Path]) -> None:
    run(ROOT, sys.executable, "-m", "doctest", PACKAGE / f"{module}.py", PYTHONPATH=str(PACKAGE.parent))


def test_python_goes_on_after_a_restart(server: Server, tmp_path: Path, made: dict[str, Path]) -> None:
    use_anew(server, tmp_path, sys.executable, HERE / "restart_sdk.py", PYTHONPATH=str(PACKAGE.parent))


def test_python_is_typed(tmp_path: Path, made: dict[str, Path]) -> None:
    files = [HERE / "use_sdk.py", PACKAGE / "asynchronous", PACKAGE / "synchronous"]
    options = ["--strict", "--follow-imports=silent", f"--cache-dir={tmp_path}", "--config-file="]
    run(ROOT, sys.executable, "-m", "mypy", *options, *files, MYPYPATH=str(PACKAGE.parent))


def test_the_python_package_declares_what_it_imports(made: dict[str, Path]) -> None:
    declared = tomllib.loads((SDK / "python" / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split("[^a-z0-9-]", line)[0].replace("-", "_") for line in declared}
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                imported.add(node.module.split(".")[0])
    modules = {"attrs": "attr", "python_dateutil": "dateutil"}
    known = names | {modules.get(name, name) for name in names}
    assert imported - set(sys.stdlib_module_names) - {"s9s_client"} <= known
    assert {modules.get(name, name) for name in names} <= imported | {"attr"}, "one is not needed"


# --- JavaScript

# node has a WebSocket of its own from version 22 on.
WS = "ws@8.18.3"


@pytest.fixture
def node_modules(tmp_path: Path) -> Path:
    """A folder in which the JavaScript client is installed."""
    (tmp_path / "node_modules" / "@s9s").mkdir(parents=True)
    shutil.copytree(SDK / "js", tmp_path / "node_modules" / "@s9s" / "client")
    return tmp_path


def add_websocket(node_modules: Path) -> None:
    """Install a WebSocket for a node that has none."""
    npm = find_program("npm")
    run(node_modules, npm, "install", "--no-save", "--no-audit", "--no-fund", "--prefix", node_modules / "made", WS)
    (node_modules / "made" / "node_modules" / "ws").rename(node_modules / "node_modules" / "ws")


def test_javascript(server: Server, node_modules: Path) -> None:
    add_websocket(node_modules)
    shutil.copy(HERE / "use_sdk.mjs", node_modules)
    assert use(server, node_modules, find_program("node"), "use_sdk.mjs") == SEEN + "left\n"


def test_javascript_goes_on_after_a_restart(server: Server, node_modules: Path) -> None:
    add_websocket(node_modules)
    shutil.copy(HERE / "restart_sdk.mjs", node_modules)
    use_anew(server, node_modules, find_program("node"), "restart_sdk.mjs")


def test_the_example_in_javascript(server: Server, node_modules: Path) -> None:
    (node_modules / "example.mjs").write_text(
        f"{read_example('js', server, node_modules)}\nconsole.log(jobs.total, job.state);\n"
    )
    assert run(node_modules, find_program("node"), "example.mjs") == "0 PENDING\n"
    check_submitted(server)


def test_javascript_is_typed(node_modules: Path, server: Server, made: dict[str, Path]) -> None:
    npm = find_program("npm")
    shutil.copy(made["js"], node_modules / "node_modules" / "@s9s" / "client")
    (node_modules / "example.mts").write_text(
        f"{read_example('js', server, node_modules)}\nconst id: string = job.job_id;\n"
        "const reason: string | null = jobs.jobs[0].reason;\nconsole.log(id, reason);\n"
        "// @ts-expect-error: a number is no name\nclient.jobs.submit({ script: 'x', name: 1 });\n"
        "// @ts-expect-error: there is no such filter\nclient.jobs.list({ colour: 'red' });\n"
    )
    run(
        node_modules,
        npm,
        "install",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--prefix",
        node_modules / "made",
        "typescript@5.9.3",
    )
    compiler = node_modules / "made" / "node_modules" / ".bin" / "tsc"
    options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom,dom.iterable"]
    run(node_modules, compiler, *options, "example.mts")


# --- Go


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A Go module that uses the client of this checkout."""
    (tmp_path / "go.mod").write_text(
        "module user\n\ngo 1.18\n\nrequire github.com/s9s/go-client v0.0.0\n\n"
        f"replace github.com/s9s/go-client => {SDK / 'go'}\n"
    )
    return tmp_path


GO = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}


def test_go(server: Server, module: Path) -> None:
    shutil.copy(HERE / "use_sdk.go", module / "main.go")
    assert use(server, module, find_program("go"), "run", ".", **GO) == SEEN + "left\n"


def test_go_goes_on_after_a_restart(server: Server, module: Path) -> None:
    shutil.copy(HERE / "restart_sdk.go", module / "main.go")
    go = find_program("go")
    run(module, go, "build", "-o", "user", ".", **GO)
    use_anew(server, module, module / "user")


def test_the_example_in_go(server: Server, module: Path) -> None:
    text = read_example("go", server, module).replace("import (", 'import (\n\t"fmt"')
    end = "\tif err != nil {\n\t\tpanic(err)\n\t}\n\tfmt.Println(jobs.Total, job.State)\n}\n"
    (module / "main.go").write_text(text.rstrip().removesuffix("}") + end)
    assert run(module, find_program("go"), "run", ".", **GO) == "0 PENDING\n"
    check_submitted(server)


def test_the_types_of_go_are_those_of_the_contract(tmp_path: Path) -> None:
    sys.path.insert(0, str(SDK))
    try:
        from make import read_document
    finally:
        sys.path.remove(str(SDK))
    document = tmp_path / "s9s.json"
    document.write_text(json.dumps(read_document()))
    go = find_program("go")
    assert run(SDK / "go", Path(go).parent / "gofmt", "-l", ".") == ""
    run(SDK / "go", go, "vet", "./...", **GO)
    run(SDK / "go", go, "test", "./...", S9S_OPENAPI=str(document), **GO)

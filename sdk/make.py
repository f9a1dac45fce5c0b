"""Make the low level of the clients from the contract: `just sdk`.

The S9S API as OpenAPI 3.0 goes to openapi-python-client (Python) and openapi-typescript (the types of JavaScript, where
npm is there). The synchronous face of the Python client is made from the asynchronous one by unasync. What is made is
not committed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import unasync

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
PYTHON = HERE / "python" / "src" / "s9s_client"
OPENAPI_TYPESCRIPT = "openapi-typescript@7.13.0"
# How asynchronous code is called without its `async`; `async` and `await` themselves are known to unasync.
SYNCHRONOUS = {
    "AsyncS9SClient": "S9SClient",
    "AsyncBaseTransport": "BaseTransport",
    "AsyncHTTPTransport": "HTTPTransport",
    "AsyncIterator": "Iterator",
    "AsyncClient": "Client",
    "handle_async_request": "handle_request",
    "get_async_httpx_client": "get_httpx_client",
    "pause_async": "pause",
    "aclose": "close",
    "aread": "read",
    "aiter_bytes": "iter_bytes",
    "aiter_sse": "iter_sse",
    "aconnect_sse": "connect_sse",
    "asyncio": "sync",  # also the module of websockets
    "asyncio_detailed": "sync_detailed",
    "asynchronous": "synchronous",
}


# What the clients do in their own way: getting a token, which stands outside of the API's address, and the WebSocket.
LEFT_OUT = ("/oauth/token", "/ws")


def read_document() -> dict[str, Any]:
    """Read the S9S API as OpenAPI 3.0, with names that need no prefix."""
    import app

    text = json.dumps(app.S9S_CONTRACT.parsed)
    text = re.sub(r"(#/components/\w+/)S9s", r"\1", text)
    text = re.sub(r'"s9s_(?=[a-z_]+")', '"', text)
    document: dict[str, Any] = json.loads(text)
    for path in LEFT_OUT:
        del document["paths"][path]
    for kind, parts in document["components"].items():
        named = {name.removeprefix("S9s"): part for name, part in parts.items()}
        assert len(named) == len(parts), f"two {kind} have one name"
        document["components"][kind] = named
    return document


def make_python(document: Path) -> None:
    """Make the low level of the Python client, and its synchronous face."""
    command = ["openapi-python-client", "generate", "--path", str(document), "--meta", "none", "--overwrite"]
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command += [
        "--fail-on-warning",
        "--config",
        str(HERE / "python" / "generator.yaml"),
        "--custom-template-path",
        str(HERE / "python" / "templates"),
        "--output-path",
        str(PYTHON / "low"),
    ]
    subprocess.run(command, check=True, cwd=document.parent, env={**os.environ, "PATH": programs})
    source, target = PYTHON / "asynchronous", PYTHON / "synchronous"
    shutil.rmtree(target, ignore_errors=True)
    rule = unasync.Rule(str(source), str(target), additional_replacements=SYNCHRONOUS)
    unasync.unasync_files([str(path) for path in source.glob("*.py")], [rule])


def make_types(document: Path) -> None:
    """Make the types of the JavaScript client."""
    npm = shutil.which("npm")
    if npm is None:
        print("npm is not installed: no types for JavaScript are made")
        return
    command = [npm, "exec", "--yes", f"--package={OPENAPI_TYPESCRIPT}", "--package=typescript@5.9.3", "--"]
    made = HERE / "js" / "contract.d.ts"
    subprocess.run([*command, "openapi-typescript", document, "--output", made], check=True, cwd=document.parent)


def main() -> None:
    """Make all of it, or the parts that are named."""
    parser = argparse.ArgumentParser(description="Make the low level of the clients from the contract.")
    parser.add_argument("parts", nargs="*", help="python, js (default: both)")
    parts = parser.parse_args().parts or ["python", "js"]
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "s9s.json"
        document.write_text(json.dumps(read_document()))
        for part, make in {"python": make_python, "js": make_types}.items():
            if part in parts:
                make(document)


if __name__ == "__main__":
    main()

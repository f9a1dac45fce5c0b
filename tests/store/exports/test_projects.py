"""Projects of the editor are converted in a child process with bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store.errors import ConversionFailed
from store.exports import projects
from store.exports.children import Bounds

SHORT = Bounds(memory_mb=500, cpu_s=2, wall_s=3.0, file_bytes=10_000)
API = """
import os, sys, time
def get_parser_from_str(sim_type):
    return sim_type
def run_parser(parser, project):
    print("noise")
    os.write(2, b"noise\\n")
    {what}
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a converter beside the server that does this."""

    def install_converter(what: str) -> None:
        (tmp_path / "converter").mkdir()
        (tmp_path / "converter" / "__init__.py").write_text("")
        (tmp_path / "converter" / "api.py").write_text(API.replace("{what}", what))
        monkeypatch.syspath_prepend(str(tmp_path))

    return install_converter


def test_a_project_becomes_files(install: Any) -> None:
    install("return {'a.dat': parser + project['ü'], 'b': 1}")
    assert projects.convert_project("fluka", {"ü": "水"}, SHORT) == {"a.dat": "fluka水", "b": "1"}


def test_without_a_converter_it_is_told_what_to_do() -> None:
    with pytest.raises(ConversionFailed, match="yaptide-converter is not installed beside the server: install it, or"):
        projects.convert_project("fluka", {}, SHORT)


@pytest.mark.parametrize(
    ("why", "what", "said"),
    [
        ("it fails", "raise KeyError('beam')", "^Conversion failed: KeyError: 'beam'$"),
        ("in many lines", "raise ValueError('a' + chr(10) + 'b')", "^Conversion failed: ValueError: a b$"),
        ("no files", "return None", "^Conversion failed: AttributeError: "),
        ("it lacks something", "import no_such_library", "^Conversion failed: No module named 'no_such_library'$"),
        ("it computes on", "while True: pass", "took more than 3 s, 2 s of computing, or was ended"),
        ("it waits", "time.sleep(3600)", "took more than 3 s"),
        ("it eats memory", "x = bytearray(10 ** 10)", "^Conversion failed: MemoryError"),
        ("much text", "return {'a': 'x' * 100_000}", "larger than 10000 bytes"),
        ("it ends", "os._exit(7)", "has ended"),
    ],
)
def test_what_goes_wrong_is_told(install: Any, why: str, what: str, said: str) -> None:
    install(what)
    with pytest.raises(ConversionFailed, match=said):
        projects.convert_project("fluka", {}, SHORT)

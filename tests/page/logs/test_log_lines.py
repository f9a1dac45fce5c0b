"""A line of a log as a terminal shows it: web/ui/log/ansi.js, run by node."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.page.programs import find_program

MODULE = Path(__file__).parents[3] / "web" / "ui" / "log" / "ansi.js"
pytestmark = pytest.mark.browser
ESC = "\x1b"
# Why, the line, its runs: text, foreground, background, flags.
LINES: list[tuple[str, str, list[tuple[str, Any, Any, str]]]] = [
    ("words", "abc", [("abc", None, None, "")]),
    ("nothing", "", []),
    ("markup is text", "<img src=x onerror=alert(1)>", [("<img src=x onerror=alert(1)>", None, None, "")]),
    ("a colour and back", f"{ESC}[31mred{ESC}[0m x", [("red", 1, None, ""), (" x", None, None, "")]),
    ("an empty reset", f"{ESC}[31mred{ESC}[m x", [("red", 1, None, ""), (" x", None, None, "")]),
    ("bright and on", f"{ESC}[91;102mx", [("x", 9, 10, "")]),
    ("back to the usual", f"{ESC}[31;41mx{ESC}[39my{ESC}[49mz",
     [("x", 1, 1, ""), ("y", None, 1, ""), ("z", None, None, "")]),
    ("flags", f"{ESC}[1;4mB{ESC}[22mu", [("B", None, None, "bold underline"), ("u", None, None, "underline")]),
    ("256 colours", f"{ESC}[38;5;208mo", [("o", [255, 135, 0], None, "")]),
    ("the first 16 of them", f"{ESC}[38;5;9mo", [("o", 9, None, "")]),
    ("greys", f"{ESC}[48;5;232mo", [("o", None, [8, 8, 8], "")]),
    ("true colours", f"{ESC}[38;2;1;2;3mo", [("o", [1, 2, 3], None, "")]),
    ("true colours with colons", f"{ESC}[48:2::9:8:7mo", [("o", None, [9, 8, 7], "")]),
    ("a colour that is none", f"{ESC}[38;5;999mo{ESC}[38;2;1mp", [("op", None, None, "")]),
    ("written over", "50 %\r100 %", [("100 %", None, None, "")]),
    ("what is longer stays", "abcdef\rxy", [("xycdef", None, None, "")]),
    ("erased to its end", f"abcdef\rxy{ESC}[K", [("xy", None, None, "")]),
    ("erased whole", f"abcdef\r{ESC}[2Kxy", [("xy", None, None, "")]),
    ("erased to the cursor", f"abc{ESC}[1Kd", [("   d", None, None, "")]),
    ("one back", "abc\b\bX", [("aXc", None, None, "")]),
    ("back beyond the beginning", "\b\b\bX", [("X", None, None, "")]),
    ("a line of Windows", "abc\r", [("abc", None, None, "")]),
    ("a title", f"{ESC}]0;title\x07hi", [("hi", None, None, "")]),
    ("a link", f"{ESC}]8;;http://x{ESC}\\link{ESC}]8;;{ESC}\\", [("link", None, None, "")]),
    ("a picture", f"{ESC}Pq#0;2;0{ESC}\\hi", [("hi", None, None, "")]),
    ("moves of the cursor", f"a{ESC}[2Jb{ESC}[?25lc{ESC}[10;20Hd{ESC}[Ae", [("abcde", None, None, "")]),
    ("other escapes", f"x{ESC}(By{ESC}7z{ESC}c", [("xyz", None, None, "")]),
    ("one that is cut off", f"x{ESC}[31", [("x", None, None, "")]),
    ("a lone escape", ESC, []),
    ("a title without an end", f"x{ESC}]0;for ever", [("x", None, None, "")]),
    ("control letters", "a\0b\x07c\x7fd\x85e", [("abcde", None, None, "")]),
    ("a letter with what stands over it", "e\u0301\b\bxy", [("xy", None, None, "")]),
    ("beyond the first plane", "😀b\rX", [("Xb", None, None, "")]),
    ("a tab stays", "a\tb\0", [("a\tb", None, None, "")]),
    ("a day of tqdm", "".join(f"\r{step}%|####     | {step}/1999" for step in range(2000)),
     [("1999%|####     | 1999/1999", None, None, "")]),
]  # fmt: skip


def run_node(script: str, given: Any) -> Any:
    """Run a script over the module, with what is given as `given`; what it prints as JSON."""
    lines = [f"import * as ansi from {json.dumps(MODULE.as_uri())};", f"const given = {json.dumps(given)};"]
    code = "\n".join([*lines, f"console.log(JSON.stringify({script}));"])
    command = [find_program("node"), "--input-type=module", "-e", code]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_lines_are_what_a_terminal_shows() -> None:
    parse = "ansi.parseLine(line).map(({ text, style }) => [text, style.fg, style.bg, style.flags])"
    found = run_node(f"given.map((line) => {parse})", [line for _, line, _ in LINES])
    assert {why: [tuple(run) for run in runs] for (why, _, _), runs in zip(LINES, found, strict=True)} == {
        why: runs for why, _, runs in LINES
    }
    texts = run_node("given.map(ansi.toPlain)", [line for _, line, _ in LINES])
    assert texts == ["".join(run[0] for run in runs) for _, _, runs in LINES]


def measure_light(colour: list[int]) -> float:
    """The relative luminance of a colour (WCAG 2)."""
    parts = [part / 255 for part in colour]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def measure_contrast(colour: list[int], back: list[int]) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2)."""
    low, high = sorted([measure_light(colour), measure_light(back)])
    return (high + 0.05) / (low + 0.05)


# What a colour of its own becomes, as ink and as what stands on it.
READ_COLOURS = """(colours) => {
  const span = document.body.appendChild(document.createElement("span"));
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const read = (name, colour) => {
    span.className = `ansi-rgb ${name}`;
    span.style.setProperty("--colour", `rgb(${colour.join(" ")})`);
    context.fillStyle = getComputedStyle(span).color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };
  return colours.map((colour) => [read("ansi-ink", colour), read("ansi-on", colour)]);
}"""


@pytest.mark.parametrize(("dark", "back"), [(False, [255, 255, 255]), (True, [22, 24, 27])])
def test_every_colour_is_legible(open_tab: Callable[..., Any], dark: bool, back: list[int]) -> None:
    colours = [[red, green, blue] for red in (0, 95, 175, 255) for green in (0, 95, 175, 255) for blue in (0, 135, 255)]
    tab = open_tab(dark=dark)
    for (ink, on), colour in zip(tab.evaluate(READ_COLOURS, colours), colours, strict=True):
        assert measure_contrast(ink, back) >= 4.5, (colour, ink)
        assert measure_contrast(on, colour) >= 4.5, (colour, on)


@pytest.mark.parametrize(
    ("why", "line", "text"),
    [
        ("a short one", {"text": "abc", "end": None, "left_out_bytes": 0}, "abc"),
        (
            "a long one",
            {"text": "abc", "end": "xyz", "left_out_bytes": 8_000_000},
            "abc … 8,000,000 bytes left out … xyz",
        ),
        ("a progress bar", {"text": "\r1 %", "end": " %\r98 %\r99 %", "left_out_bytes": 9}, "98 %\r99 %"),
    ],
)
def test_what_is_shown_of_a_long_line(why: str, line: dict[str, Any], text: str) -> None:
    assert run_node("ansi.shownOf(given)", line) == text, why

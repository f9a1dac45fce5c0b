"""The table of `just bench`: its rows, its names and its exit status. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.__main__ import BENCHES, OTHERS, main
from tests.bench.figures import HEAD, Bench, Figure

MET, MISSED = Figure("met", "/s", 90, 100, 0.8), Figure("missed", "MB", 121, target=120, is_most=True)


def make_bench(name: str, *figures: Figure) -> Bench:
    """A bench that finds these, in an empty folder."""

    def measure(folder: Path) -> Iterator[Figure]:
        assert folder.is_dir() and not list(folder.iterdir())
        (folder / "left").write_text("")
        yield from figures

    return Bench(name, f"what {name} is", measure)


PRETENDED = (make_bench("good", MET), make_bench("bad", MET, MISSED))


@pytest.mark.parametrize(
    ("why", "words", "status", "titles"),
    [
        ("a missed target alone is no failure", [], 0, ["met", "met", "missed"]),
        ("unless that is asked for", ["--check"], 1, ["met", "met", "missed"]),
        ("rows that are named, in their order", ["bad", "good"], 0, ["met", "missed", "met"]),
        ("a row that meets its target", ["good", "--check"], 0, ["met"]),
        ("one that does not", ["bad", "--check"], 1, ["met", "missed"]),
    ],
)
def test_exit_status(
    why: str, words: list[str], status: int, titles: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words, PRETENDED) == status, why
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[0] for row in rows if "/s" in row or "MB" in row] == titles
    assert (rows[-1] == "1 missed") is ("missed" in titles)


def test_what_cannot_be_measured_here_is_missed() -> None:
    bench = make_bench("absent")
    assert (main(["absent"], [bench]), main(["absent", "--check"], [bench])) == (0, 1)


def test_list_measures_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--check"], PRETENDED) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [["good", "what good is"], ["bad", "what bad is"]]


@pytest.mark.parametrize(
    ("why", "name", "text"),
    [("a near one is named", "goood", "no row 'goood', perhaps good;"), ("none is near", "xyz", "no row 'xyz'; ")],
)
def test_unknown_name(why: str, name: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["good", name], PRETENDED)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "") and text in err, why


@pytest.mark.parametrize(
    ("why", "figure", "row"),
    [
        ("a ratio", MET, "90 /s 100 /s 0.90 ≥ 0.8"),
        ("a ratio that is too small", Figure("x", "/s", 1234, 100_000, 0.8), "1,234 /s 100,000 /s 0.01 ≥ 0.8 missed"),
        ("at most", Figure("x", "ms", 12.345, target=20, is_most=True), "12.3 ms ≤ 20"),
        ("too much", MISSED, "121 MB ≤ 120 missed"),
        ("just met", Figure("x", "MB", 120, target=120, is_most=True), "120 MB ≤ 120"),
        ("no target is never missed", Figure("x", "MB", 1e6, note="so much"), "1,000,000 MB so much"),
    ],
)
def test_format(why: str, figure: Figure, row: str) -> None:
    text = figure.format_row()
    assert text.removeprefix(figure.title).split() == row.split(), why
    if figure.target is not None:  # each column ends where its head does
        mark = "≤" if figure.is_most else "≥"
        assert text.index(f"{mark} {figure.target:g}") + len(f"{mark} {figure.target:g}") == len(HEAD), why


def test_names() -> None:
    names = [bench.name for bench in BENCHES]
    assert len(set(names)) == len(names) and not OTHERS.keys() & set(names)
    assert all(
        name == name.lower() and " " not in name and bench.what for name, bench in zip(names, BENCHES, strict=True)
    )

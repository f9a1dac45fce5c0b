"""What plots of sweeps are computed by: scales, places, limits, the best cell and what is missing. Tables."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app_server import Server

pytestmark = pytest.mark.browser

CALL = """async ([name, code]) => {
  const source = document.querySelector("script[type=module]").src;
  const own = await import(new URL(`sweeps/${name}.js`, source));
  return new Function("own", `return ${code}`)(own);
}"""
CELL = """(number, status, value, args = {}) => ({ key: `k${number}`, number,
  family: { completed: "done", pending: "waiting" }[status] ?? status,
  row: { id: `k${number}`, status, args, result: value === undefined ? {} : { loss: value }, duration_seconds: 1 } })"""


@pytest.fixture(scope="module")
def page(browser: Any, site: Server) -> Any:
    """A tab that only runs the modules; nothing of what it is told comes from a page."""
    context = browser.new_context(bypass_csp=True)
    tab = context.new_page()
    tab.goto(site.url)
    yield tab
    context.close()


def call(page: Any, name: str, code: str) -> Any:
    """What an expression over a module of the page gives; `own` is the module."""
    return page.evaluate(CALL, [name, code])


@pytest.mark.parametrize(
    ("why", "values", "log", "kind"),
    [
        ("numbers", "[1, 2, 3]", "null", "linear"),
        ("a logspace", "[0.001, 0.01, 0.1, 1]", "null", "log"),
        ("a logspace, turned off", "[0.001, 0.01, 0.1, 1]", "false", "linear"),
        ("powers of two, near together", "[1, 2, 4, 8]", "null", "linear"),
        ("powers of two, far apart", "[1, 2, 4, 8, 16, 32, 64]", "null", "log"),
        ("sizes of batches", "[16, 32, 64, 128, 256]", "null", "log"),
        ("even steps, far apart", "[1, 11, 21, 31, 41]", "null", "linear"),
        ("with nothing that has a logarithm", "[0, 1, 100]", "true", "linear"),
        ("words", '["adam", "sgd"]', "null", "category"),
        ("numbers and a word", '[1, 2, "auto"]', "null", "category"),
        ("truth", "[true, false]", "null", "category"),
        ("lists", "[[1, 2], [3]]", "null", "category"),
        ("numbers, of which some are none", '[1, "NaN", -Infinity, null, 3]', "null", "linear"),
        ("no number that is one", '["NaN", "Infinity"]', "null", "category"),
        ("nothing", "[]", "null", "category"),
    ],
)
def test_which_scale_suits(page: Any, why: str, values: str, log: str, kind: str) -> None:
    assert call(page, "scales", f"own.makeScale({values}, {{ log: {log} }}).kind") == kind, why


@pytest.mark.parametrize(
    ("why", "values", "asked", "places"),
    [
        ("the ends stand at the ends", "[2, 4]", "[2, 3, 4]", [0, 0.5, 1]),
        ("what is no number does not set limits", '[0, 10, "Infinity", "NaN"]', '[10, "NaN", "Infinity", null]',
         [1, None, None, None]),
        ("a logarithm", "[0.01, 1, 100]", "[0.01, 1, 100, 0, -1]", [0, 0.5, 1, None, None]),
        ("one value stands in the middle", "[7]", "[7]", [0.5]),
        ("one category too", '["a"]', '["a", "b"]', [0.5, None]),
        ("categories in their order", '["b", "a", "c"]', '["b", "a", "c"]', [0, 0.5, 1]),
        ("1 and true are two", "[1, true]", "[1, true]", [0, 1]),
    ],
)  # fmt: skip
def test_where_values_stand(page: Any, why: str, values: str, asked: str, places: list[Any]) -> None:
    assert call(page, "scales", f"{asked}.map(own.makeScale({values}).place)") == places, why


@pytest.mark.parametrize(
    ("why", "code", "ticks"),
    [
        ("round steps", "own.listNiceTicks(0, 10)", [0, 2, 4, 6, 8, 10]),
        ("no errors of floats", "own.listNiceTicks(0, 0.5)", [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        ("inside of the limits", "own.listNiceTicks(0.13, 0.87, 4)", [0.2, 0.4, 0.6, 0.8]),
        ("below zero", "own.listNiceTicks(-1, 1, 4)", [-1, -0.5, 0, 0.5, 1]),
        ("powers of ten", "own.listLogTicks(0.001, 1)", [0.001, 0.01, 0.1, 1]),
        ("every second power of many", "own.listLogTicks(1e-9, 1).length", 5),
        ("parts of a power", "own.listLogTicks(2, 40)", [2, 5, 10, 20]),
        ("few values are ticks", "own.makeScale([1, 3, 7]).ticks.map(({ label }) => label)", ["1", "3", "7"]),
        ("the limits of a narrow range", "own.listLogTicks(3, 4)", [3, 4]),
    ],
)
def test_ticks(page: Any, why: str, code: str, ticks: Any) -> None:
    assert call(page, "scales", code) == ticks, why


@pytest.mark.parametrize(
    ("number", "text"),
    [("0", "0"), ("0.1 + 0.2", "0.3"), ("-1.5", "−1.5"), ("1e-5", "1e-5"), ("123456", "123456"), ("1 / 3", "0.33333"),
     ("1.5e9", "1.5e9"), ("NaN", "NaN"), ("-Infinity", "−∞"), ("0.00012345678", "1.2346e-4"), ("1e300", "1e300")],
)  # fmt: skip
def test_numbers_in_short(page: Any, number: str, text: str) -> None:
    assert call(page, "scales", f"own.writeNumber({number})") == text


@pytest.mark.parametrize(
    ("why", "cells", "sentence"),
    [
        ("all are there", '[make(0, "completed", 1)]', ""),
        ("none is", '[make(0, "pending")]', "1 cell not shown: 1 waiting"),
        ("of each kind", '[make(0, "failed"), make(1, "failed"), make(2, "completed", "NaN"), make(3, "completed", 1)]',
         "3 cells not shown: 2 failed, 1 NaN"),
        ("infinite", '[make(0, "completed", "-Infinity"), make(1, "completed", "Infinity")]',
         "2 cells not shown: 1 −∞, 1 ∞"),
        ("done without a value", '[make(0, "completed"), make(1, "completed", "text")]',
         "2 cells not shown: 2 without a value"),
        ("failed, but with a value", '[make(0, "failed", 3)]', ""),
    ],
)  # fmt: skip
def test_what_is_missing(page: Any, why: str, cells: str, sentence: str) -> None:
    code = f'(() => {{ const make = {CELL}; return own.describeLack({cells}, "loss"); }})()'
    assert call(page, "cells", code) == sentence, why


@pytest.mark.parametrize(
    ("why", "values", "goal", "best"),
    [
        ("the lowest", [3, 1, 2], "min", 1),
        ("the highest", [3, 1, 2], "max", 0),
        ("never one that is no number", ["NaN", "-Infinity", 5, "Infinity"], "min", 2),
        ("the first of equal ones", [1, 1], "max", 0),
        ("none", ["NaN", None], "min", None),
    ],
)
def test_the_best_cell(page: Any, why: str, values: list[Any], goal: str, best: int | None) -> None:
    make = f"{values}.map((value, at) => ({CELL})(at, 'completed', value))".replace("None", "null")
    assert call(page, "cells", f'own.findBest({make}, "loss", "{goal}")?.number ?? null') == best, why


@pytest.mark.parametrize(
    ("metric", "goal"),
    [("train.loss", "min"), ("eval.rmse", "min"), ("loss_job.accuracy", "max"), ("duration_seconds", "min"),
     ("test.f1", "max"), ("train.loss.last", "min"), ("eval.answer_accuracy", "max"), ("eval.wer", "min")],
)  # fmt: skip
def test_which_values_are_good(page: Any, metric: str, goal: str) -> None:
    assert call(page, "cells", f'own.guessGoal("{metric}")') == goal


@pytest.mark.parametrize(
    ("why", "y", "limit", "hold"),
    [
        ("an axis without a limit", 50, None, "new"),
        ("beside the limit", 150, [20, 100], "new"),
        ("inside", 60, [20, 100], "all"),
        ("its upper end", 22, [20, 100], "high"),
        ("its lower end", 98, [20, 100], "low"),
        ("just beyond its end", 104, [20, 100], "low"),
        ("a narrow one is drawn wider from outside", 48, [50, 52], "high"),
    ],
)
def test_what_a_press_takes_hold_of(page: Any, why: str, y: int, limit: list[int] | None, hold: str) -> None:
    assert call(page, "parallel", f"own.findHold({y}, {limit or 'null'})") == hold, why


@pytest.mark.parametrize(
    ("why", "hold", "limit", "move", "after"),
    [
        ("a new one", "new", None, (30, 60), [30, 60]),
        ("drawn upwards", "new", None, (60, 30), [30, 60]),
        ("drawn beyond both ends it takes them in", "new", None, (-50, 900), [0, 100]),
        ("moved", "all", [20, 40], (30, 50), [40, 60]),
        ("moved beyond the end it keeps its size", "all", [20, 40], (30, 500), [80, 100]),
        ("an end", "low", [20, 40], (40, 70), [20, 70]),
        ("an end drawn past the other", "low", [20, 40], (40, 10), [10, 20]),
    ],
)
def test_limits_move(page: Any, why: str, hold: str, limit: Any, move: tuple[int, int], after: list[int]) -> None:
    code = f'own.moveLimit("{hold}", {limit or "null"}, {move[0]}, {move[1]}, [0, 100])'
    assert call(page, "parallel", code) == after, why


@pytest.mark.parametrize(
    ("why", "limits", "numbers"),
    [
        ("both ends are in", {"n": [1, 3]}, [0, 1, 2]),
        ("a single value", {"n": [2, 2]}, [1]),
        ("a category by its place", {"word": [1, 1]}, [1]),
        ("all of them", {"n": [2, 4], "word": [0, 1]}, [1, 3]),
        ("a cell without a value is out", {"loss": [0, 9]}, [0, 1, 3]),
        ("no limits", {}, [0, 1, 2, 3]),
    ],
)
def test_which_cells_are_within_limits(page: Any, why: str, limits: Any, numbers: list[int]) -> None:
    # Rounded as a number in an address or a field may be, 3 is still the end.
    code = f"""(() => {{
      const make = {CELL};
      const cells = [make(0, "completed", 1, {{ n: 1, word: "a" }}), make(1, "completed", 2, {{ n: 2, word: "b" }}),
        make(2, "completed", "NaN", {{ n: 3.0000000000000004, word: "c" }}),
        make(3, "completed", 9, {{ n: 4, word: "a" }})];
      const scale = (kind) => ({{ toPosition: kind }});
      const scales = new Map([["n", scale((value) => value)],
        ["loss", scale((value) => (value === "NaN" ? null : value))],
        ["word", scale((value) => ["a", "b", "c"].indexOf(value))]]);
      return cells.filter((cell) => own.isWithin(cell, {limits}, scales)).map((cell) => cell.number);
    }})()"""
    assert call(page, "cells", code) == numbers, why


def test_the_nearest_line_and_point(page: Any) -> None:
    lines = '[{ key: "flat", ys: [10, 10, 10] }, { key: "steep", ys: [10, 90, 10] }]'
    find = f"((x, y) => own.findNearestLine({lines}, [0, 100, 200], x, y)?.key ?? null)"
    assert call(page, "parallel", f"[{find}(50, 12), {find}(50, 48), {find}(150, 52), {find}(50, 30)]") == [
        "flat", "steep", "steep", None,
    ]  # fmt: skip
    points = '[{ key: "a", x: 0, y: 0 }, { key: "b", x: 10, y: 0 }]'
    near = f"((x, y) => own.findNearestPoint({points}, x, y)?.key ?? null)"
    assert call(page, "points", f"[{near}(4, 1), {near}(6, 1), {near}(40, 40)]") == ["a", "b", None]


@pytest.mark.parametrize(
    ("why", "matrix", "wanted", "across", "down", "size"),
    [
        ("one axis is one line", {"a": [1, 2, 3]}, "null", "a", [], (3, 1)),
        ("two", {"a": [1, 2], "b": [1, 2, 3]}, "null", "b", ["a"], (3, 2)),
        ("two, the other way", {"a": [1, 2], "b": [1, 2, 3]}, '"a"', "a", ["b"], (2, 3)),
        ("three", {"a": [1, 2, 3], "b": [1, 2], "c": [5, 6]}, "null", "a", ["b", "c"], (3, 4)),
        ("three, chosen", {"a": [1, 2, 3], "b": [1, 2], "c": [5, 6]}, '"c", "a"', "c", ["b", "a"],
         (2, 6)),
        ("axes of one value take no place", {"a": [1, 2], "b": [1], "c": [1, 2]}, "null", "a", ["c"], (2, 2)),
    ],
)  # fmt: skip
def test_the_matrix_is_laid_out(
    page: Any, why: str, matrix: Any, wanted: str, across: str, down: list[str], size: tuple[int, int]
) -> None:
    code = f"""(() => {{
      const axes = own.listAxes({matrix});
      let all = [{{}}];
      for (const [name, values] of Object.entries({matrix}))
        all = all.flatMap((args) => values.map((value) => ({{ ...args, [name]: value }})));
      const cells = all.map((args, at) => ({CELL})(at, "completed", at, args));
      const found = own.layOut(cells, axes, {wanted});
      const places = found.places.map(({{ column, row }}) => [column, row]);
      return [found.across, found.down, [new Set(places.map(([column]) => column)).size, found.rows.length],
        new Set(places.map(String)).size === cells.length];
    }})()"""
    assert call(page, "cells", code) == [across, down, list(size), True], why


def test_rows_without_cells_take_no_place(page: Any) -> None:
    code = f"""(() => {{
      const axes = own.listAxes({{ a: [1, 2], b: [1, 2, 3] }});
      const cells = [[1, 1], [2, 1], [1, 3]].map(([a, b], at) => ({CELL})(at, "completed", at, {{ a, b }}));
      const found = own.layOut(cells, axes, "a");
      return [found.rows, found.places.map(({{ column, row }}) => [column, row])];
    }})()"""
    assert call(page, "cells", code) == [["1", "3"], [[0, 0], [1, 0], [0, 1]]]


def test_a_long_axis_goes_on_in_the_next_line(page: Any) -> None:
    code = f"""(() => {{
      const values = Array.from({{ length: 1000 }}, (_, at) => at);
      const cells = values.map((a, at) => ({CELL})(at, "completed", at, {{ a }}));
      const found = own.layOut(cells, own.listAxes({{ a: values }}));
      return [found.width, found.rows.length, found.rows[1]];
    }})()"""
    assert call(page, "cells", code) == [45, 23, "45 …"]


def test_columns_that_differ(page: Any) -> None:
    code = f"""(() => {{
      const make = {CELL};
      const cells = [1, 2].map((a, at) => make(at, "completed", 1, {{ a, b: [1], c: "x" }}));
      return own.listColumns(cells, own.listAxes({{ a: [1, 2] }})).map(({{ name, differs }}) => [name, differs]);
    }})()"""
    assert call(page, "cells", code) == [["a", True], ["b", False], ["c", False], ["loss", False]]


def test_long_numbers_keep_their_digits(page: Any) -> None:
    text = '{"seed": [9007199254740993, 12, 1.5, "9007199254740993"], "id": 9007199254740991}'
    code = f"""async () => {{
      const source = document.querySelector("script[type=module]").src;
      const {{ parseJson }} = await import(new URL("core/feed.js", source));
      return parseJson('{text}');
    }}"""
    kept = {"seed": ["9007199254740993", 12, 1.5, "9007199254740993"], "id": 9007199254740991}
    assert page.evaluate(code) == kept
    assert call(page, "scales", 'own.makeScale(["9007199254740993", "9007199254740995"]).kind') == "linear"

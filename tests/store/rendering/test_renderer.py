"""Templates: what they give, what they are refused, and that no template can harm the process that asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.errors import Invalid
from store.rendering.renderer import WORKER, Renderer, has_template
from store.rules import fields
from tests import ROOT


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer() as renderer:
        yield renderer


@pytest.fixture(scope="module")
def strict() -> Iterator[Renderer]:
    """A renderer with little time, so that reaching its limits does not take long; its wall limit is never reached."""
    with Renderer(cpu_s=0.3, memory_mb=256, wall_s=60) as renderer:
        yield renderer


GIVEN = {
    "n": 3,
    "x": 0.5,
    "word": "a b",
    "words": ["a", "b"],
    "yes": True,
    "m": {"k": [1]},
    "deps": {"a-1": {"out": "o", "items": "i"}},
}

RENDERED = [
    ("a name in a text", "n={{ n }}.", "n=3."),
    ("an expression alone keeps its type", "{{ n }}", 3),
    ("a float", "{{ x }}", 0.5),
    ("a truth value", "{{ yes }}", True),
    ("a list", "{{ words }}", ["a", "b"]),
    ("a mapping", "{{ m }}", {"k": [1]}),
    ("nothing", "{{ none }}", None),
    ("a computed number", "{{ n * 2 + 1 }}", 7),
    ("what a filter gives one by one", "{{ words | map('upper') }}", ["A", "B"]),
    ("a range", "{{ range(n) }}", [0, 1, 2]),
    ("signs that strip blanks", "{{- n -}}", 3),
    ("two expressions are text", "{{ n }}{{ n }}", "33"),
    ("blanks around it are text", " {{ n }}", " 3"),
    ("a truth value in a text", "{{ yes }}!", "True!"),
    ("a condition", "{% if yes %}y{% else %}n{% endif %}", "y"),
    ("a loop", "{% for one in words %}{{ one }},{% endfor %}", "a,b,"),
    ("a comment", "a{# no #}b", "ab"),
    ("the length of a list in a shell", "echo ${#list[@]} {{ n }}", "echo ${#list[@]} 3"),
    ("the length of a list in a shell, alone", "echo ${#list[@]}", "echo ${#list[@]}"),
    ("a line break at the end", "{{ n }}\n", "3\n"),
    ("braces that are meant", "{% raw %}{{.Names}}{% endraw %}", "{{.Names}}"),
    ("a default for what is not there", "{{ zz | default('d') }}", "d"),
    ("asking whether it is there", "{{ zz is defined }}", False),
    ("a condition without else", "{{ 1 if false }}", ""),
    ("an export of a job with a hyphen", "{{ deps['a-1'].out }}", "o"),
    ("an export named like a method", "{{ deps['a-1'].items }}", "i"),
    ("no escaping", "{{ '<' ~ word }}&", "<a b&"),
]


@pytest.mark.parametrize(("why", "source", "value"), RENDERED, ids=[row[0] for row in RENDERED])
def test_what_a_text_gives(renderer: Renderer, why: str, source: str, value: Any) -> None:
    found = renderer.render({"a": [source]}, GIVEN)
    assert found == {"a": [value]}
    assert type(found["a"][0]) is type(value)


REFUSED = [
    ("an undefined name", "{{ wodrs }}", "template_undefined", "'wodrs' is undefined; did you mean 'words'?"),
    ("in a text too", "x {{ zz }}", "template_undefined", "'zz' is undefined"),
    ("a part of an undefined name", "{{ zz.a }}", "template_undefined", "'zz' is undefined"),
    ("a key that is not there", "{{ m.z }}", "template_undefined", "no attribute 'z'"),
    ("a job that is no dependency", "{{ deps.b.out }}", "template_undefined", "does not depend on a job 'b'"),
    ("a job's name that is read as a subtraction", "{{ deps.a-1.out }}", "template_", ""),
    ("the first part of a job's name", "{{ deps.a.out }}", "template_undefined", "written deps['a-1']"),
    ("an export that is not there", "{{ deps['a-1'].outt }}", "template_undefined", "did you mean 'out'?"),
    ("an open brace", "{{ n", "template_syntax", "unexpected end of template"),
    ("Go's templates", "docker ps --format {{.Names}}", "template_syntax", "write {% raw %}"),
    ("a statement that is none", "{% frobnicate %}", "template_syntax", "unknown tag"),
    ("in a later line", "a\nb\n{% x %}", "template_syntax", "in line 3"),
    ("division by nothing", "{{ 1 / 0 }}", "template_error", "ZeroDivisionError"),
    ("adding what cannot be added", "{{ n + word }}", "template_error", "TypeError"),
    ("a function", "{{ range }}", "template_error", "gives a "),
    ("a number too large", "{{ 10 ** 4000 }}", "template_error", "4000 digits"),
    ("infinity", "{{ x * 1e308 * 1e308 }}", "template_error", "infinite"),
    ("half a surrogate pair", "{{ '\\ud800' }}", "template_error", ""),
    ("keys that are numbers", "{{ {1: 2} }}", "template_error", "keys are not text"),
    ("another file", "{% include '/etc/passwd' %}", "template_error", "no loader"),
    ("chance", "{{ words | random }}", "template_", "random"),
    ("Jinja's filler", "{{ lipsum() }}", "template_undefined", "'lipsum' is undefined"),
    ("the class of a text", "{{ ''.__class__ }}", "template_refused", "unsafe"),
    ("in a text too ", "x{{ ''.__class__.__mro__ }}", "template_refused", "unsafe"),
    ("by subscript", "{{ ''['__class__'] }}", "template_refused", "unsafe"),
    ("by filter", "{{ '' | attr('__class__') }}", "template_refused", "unsafe"),
    ("the globals of a function", "{{ cycler.__init__.__globals__ }}", "template_refused", "unsafe"),
    ("by formatting", "{{ '{0.__class__}'.format(1) }}", "template_refused", "unsafe"),
    ("by a mapping's formatting", "{{ '{a.__class__}'.format_map({'a': 1}) }}", "template_refused", "unsafe"),
    ("the template itself", "{{ self.__init__.__globals__ }}", "template_refused", "unsafe"),
    ("changing a list", "{{ words.append(1) }}", "template_refused", "unsafe"),
]


@pytest.mark.parametrize(("why", "source", "type_", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_refused_says_where_and_why(
    renderer: Renderer, why: str, source: str, type_: str, message: str
) -> None:
    with pytest.raises(Invalid) as caught:
        renderer.render({"good": "{{ n }}", "list": ["x", source]}, GIVEN)
    (problem,) = caught.value.problems
    assert problem["loc"] == ["list", 1]
    assert problem["type"].startswith(type_)
    assert message in problem["msg"]
    assert problem["input"] == source


def test_all_texts_that_cannot_be_rendered_are_named(renderer: Renderer) -> None:
    with pytest.raises(Invalid) as caught:
        renderer.render(["{{ a }}", {"b": "{{ c }}", "d": "{{ n }}"}], GIVEN)
    assert [problem["loc"] for problem in caught.value.problems] == [[0], [1, "b"]]


LIMITS = [
    ("much memory at once", "{{ 'a' * 10 ** 9 }}", "more than 256 MB of memory"),
    ("memory by formatting", "{{ '%1000000000d' % 1 }}", "more than 256 MB of memory"),
    ("memory by a filter", "{{ 'a' | center(10 ** 9) }}", "more than 256 MB of memory"),
    (
        "memory by doubling",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "more than 256 MB of memory",
    ),
    ("a long text", "{{ 'a' * 2000000 }}", "larger than 1 MB"),
    (
        "a long text from short pieces",
        "{% for i in range(60000) %}abcdefghijklmnopqrstuvwxyz{% endfor %}",
        "larger than 1 MB",
    ),
    ("the same object many times", "{% set a = ['x' * 1000] * 50 %}{{ [a, a] }}{{ [a] * 50 }}", "larger than 1 MB"),
    ("a value that is large only when written", "{{ [['x' * 1000] * 50] * 50 }}", "larger than 1 MB"),
    (
        "loops in loops",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "more than 0.3 s of computing",
    ),
    (
        "one long computation",
        "{{ (7 ** 7 ** 7) % 10 ** 9 }}{{ (3 ** 9999999) % 7 }}{{ (3 ** 39999999) % 7 }}",
        "0.3 s of computing",
    ),
    ("a computation while compiling", "{{ 3 ** 39999999 % 7 }}", "0.3 s of computing"),
]


@pytest.mark.parametrize(("why", "source", "message"), LIMITS, ids=[row[0] for row in LIMITS])
def test_limits_end_the_rendering_and_the_next_one_works(
    renderer: Renderer, strict: Renderer, why: str, source: str, message: str
) -> None:
    tight_or_wide = strict if "computing" in message else renderer
    with pytest.raises(Invalid, match=message) as caught:
        tight_or_wide.render([source], {})
    assert caught.value.problems[0]["type"] == "template_limit"
    assert tight_or_wide.render("{{ n }}", {"n": why}) == why


WHERE = [
    ("time", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
    ("memory", "{{ 'a' * 10 ** 9 }}"),
    ("output", "{{ 'a' * 2000000 }}"),
]


@pytest.mark.parametrize(("why", "source"), WHERE, ids=[row[0] for row in WHERE])
def test_a_limit_names_the_place(strict: Renderer, why: str, source: str) -> None:
    with pytest.raises(Invalid) as caught:
        strict.render({"a": "{{ 1 }}", "b": ["", source], "c": "{{ 2 }}"}, {})
    assert caught.value.problems[0]["loc"] == ["b", 1]


DEEP = [
    ("brackets", "{{ " + "[" * 50_000 + "]" * 50_000 + " }}"),
    ("parentheses", "{{ " + "(" * 800 + "1" + ")" * 800 + " }}"),
    ("conditions", "{% if 1 %}" * 2000 + "{% endif %}" * 2000),
    ("loops", "{% for a in [1] %}" * 100 + "{% endfor %}" * 100),
    ("many names", "{{ a" + ".a" * 20_000 + " }}"),
    ("many additions", "{{ 1" + " + 1" * 20_000 + " }}"),
    ("calls of itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
]


@pytest.mark.parametrize(("why", "source"), DEEP, ids=[row[0] for row in DEEP])
def test_deep_templates_are_refused(renderer: Renderer, why: str, source: str) -> None:
    with pytest.raises(Invalid):
        renderer.render(source, {"a": 1})
    assert renderer.render("{{ n }}", {"n": why}) == why


def test_a_child_that_does_not_answer_is_ended(tmp_path: Path) -> None:
    with Renderer(cpu_s=60, wall_s=0.2) as slow, pytest.raises(Invalid, match=r"more than 0\.2 s"):
        slow.render("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", {})
    assert slow.pid is None


def test_a_stopped_child_is_replaced() -> None:
    with Renderer(wall_s=30) as renderer:
        renderer.render("{{ 1 }}", {})
        first = renderer.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        renderer.wall_s = 0.2
        with pytest.raises(Invalid, match="rendering took more than"):
            renderer.render(["{{ n }}" * 10, "x" * 200_000], {"n": 1})
        renderer.wall_s = 30
        assert renderer.render("{{ 2 }}", {}) == 2
        assert renderer.pid != first


def test_a_killed_child_is_replaced_without_a_word() -> None:
    with Renderer() as renderer:
        renderer.render("{{ 1 }}", {})
        first = renderer.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert renderer.render("{{ 2 }}", {}) == 2
        assert renderer.pid not in (None, first)


def test_no_child_is_started_for_text_without_templates() -> None:
    with Renderer() as renderer:
        assert renderer.render({"a": ["x", 1, None, "$HOME ${x} {x} 100%"]}, {}) == {
            "a": ["x", 1, None, "$HOME ${x} {x} 100%"]
        }
        assert renderer.render_workflow([("a", 1)], [{"name": "j", "loc": [], "deps": [], "exports": {}, "body": "x"}])[
            "args"
        ] == {"a": 1}
        assert renderer.find_names({"a": "x"}) == {"a": []}
        assert renderer.pid is None


def test_the_child_knows_nothing_of_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hidden")
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        with Renderer() as renderer:
            renderer.render("{{ 1 }}", {})
            proc = Path(f"/proc/{renderer.pid}")
            if not proc.exists():
                pytest.skip("only Linux tells what a process has")
            assert (proc / "environ").read_bytes() == b""
            targets = {fd.name: str(fd.readlink()) for fd in (proc / "fd").iterdir()}
            assert set(targets) == {"0", "1", "2"}
            assert targets["2"] == "/dev/null"
            assert (proc / "cwd").readlink() == Path("/")
            limits = (proc / "limits").read_text()
            assert "Max address space         256000000" in limits
            assert "Max file size             0 " in limits
    finally:
        os.close(reading)
        os.close(writing)


def test_the_child_ends_with_its_parent() -> None:
    program = (
        "import os\nfrom store.rendering.renderer import Renderer\none = Renderer()\none.render('{{ 1 }}', {})\n"
        "print(one.pid, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    root = ROOT
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL
    child = int(done.stdout)
    gone = threading.Event()
    for _ in range(1000):
        try:
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            gone.set()
            break
        if state == "Z":  # nobody in this container collects it
            gone.set()
            break
        gone.wait(0.01)
    assert gone.is_set()


def test_the_end_of_the_child_is_waited_for() -> None:
    renderer = Renderer()
    renderer.render("{{ 1 }}", {})
    pid = renderer.pid
    assert pid is not None
    renderer.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    renderer.close()


def test_many_threads_get_each_their_own_answer(renderer: Renderer) -> None:
    found: dict[int, list[Any]] = {}

    def ask(number: int) -> None:
        found[number] = [renderer.render("{{ n }}-{{ m }}", {"n": number, "m": turn}) for turn in range(25)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {number: [f"{number}-{turn}" for turn in range(25)] for number in range(8)}


def test_an_answer_is_kept_but_never_shared() -> None:
    with Renderer() as renderer:
        first = renderer.render(["{{ words }}"], GIVEN)
        first[0].append("changed")
        pid = renderer.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # whoever answers now, it is not the child
        assert renderer.render(["{{ words }}"], GIVEN) == [["a", "b"]]


def test_what_cannot_be_sent_is_refused(renderer: Renderer) -> None:
    for context in ({"a": "\ud800"}, {"a": float}):
        with pytest.raises(Invalid, match="cannot be rendered"):
            renderer.render("{{ a }}", context)


def test_the_names_that_templates_use(renderer: Renderer) -> None:
    trees = {
        "a": "{{ b }}{% set c = 1 %}{{ c + d.e }}",
        "b": ["{{ a | upper }}", {"x": "{% for f in g %}{{ f }}{% endfor %}"}],
        "c": 1,
    }
    assert renderer.find_names(trees) == {"a": ["b", "d"], "b": ["a", "g"], "c": []}
    with pytest.raises(Invalid) as caught:
        renderer.find_names({"a": ["{{ x"]})
    assert caught.value.problems[0]["loc"] == ["a", 0]


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
).filter(lambda tree: not has_template(tree))


@given(TREES)
@settings(deadline=None)
def test_texts_without_marks_are_never_changed(renderer: Renderer, tree: Any) -> None:
    assert renderer.render({"tree": tree, "else": "{{ 1 }}"}, {}) == {"tree": tree, "else": 1}


@given(st.text(alphabet="{}%#-+$ ()[].,:'\"|~abn01\n\\_", max_size=24))
@settings(max_examples=200, deadline=None)
def test_whatever_a_text_holds_it_is_rendered_or_refused(renderer: Renderer, source: str) -> None:
    try:
        found = renderer.render(source, {"n": 1, "a": "x"})
    except Invalid as error:
        assert all(problem["msg"] and problem["loc"] == [] for problem in error.problems)
    else:
        assert found == source or fields.is_template(source)


def test_the_worker_says_nothing_but_answers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(WORKER), "256000000", "2", ""],
        input=b"\0\0",
        capture_output=True,
        env={},
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b'\0\0\0\x0f{"ready": true}', b"")

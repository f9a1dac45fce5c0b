"""The child process that renders templates, within kernel limits.

Run as `python -I worker.py MEMORY_BYTES CPU_S FOLDER` by renderer.py; imports nothing of Sluice. One request in, one
answer out. A message is four bytes of length and JSON. First `{"ready": true}`, then for each request
`{"answer": …}`, `{"problems": […]}` or `{"over": LIMIT, "loc": […]}`, after which this process should be replaced;
each with `spent_s`, the computing that it took.

Requests: `{"uses": {NAME: TREE}}` asks which names the templates in each tree use; `{"tree": TREE, "context": {…}}`
renders one tree; `{"args": [[NAME, TREE], …], "jobs": […]}` renders a workflow's args, each seeing those before it,
then jobs, each seeing the args and, as `deps`, the exports of the jobs that it names. Trees are JSON; their texts are
rendered, and a text that is one expression and nothing else gives that expression's own value.
"""

from __future__ import annotations

import difflib
import json
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

if __name__ == "__main__":
    # -I hides packages that a user installed for himself only; the parent says where it found its own.
    sys.path.extend(sys.argv[3:4])

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, UndefinedError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

MAX_OUTPUT_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_COMPILED = 1000
MAX_PROBLEMS = 100
MAX_INTEGER = 10**4000
MARKS = ("{{", "{%", "{#")
# What a number or boolean counts towards the output.
SCALAR_BYTES = 8

Loc = list[Any]


class Deps(dict[str, "Exports"]):
    """`deps` in a job's templates: the exports of each job it depends on."""


class Exports(dict[str, Any]):
    """What one job exports."""


class LimitReached(BaseException):
    """A request has reached a limit, which is the text.

    Derived from BaseException, so that no template and no `except Exception` stops it.
    """


class Missing(StrictUndefined):
    """An undefined name; its message suggests names that exist."""

    known: Iterable[str] = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        name, holder = self._undefined_name, self._undefined_obj
        if holder is missing:
            return f"'{name}' is undefined{suggest_name(str(name), self.known)}"
        if isinstance(holder, Deps):
            return f"this job does not depend on a job '{name}'{suggest_name(str(name), holder)}"
        if isinstance(holder, Exports):
            return f"that job exports no '{name}'{suggest_name(str(name), holder)}"
        return super()._undefined_message


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox without loader, randomness, and hidden exports."""

    def __init__(self, **options: Any) -> None:
        super().__init__(undefined=Missing, keep_trailing_newline=True, autoescape=False, **options)
        # Equal requests must give equal answers, because answers are kept.
        self.filters.pop("random")
        self.globals.pop("lipsum")

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look up exports before methods.

        `deps.a.items` is what a exports as `items`, not a method of the mapping.
        """
        if isinstance(obj, Deps | Exports) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return the part of a message that suggests the right name."""
    known = list(known)
    found = difflib.get_close_matches(name[:128], known[:1000], 1, 0.6)
    if not found and (longer := [name_ for name_ in known if name_.startswith(f"{name}-")]):
        return f"; a name with a hyphen is written deps['{longer[0]}']"
    if found:
        return f"; did you mean '{found[0]}'?"
    return f"; there is {', '.join(sorted(known)[:20])}" if known else ""


PLAIN = Sandbox()
# In a shell script `${#list[@]}` is the length of a list, not the start of a comment.
SHELL = Sandbox(comment_start_string="\0{#", comment_end_string="#}\0")

Render = Callable[[dict[str, Any]], Any]


class TemplateCache:
    """Templates by their text, each compiled once."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Render, bool]] = {}

    def get(self, source: str) -> tuple[Render, bool]:
        """Return what renders this text, and whether it gives a typed value."""
        if source not in self.kept:
            if len(self.kept) >= MAX_COMPILED:
                self.kept.clear()
            self.kept[source] = self.compile(source)
        return self.kept[source]

    def compile(self, source: str) -> tuple[Render, bool]:
        """Compile the text; see `get`."""
        environment = choose_sandbox(source)
        tree = environment.parse(source)
        expression = find_expression(tree)
        if expression is None:
            template = environment.from_string(tree)
            return (lambda context: template.generate(context)), False
        # Like Environment.compile_expression, but from the tree that was parsed already.
        result = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
        template = environment.from_string(nodes.Template([result], lineno=1))

        def value(context: dict[str, Any]) -> Any:
            inner = template.new_context(context)
            for _ in template.root_render_func(inner):
                pass  # the assignment is only done when the output is consumed
            return inner.vars["result"]

        return value, True


def choose_sandbox(source: str) -> Sandbox:
    """Return the sandbox for this text.

    The one without comments when each `{#` in it belongs to the shell.
    """
    return SHELL if source.count("{#") == source.count("${#") else PLAIN


def find_expression(tree: nodes.Template) -> nodes.Expr | None:
    """Return the expression of a text that is `{{ expression }}` only."""
    output = tree.body[0] if len(tree.body) == 1 else None
    if not isinstance(output, nodes.Output) or len(output.nodes) != 1:
        return None
    return None if isinstance(output.nodes[0], nodes.TemplateData) else output.nodes[0]


class Request:
    """The work on one request: its remaining output, and its problems."""

    def __init__(self, compiled: TemplateCache) -> None:
        self.compiled = compiled
        self.left_bytes = MAX_OUTPUT_BYTES
        self.at: Loc = []
        self.problems: list[dict[str, Any]] = []

    def render(self, tree: Any, context: dict[str, Any], loc: Loc) -> Any:
        """Render the tree's texts; a text that fails stays and is a problem."""
        if isinstance(tree, dict):
            return {key: self.render(item, context, [*loc, key]) for key, item in tree.items()}
        if isinstance(tree, list):
            return [self.render(item, context, [*loc, index]) for index, item in enumerate(tree)]
        if not isinstance(tree, str) or not any(mark in tree for mark in MARKS):
            return tree
        return self.attempt(loc, tree, lambda: self.render_leaf(tree, context))

    def attempt(self, loc: Loc, source: str, work: Callable[[], Any]) -> Any:
        """Return what the work gives; a failure becomes a problem at `loc`."""
        self.at = loc
        try:
            return work()
        except MemoryError as error:
            raise LimitReached("memory") from error
        except Exception as error:  # whatever a template can raise is the template's fault
            if len(self.problems) < MAX_PROBLEMS:
                type_, message = describe_error(error)
                self.problems.append({"loc": loc, "msg": message[:1000], "type": type_, "input": source[:200]})
            return source

    def render_leaf(self, source: str, context: dict[str, Any]) -> Any:
        """Render one text."""
        render, has_type = self.compiled.get(source)
        Missing.known = context.keys()
        if has_type:
            return self.to_plain(render(context), 0)
        pieces = []
        for piece in render(context):
            self.spend(piece)
            pieces.append(piece)
        return "".join(pieces)

    def spend(self, text: str) -> str:
        # A lone surrogate fails here: it cannot be sent, stored or given to a process.
        """Count a text towards the output. Raises LimitReached."""
        self.left_bytes -= len(text.encode()) + SCALAR_BYTES
        if self.left_bytes < 0:
            raise LimitReached("output")
        return text

    def to_plain(self, value: Any, depth: int) -> Any:
        """Return the value as JSON can carry it.

        It is counted as it is walked, since parts may be the same object many times.
        """
        if isinstance(value, str | Undefined):
            return self.spend(str(value))  # an undefined name raises here
        self.spend("")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and -MAX_INTEGER < value < MAX_INTEGER:
            return int(value)
        if isinstance(value, float) and value - value == 0:
            return float(value)
        if isinstance(value, int | float):
            raise ValueError("gives a number that is infinite or has more than 4000 digits")
        if depth >= MAX_DEPTH:
            raise ValueError(f"gives something nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, Mapping):
            return {self.check_key(key): self.to_plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, Iterable):
            return [self.to_plain(item, depth + 1) for item in value]
        raise ValueError(f"gives a {type(value).__name__}, which is not a value")

    def check_key(self, key: Any) -> str:
        """Return a mapping's key. Raises ValueError if it is not text."""
        if not isinstance(key, str):
            raise ValueError("gives a mapping whose keys are not text")
        return self.spend(key)

    def find_names(self, trees: dict[str, Any]) -> dict[str, list[str]]:
        """Return the undefined names in the templates of each tree."""
        return {name: sorted(self.collect_names(tree, [name])) for name, tree in trees.items()}

    def collect_names(self, tree: Any, loc: Loc) -> set[str]:
        """Return the undefined names in the templates of a tree."""
        if isinstance(tree, dict | list):
            pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
            return set().union(*(self.collect_names(item, [*loc, key]) for key, item in pairs))
        if not isinstance(tree, str) or not any(mark in tree for mark in MARKS):
            return set()
        found = self.attempt(loc, tree, lambda: meta.find_undeclared_variables(choose_sandbox(tree).parse(tree)))
        return found if isinstance(found, set) else set()

    def render_workflow(self, args: list[Any], jobs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the args by name, and exports and body of each job.

        Jobs come after those in their `deps`.
        """
        context: dict[str, Any] = {}
        for name, tree in args:
            context[name] = self.render(tree, context, ["args", name])
        if self.problems:  # the jobs would only repeat them
            return {}
        exports: dict[str, Exports] = {}
        done = []
        for job in jobs:
            seen = {**context, "deps": Deps({name: exports[name] for name in job["deps"]})}
            rendered = self.render(job["exports"], seen, [*job["loc"], "exports"])
            exports[job["name"]] = Exports(rendered)
            done.append({"exports": rendered, "body": self.render(job["body"], seen, job["loc"])})
        return {"args": context, "jobs": done}


def describe_error(error: Exception) -> tuple[str, str]:
    """Return type and message of a problem, from what a template raised."""
    message = str(error) or type(error).__name__
    if isinstance(error, TemplateSyntaxError):
        place = f" in line {error.lineno} of the text" if error.lineno > 1 else ""
        hint = " (write {% raw %}…{% endraw %} around braces that are no template)"
        return "template_syntax", f"{message.rstrip('.')}{place}{hint}"
    if isinstance(error, UndefinedError):
        return "template_undefined", message
    if isinstance(error, SecurityError):
        return "template_refused", message
    if isinstance(error, RecursionError):
        return "template_error", "the template is nested too deeply"
    return "template_error", message if isinstance(error, ValueError) else f"{type(error).__name__}: {message}"


def answer_request(request: dict[str, Any], compiled: TemplateCache) -> dict[str, Any]:
    """Answer one request.

    `over` in the answer says that this process has reached a limit and should be replaced.
    """
    work = Request(compiled)
    try:
        if "uses" in request:
            result: Any = work.find_names(request["uses"])
        elif "tree" in request:
            context = dict(request["context"])
            if isinstance(context.get("deps"), dict):
                context["deps"] = Deps({name: Exports(exports) for name, exports in context["deps"].items()})
            result = work.render(request["tree"], context, [])
        else:
            result = work.render_workflow(request["args"], request["jobs"])
    except LimitReached as limit:
        return {"over": str(limit), "loc": work.at}
    except MemoryError:
        return {"over": "memory", "loc": work.at}
    return {"problems": work.problems} if work.problems else {"answer": result}


def limit_process(memory_bytes: int) -> None:
    """Limit this process for good: memory, no files, no core dump."""
    for limit, value in (("RLIMIT_AS", memory_bytes), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0), ("RLIMIT_NOFILE", 16)):
        try:
            resource.setrlimit(getattr(resource, limit), (value, value))
        except (AttributeError, ValueError, OSError):
            # macOS has no RLIMIT_AS, and a lower limit cannot be raised.
            continue


def receive_request() -> dict[str, Any] | None:
    """Read the next request; None when the parent is gone."""
    head = sys.stdin.buffer.read(4)
    if len(head) < 4:
        return None
    (size,) = struct.unpack("!I", head)
    data = sys.stdin.buffer.read(size)
    return json.loads(data) if len(data) == size else None


def send_message(message: dict[str, Any]) -> None:
    """Send the message to the parent."""
    data = json.dumps(message).encode()
    sys.stdout.buffer.write(struct.pack("!I", len(data)) + data)
    sys.stdout.buffer.flush()


def main() -> None:
    """Answer the requests on standard input, one by one, until it ends."""
    memory_bytes, cpu_s = int(sys.argv[1]), float(sys.argv[2])
    os.chdir("/")
    limit_process(memory_bytes)
    signal.signal(signal.SIGVTALRM, raise_too_long)
    compiled = TemplateCache()
    send_message({"ready": True})
    while (request := receive_request()) is not None:
        # RLIMIT_CPU counts whole seconds over the whole life of a process; these timers count one request. The first
        # is handled between two steps of Python, so that the answer can say where; the second also ends C functions.
        signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
        signal.setitimer(signal.ITIMER_PROF, cpu_s * 1.5)
        began_s = time.process_time()
        reply = answer_request(request, compiled)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        reply["spent_s"] = time.process_time() - began_s
        send_message(reply)
        signal.setitimer(signal.ITIMER_PROF, 0)


def raise_too_long(signal_number: int, frame: object) -> None:
    """Raise LimitReached: the time for one request is used up."""
    raise LimitReached("cpu")


if __name__ == "__main__":
    main()

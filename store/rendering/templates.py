"""Script templates: text files that people keep in `templates/`.

They are looked up by name and rendered with a job's variables. What a template is for stands in a comment of Jinja's
before its first line, which is no part of the script:

    {#
    description: Training over several nodes
    use_case: PyTorch with torchrun
    #}
    #!/bin/bash

The template `base` is built in; its script is made in slurm_shim, not here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from store.config import masks
from store.config.mount_roots import explain_store
from store.disk import owners
from store.disk.reading import read_file
from store.documents import Environment, Resources, to_problems
from store.errors import Conflict, Denied, Invalid, NotFound, make_problem
from store.rendering.renderer import Renderer
from store.rules.fields import check_folder
from store.yaml import reader

BASE = "base"
SCRIPT_BYTES = 1_000_000
NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
HEAD = re.compile(r"\A\{#-?[ \t]*\n((?:[ \t]*(?:description|use_case):[^\n]*\n)+)[ \t]*-?#\}[ \t]*\n?")
BUILT_IN = {"description": "The script that is made for a job without a template", "use_case": "Any job"}


@dataclass(frozen=True)
class Template:
    """One template: its text, and what the comment before it says."""

    content: str
    description: str = ""
    use_case: str = ""


def parse_template(data: bytes, name: str = "") -> Template:
    """Parse the file of a template. Raises Invalid, as `decode_script`."""
    text = decode_script(data)
    head = HEAD.match(text)
    if head is None:
        return Template(text)
    pairs = (line.strip().partition(":") for line in head[1].splitlines())
    texts = {key: value.strip() for key, _, value in pairs}
    content = text[head.end() :]
    if not content.strip():
        raise Invalid([make_problem("the template has no text", line=1, column=1)])
    return Template(content, **texts)


def format_template(template: Template) -> bytes:
    """Return the file of a template. Raises Invalid.

    Invalid where the comment cannot hold its texts, or the script is empty.
    """
    texts = {key: getattr(template, key) for key in ("description", "use_case") if getattr(template, key)}
    for key, value in texts.items():
        if re.search(r"[\x00-\x1f\x7f]|#\}", value) or value != value.strip():
            message = "must be one line without #} and without blanks around it"
            raise Invalid([make_problem(message, ["body", key], input=value)])
    head = "".join(f"{key}: {value}\n" for key, value in texts.items())
    data = (f"{{#\n{head}#}}\n{template.content}" if head else template.content).encode()
    try:
        parsed = parse_template(data)
    except Invalid as error:
        raise Invalid([{**item, "loc": ["body", "content"]} for item in error.problems]) from error
    if parsed != template:
        raise Invalid(
            [make_problem("the text must not begin with a comment that says what it is for", ["body", "content"])]
        )
    return data


def build_new_file(name: str, body: Mapping[str, Any], kept: Collection[str]) -> bytes:
    """Return the file of a new template. Raises Conflict, Invalid.

    Conflict for a name that is taken or cannot be one.
    """
    if name == BASE or name in kept:
        raise Conflict(f"Template '{name}' already exists")
    if not NAME.fullmatch(name):
        raise Conflict("A template's name has letters, digits, _ and - only")
    return format_template(_apply_body(Template(""), body))


def build_changed_file(old: Template, body: Mapping[str, Any]) -> bytes:
    """Return the file of the template, changed as the body says."""
    return format_template(_apply_body(old, body))


def _apply_body(old: Template, body: Mapping[str, Any]) -> Template:
    """Return the template as the body says.

    A comment before the given text counts where the body itself says nothing.
    """
    body_texts = {key: body[key] for key in ("description", "use_case") if body.get(key) is not None}
    content = body.get("content")
    if content is None:
        return Template(**{**vars(old), **body_texts})
    head = HEAD.match(content)
    given = parse_template(content.encode()) if head and content[head.end() :].strip() else Template(content)
    comment_texts = {key: getattr(given, key) or getattr(old, key) for key in ("description", "use_case")}
    return Template(given.content, **{**comment_texts, **body_texts})


def to_template_row(name: str, template: Template | None) -> dict[str, Any]:
    """Return a template's row in lists; None stands for the built-in one."""
    texts = BUILT_IN if template is None else {key: getattr(template, key) for key in BUILT_IN}
    return {"name": name, **texts, "user_defined": template is not None}


class MissingTemplate(NotFound):
    """There is no template of this name; the text lists those there are."""

    def __init__(self, name: str, kept: Iterable[str]) -> None:
        super().__init__("Template", name)
        self.args = (f"Template '{name}' not found. Available templates: {', '.join(list_names(kept))}",)


class BuiltInTemplate(NotFound):
    """The template is built in and cannot be changed."""

    def __init__(self) -> None:
        super().__init__("Template", BASE)
        self.args = (f"Template '{BASE}' is built in and stays as it is",)


def build_job(name: str, body: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the requested job, filled up with config.yaml's defaults.

    A mask stands for the secret of the configuration. Raises Invalid with places in the body.
    """
    for part in ("work_dir", "log_dir"):
        try:
            check_folder(body.get(part) or "")
        except ValueError as error:
            raise Invalid([make_problem(str(error), ["body", part], input=body[part])]) from None
    common = defaults.get("environment") or {}
    resources = _validate_part(Resources, body.get("resources") or {}, "resources")
    environment = _validate_part(Environment, _unmask_part(body.get("environment") or {}, common), "environment")
    if {"conda", "venv"} & environment.keys():
        common = {key: value for key, value in common.items() if key not in ("conda", "venv")}
    return {
        "name": name,
        "command": body["command"],
        "resources": {**(defaults.get("resources") or {}), **resources},
        "environment": {**common, **environment},
        "work_dir": body.get("work_dir"),
        "log_dir": body.get("log_dir"),
    }


def _unmask_part(environment: Mapping[str, Any], common: Mapping[str, Any]) -> Any:
    try:
        return masks.unmask_secrets(environment, common)
    except Invalid as error:
        wrong = [{**item, "loc": ["body", "environment", *item["loc"]]} for item in error.problems]
        raise Invalid(wrong) from error


def _validate_part(model: type[BaseModel], given: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return a part of the body as its model. Raises Invalid."""
    try:
        found = model.model_validate({key: value for key, value in given.items() if value not in (None, "")})
    except ValidationError as error:
        wrong = to_problems(error, model=model)
        raise Invalid([{**item, "loc": ["body", part, *item["loc"]]} for item in wrong]) from error
    return found.model_dump(mode="json", exclude_unset=True)


def decode_script(data: bytes) -> str:
    """Return the text of a template or script file. Raises Invalid.

    It is invalid when it is empty, too large, not UTF-8 or holds NUL.
    """
    text = reader.decode_text(data)
    if not text.strip():
        raise Invalid([make_problem("the file is empty", line=1, column=1)])
    return text


def list_names(kept: Iterable[str]) -> list[str]:
    """List the names that a job's `template` may have, built-in first."""
    return [BASE, *sorted(set(kept) - {BASE})]


def render_text(text: str, variables: Mapping[str, Any], renderer: Renderer, *, name: str = "template") -> str:
    """Render the templates in the text. Blocks.

    Raises Invalid with loc `[name]` and Jinja's reason.
    """
    try:
        rendered = renderer.render(text, dict(variables))
    except Invalid as error:
        raise Invalid([{**item, "loc": [name, *item["loc"]]} for item in error.problems]) from error
    return rendered if isinstance(rendered, str) else str(rendered)


def read_script(path: str, root: Path, store: Path, exempt: Path = Path()) -> str:
    """Read a script file that a job names.

    The path is relative to `root`, or absolute below it. Raises Denied for a path that leads outside, to a hidden file
    (unless below the hidden folder `exempt` of the root) or from a mount into the store, and for a file that others may
    have written; NotFound when there is no such file.
    """
    try:
        inside = root.resolve()
        found = (inside / path).resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise Denied(f"Script path '{path}' leads nowhere: {error}") from None
    if not found.is_relative_to(inside):
        raise Denied(f"Script path '{path}' is outside allowed directories")
    below = inside / exempt if found.is_relative_to(inside / exempt) else inside
    if any(part.startswith(".") for part in found.relative_to(below).parts):
        raise Denied(f"Script path '{path}' leads to a hidden file")
    if not explain_store(inside, store) and (why := explain_store(found, store)):
        raise Denied(f"Script path '{path}' is {why}")
    if why := owners.explain_folder(found.parent, in_mount=True):
        raise Denied(f"Script path '{path}' cannot be used: {why}")

    def check(fd: int, status: os.stat_result) -> None:
        # A folder on the way may have become a link since it was looked up.
        if os.path.realpath(f"/proc/self/fd/{fd}") != str(found):
            raise Denied(f"Script path '{path}' has just changed")
        owners.check_file(fd, status, in_mount=True)

    data, _ = read_file(found, SCRIPT_BYTES, check)
    return decode_script(data)

"""How documents become bytes and come back, and what can be wrong."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from store.documents.models import VERSION
from store.errors import MAX_SEARCHES, TOLD_PROBLEMS, Invalid, make_problem, suggest_word
from store.jsons import dump_json, load_json
from store.yaml import reader

Locator = Callable[..., tuple[int, int]]
Document = TypeVar("Document", bound=BaseModel)


def to_json(document: BaseModel | dict[str, Any]) -> bytes:
    """Return the document as indented JSON with a newline at its end.

    Keys are in the order of the model.
    """
    if isinstance(document, BaseModel):
        return document.__pydantic_serializer__.to_json(document, indent=2) + b"\n"  # straight to bytes
    return dump_json(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def from_json(model: type[Document], data: bytes, name: str) -> Document:
    """Return the document in a JSON file called `name`. Raises Invalid.

    Invalid has places; it is also raised for a newer version or another id.
    """
    refuse_torn(data)
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    try:
        document = model.model_validate_json(data)
    except ValidationError as error:
        refuse_newer(_parse_json(data))
        raise Invalid(to_problems(error, _build_locator(data), model)) from error
    refuse_newer({"version": getattr(document, "version", VERSION)})
    inside = getattr(document, "id", name)
    if inside != name:
        message = f"the id inside is '{inside}', but the file is called '{name}'"
        places = _build_locator(data)
        line, column = places(("id",)) if places else (None, None)
        raise Invalid([make_problem(message, ["id"], type="name", line=line, column=column, input=inside)])
    return document


def refuse_torn(data: bytes) -> None:
    """Raise Invalid for what a crash or a full disk leaves behind.

    That is an empty or NUL-filled file.
    """
    if not data.strip():
        raise Invalid([make_problem("the file is empty", type="empty", line=1, column=1)])
    if not data.strip(b"\0"):
        message = "the file holds nothing but NUL bytes; a crash may have cut it off"
        raise Invalid([make_problem(message, type="torn", line=1, column=1)])


def refuse_newer(value: Any, where: Locator | None = None) -> None:
    """Raise Invalid when a newer program wrote the document."""
    version = value.get("version") if isinstance(value, dict) else None
    if isinstance(version, int) and version > VERSION:
        line, column = where(("version",)) if where else (None, None)
        message = f"the file has version {version}, this program knows up to {VERSION}"
        raise Invalid([make_problem(message, ["version"], type="version", line=line, column=column, input=version)])


def from_yaml(model: type[Document], data: bytes, name: str = "") -> Document:
    """Return the document in a YAML file. Raises Invalid.

    Invalid has line, column and near names. A file of nothing but comments gives the defaults.
    """
    refuse_torn(data)
    loaded = reader.load_yaml(data)
    value = {} if loaded.value is None else loaded.value
    refuse_newer(value, loaded.locate)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Invalid(to_problems(error, loaded.locate, model)) from error


def to_problems(
    error: ValidationError, where: Locator | None = None, model: type[BaseModel] | None = None
) -> list[dict[str, Any]]:
    """Turn pydantic's errors into problems with line and column.

    With the model, unknown keys get a suggestion.
    """
    found = []
    for number, detail in enumerate(error.errors(include_url=False)[:TOLD_PROBLEMS]):
        loc, message = detail["loc"], detail["msg"].removeprefix("Value error, ")
        unknown = detail["type"] == "extra_forbidden"
        if unknown:
            known = _list_keys(model, loc[:-1]) if model and number < MAX_SEARCHES else ()
            message = f"unknown key '{loc[-1]}'" + suggest_word(str(loc[-1]), known)
        line, column = where(loc, key=unknown) if where else (None, None)
        if detail["type"] == "json_invalid" and (at := re.search(r"at line (\d+) column (\d+)$", message)):
            line, column = int(at[1]), int(at[2])
        if detail["type"] == "model_type":
            message = "a mapping of keys to values is needed here"
        given = detail.get("input")
        given = given if isinstance(given, str | int | float | bool | None) else None
        found.append(make_problem(message, loc, type=detail["type"], line=line, column=column, input=given))
    return sorted(found, key=lambda row: (row["line"] or 0, row["column"] or 0))


def _list_keys(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """List the keys that the model knows at this place."""
    for part in loc:
        if isinstance(part, str):
            inner = find_model(model.model_fields[part].annotation) if part in model.model_fields else None
            if inner is None:
                return []
            model = inner
    return list(model.model_fields)


def find_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field of this type holds, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in typing.get_args(annotation) if (found := find_model(argument))), None)


def _parse_json(data: bytes) -> Any:
    try:
        return load_json(data)
    except orjson.JSONDecodeError:
        return None


def _build_locator(data: bytes) -> Locator | None:
    """Return a function from places in a JSON text to line and column.

    JSON is YAML too. None when the text cannot be read.
    """
    try:
        return reader.load_yaml(data).locate
    except Invalid:
        return None

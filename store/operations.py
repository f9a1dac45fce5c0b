"""What the contract says of an operation, and a request's values. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from operator import attrgetter
from typing import Any
from urllib.parse import parse_qsl

from store.contract import Contract
from store.documents import Config
from store.errors import Invalid, NotJson, make_problem

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
JSON, RAW, FORM = "application/json", "application/octet-stream", "application/x-www-form-urlencoded"
Texts = Mapping[str, Mapping[str, str]]
Values = dict[str, dict[str, Any]]


def list_operations(contract: Contract) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and operation, for all of the contract."""
    for path, item in contract["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method.upper(), item[method]


def resolve_reference(contract: Contract, part: Any) -> Any:
    """Return the part of the contract that a `$ref` stands for.

    A part that is no reference is returned as it is.
    """
    while isinstance(part, dict) and "$ref" in part:
        target: Any = contract
        for key in part["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        part = target
    return part


def parse_integer(text: str) -> Any:
    """Return the number, or the text itself, which the contract refuses then."""
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text


def parse_boolean(text: str) -> Any:
    """Return the boolean, or the text itself, which the contract refuses then."""
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)


def unquote_etags(if_match: str) -> str:
    """Return the versions that an If-Match header names, or `*`.

    >>> unquote_etags('W/"0a1b.77", "2c"'), unquote_etags("*")
    ('0a1b 2c', '*')
    """
    # What is behind the dot tells two answers apart, not two versions.
    tags = (tag.strip().removeprefix("W/").strip('"').partition(".")[0] for tag in if_match.split(","))
    return " ".join(tags)


def split_list(text: str) -> list[str]:
    """Return the values of a list with commas."""
    return text.split(",")


def find_word(known: Sequence[str], text: str) -> str:
    """Return which of the known words a text is, in any case; else the text.

    >>> find_word(("1h", "1d"), "1H"), find_word(("1h", "1d"), "2h")
    ('1h', '2h')
    """
    if text in known:
        return text
    lower = text.lower()
    return next((word for word in known if word.lower() == lower), text)


def compile_words(contract: Contract, schema: Any) -> Callable[[Any], Any] | None:
    """Compile what writes the known words of a body as the contract does.

    It takes a value and returns it, its objects and lists changed in place. None for a schema without such words; those
    of alternatives are left as they are.
    """
    schema = resolve_reference(contract, schema) or {}
    if "enum" in schema:
        known = [word for word in schema["enum"] if isinstance(word, str)]
        return lambda value: find_word(known, value) if isinstance(value, str) else value
    fields = {name: compile_words(contract, part) for name, part in schema.get("properties", {}).items()}
    named = {name: correct for name, correct in fields.items() if correct is not None}
    item = compile_words(contract, schema["items"]) if "items" in schema else None
    if not named and item is None:
        return None

    def correct_words(value: Any) -> Any:
        if isinstance(value, dict):
            value.update({name: correct(value[name]) for name, correct in named.items() if name in value})
        elif isinstance(value, list) and item is not None:
            value[:] = map(item, value)
        return value

    return correct_words


COERCE: dict[str, Callable[[str], Any]] = {"integer": parse_integer, "boolean": parse_boolean, "array": split_list}
CONVERT = {"if-match": unquote_etags}


@dataclass(frozen=True)
class Parameter:
    """One parameter of an operation.

    Where it comes from, and what it is called there and in Python.
    """

    name: str
    place: str
    argument: str
    coerce: Callable[[str], Any]
    convert: Callable[[str], Any] | None = None  # once it is checked
    default: Any = None
    may_be_empty: bool = False
    has_commas: bool = False  # it names several with commas, or one by one


def read_parameter(contract: Contract, part: Mapping[str, Any]) -> Parameter:
    """Return a parameter of the contract."""
    schema = resolve_reference(contract, part["schema"])
    argument = part["name"].lower().replace("-", "_")
    coerce = partial(find_word, schema["enum"]) if "enum" in schema else COERCE.get(schema.get("type"), str)
    return Parameter(
        name=part["name"].lower() if part["in"] == "header" else part["name"],
        place=part["in"],
        argument=f"{argument}_" if argument in ("from", "in", "is", "not") else argument,
        coerce=coerce,
        convert=CONVERT.get(part["name"].lower()),
        default=schema.get("default"),
        may_be_empty=part.get("allowEmptyValue", False),
        has_commas=coerce is split_list or part.get("x-commas", False),
    )


class Specification:
    """One operation of the contract, taken apart for whoever answers it."""

    def __init__(self, contract: Contract, path: str, spec: Mapping[str, Any]) -> None:
        self.operation_id: str = spec["operationId"]
        self.family: str = spec["tags"][0]
        self.security = spec.get("security")
        # 101 where only a WebSocket answers.
        self.status = int(next(code for code in spec["responses"] if code[0] in "12"))
        self.socket_id: str | None = spec.get("x-websocket")
        answer = resolve_reference(contract, spec["responses"][str(self.status)])
        self.media_type: str = next(iter(answer.get("content", {})), JSON)
        # The number is taken before the answer is made: what changes meanwhile is told again rather than missed.
        self.has_change_number = "X-Change" in answer.get("headers", {})
        parts = [*contract["paths"][path].get("parameters", []), *spec.get("parameters", [])]
        self.given = [resolve_reference(contract, part) for part in parts]
        self.parameters = [read_parameter(contract, part) for part in self.given]
        self.places = {"query", *(parameter.place for parameter in self.parameters)}
        self.query_names = {parameter.name for parameter in self.parameters if parameter.place == "query"}
        body = resolve_reference(contract, spec.get("requestBody", {}))
        self.has_body = bool(body)
        self.body_required: bool = body.get("required", False)
        self.body_schema = body.get("content", {}).get(JSON, {}).get("schema")
        # Its function reads the body piece by piece, and checks it.
        self.streams_body: bool = body.get("x-stream", False)
        # What programs tell all the time: only what is refused stands in the audit.
        self.is_progress: bool = spec.get("x-progress", False)
        self.takes_form = FORM in body.get("content", {})
        # A number, or what config.yaml calls it.
        self.body_limit: int | str = body.get("x-max-bytes", "limits.body_bytes")
        self.raw_limit_bytes: int | None = body.get("content", {}).get(RAW, {}).get("schema", {}).get("maxLength")
        self.correct_body = compile_words(contract, self.body_schema)
        fields = (resolve_reference(contract, self.body_schema) or {}).get("properties", {})
        self.body_defaults = {key: part["default"] for key, part in fields.items() if "default" in part}

    def find_body_limit(self, config: Config) -> int:
        """Find how many bytes a body may have."""
        if isinstance(self.body_limit, int):
            return min(self.body_limit, config.limits.body_bytes)
        limit: int = attrgetter(self.body_limit)(config)
        return limit

    @property
    def defaults(self) -> dict[str, Any] | None:
        """The arguments of a request without a query.

        None where something else can or must be given.
        """
        if any(part["in"] != "query" or part.get("required") for part in self.given):
            return None
        return {parameter.argument: parameter.default for parameter in self.parameters}

    @cached_property
    def parameters_schema(self) -> dict[str, Any]:
        """The JSON Schema of all parameters by their places."""
        places: dict[str, Any] = {
            "query": {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
        }
        for part in self.given:
            schema = places.setdefault(part["in"], {"type": "object", "properties": {}, "required": []})
            name = part["name"].lower() if part["in"] == "header" else part["name"]
            schema["properties"][name] = part["schema"]
            if part.get("required"):
                schema["required"].append(name)
        return {"type": "object", "properties": places}

    def read_query(self, query: str) -> dict[str, str]:
        """Return the values in a query by name.

        Those of a list may also come one by one; raises Invalid for others that stand twice.
        """
        if not query:
            return {}
        values: dict[str, str] = {}
        lists = {parameter.name for parameter in self.parameters if parameter.has_commas}
        for name, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
            if name not in values:
                values[name] = value
            elif name in lists:
                values[name] += f",{value}"
            else:
                raise Invalid([make_problem("stands twice in the query", ["query", name[:100]], input=value[:100])])
        return values

    def read_arguments(self, texts: Texts) -> tuple[dict[str, Any], Values]:
        """Return the arguments in a request, and the values to be checked.

        The values are those that `parameters_schema` describes, and the unknown ones of the query.
        """
        values: Values = {place: {} for place in self.places}
        values["query"] = {name: text for name, text in texts["query"].items() if name not in self.query_names}
        arguments: dict[str, Any] = {}
        for parameter in self.parameters:
            text = texts[parameter.place].get(parameter.name)
            if text is None or (text == "" and parameter.may_be_empty):
                arguments[parameter.argument] = parameter.default
                continue
            value = values[parameter.place][parameter.name] = parameter.coerce(text)
            arguments[parameter.argument] = parameter.convert(value) if parameter.convert is not None else value
        return arguments, values


def parse_form(data: bytes) -> dict[str, str]:
    """Parse the fields of a form.

    Raises NotJson, also for one that stands twice.

    >>> parse_form(b"scope=read+write&client_id=a%40b")
    {'scope': 'read write', 'client_id': 'a@b'}
    """
    try:
        pairs = parse_qsl(
            data.decode(), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=50
        )
    except ValueError:
        raise NotJson([make_problem("The body is no form", ["body"])]) from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise NotJson([make_problem("A field stands twice in the form", ["body"])])
    return fields


def prefers_csv(accept: str) -> bool:
    """Return whether an Accept header prefers CSV to JSON."""
    return prefers_kind(accept, "text/csv", JSON)


def prefers_kind(accept: str, wanted: str, other: str) -> bool:
    """Return whether an Accept header prefers a media type to another.

    It names the first, and the other neither with more weight nor, with the same weight, before it.
    """
    named = [part.partition(";") for part in accept.lower().split(",")]
    kinds = [(name.strip(), float(weight[1]) if (weight := WEIGHT.search(rest)) else 1.0) for name, _, rest in named]
    ours = [kind for kind in kinds if kind[0] in (wanted, other) and kind[1] > 0]
    return bool(ours) and max(ours, key=lambda kind: kind[1])[0] == wanted


WEIGHT = re.compile(r"\bq=([01](?:\.[0-9]*)?)\s*(?:;|$)")

"""One family of the contract as OpenAPI 3.0. Pure.

For programs that do not read 3.1.
Schemas of 3.1 are JSON Schema 2020-12; those of 3.0 know less. What 3.0 can say is said its way, what it cannot is left
out, so that it never refuses what the contract allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from store.contract import Contract, find_needed_components
from store.operations import METHODS

OPENAPI = "3.0.3"
# Scopes belong to these schemes alone; for the others the operation names its scope in `x-scope`.
SCOPED = ("oauth2", "openIdConnect")
# Kinds of schemes that 3.0 does not have.
UNKNOWN_SCHEMES = ("mutualTLS",)
# What schemas of 3.0 do not have; without it they allow more.
LEFT_OUT = frozenset(
    {
        "$schema", "$id", "$anchor", "$comment", "$defs", "if", "then", "else", "dependentRequired", "dependentSchemas",
        "unevaluatedProperties", "unevaluatedItems", "propertyNames", "patternProperties", "prefixItems", "contains",
        "minContains", "maxContains", "contentSchema", "contentEncoding", "contentMediaType",
    }
)  # fmt: skip
SCHEMAS_BY_NAME, LISTS_OF_SCHEMAS = ("properties",), ("allOf", "anyOf", "oneOf")
ONE_SCHEMA = ("items", "additionalProperties", "not")
NULL: dict[str, Any] = {"type": "object", "nullable": True, "enum": [None]}


def export_family(contract: Contract, family: str, roots: Sequence[str]) -> Contract:
    """Return the operations of one family as a document of OpenAPI 3.0.

    Its servers are the family's roots. Paths outside of the first root have a server of their own.
    """
    kept = {path: item for path, item in contract["paths"].items() if family in list_families(item)}
    schemes, closed = split_schemes(contract)
    paths = {}
    for path, item in kept.items():
        exported = {
            key: export_operation(value, name_subject(path, roots), schemes, closed) if key in METHODS else value
            for key, value in item.items()
        }
        exported = convert_part(exported)
        is_inside = path.startswith(f"{roots[0]}/")
        paths[path.removeprefix(roots[0]) if is_inside else path] = (
            exported if is_inside else {**exported, "servers": [{"url": "/"}]}
        )
    named = find_needed_components(contract, list(kept.values()))
    components = {
        kind: {name: convert_component(kind, part) for name, part in sorted(parts.items())}
        for kind, parts in sorted(named.items())
    }
    operations = [item[method] for item in paths.values() for method in METHODS if method in item]
    used = {scheme for operation in operations for way in operation["security"] for scheme in way}
    components["securitySchemes"] = {name: part for name, part in schemes.items() if name in used}
    return {
        "openapi": OPENAPI,
        "info": describe_family(contract, family),
        "servers": [{"url": root} for root in roots],
        "tags": [{"name": name} for name in dict.fromkeys(name_subject(path, roots) for path in kept)],
        "paths": paths,
        "components": components,
    }


def list_families(item: Mapping[str, Any]) -> set[str]:
    """Return the families of a path's operations."""
    return {item[method]["tags"][0] for method in METHODS if method in item}


def describe_family(contract: Contract, family: str) -> dict[str, Any]:
    """Return title, description, version and licence of the document."""
    tag = next(tag for tag in contract["tags"] if tag["name"] == family)
    info = contract["info"]
    return {
        "title": f"{info['title']}: {family.upper()}",
        "description": tag["description"],
        "version": info["version"],
        "license": {"name": info["license"]["name"]},
    }


def name_subject(path: str, roots: Sequence[str]) -> str:
    """Return what a path is about: the first word behind the root.

    >>> name_subject("/api/v1/jobs/{job_id}/hold", ["/api/v1"]), name_subject("/oauth/token", ["/api/v1"])
    ('jobs', 'oauth')
    """
    return path.removeprefix(roots[0]).strip("/").split("/")[0].partition(".")[0]


def split_schemes(contract: Contract) -> tuple[dict[str, Any], set[str]]:
    """Return the schemes that 3.0 has, and the names of those with scopes."""
    schemes = {
        name: part
        for name, part in contract["components"].get("securitySchemes", {}).items()
        if part["type"] not in UNKNOWN_SCHEMES
    }
    return schemes, {name for name, part in schemes.items() if part["type"] in SCOPED}


def export_operation(
    operation: Mapping[str, Any], subject: str, schemes: Mapping[str, Any], scoped: set[str]
) -> dict[str, Any]:
    """Return an operation with the security that 3.0 can name."""
    ways = operation.get("security", [])
    scopes = sorted({scope for way in ways for given in way.values() for scope in given})
    security = [
        {name: given if name in scoped else [] for name, given in way.items()}
        for way in ways
        if all(name in schemes for name in way)
    ]
    return {**operation, "tags": [subject], "security": security, **({"x-scope": scopes[0]} if scopes else {})}


# --- parts of the document


def convert_component(kind: str, part: Any) -> Any:
    """Convert one component of this kind."""
    return {"schemas": convert_schema, "examples": keep_part}.get(kind, convert_part)(part)


def convert_part(part: Any) -> Any:
    """Convert a part of the document, with all schemas in it.

    Examples stay as they are.
    """
    if isinstance(part, list):
        return [convert_part(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return {"$ref": part["$ref"]}  # a reference of 3.0 stands alone
    return {key: CONVERSIONS.get(key, convert_part)(inner) for key, inner in part.items()}


def keep_part(part: Any) -> Any:
    """Keep a part as it is."""
    return part


# --- schemas


def convert_schema(schema: Any) -> Any:
    """Convert a schema of JSON Schema 2020-12 to one of OpenAPI 3.0."""
    if schema is True:
        return {}
    if schema is False:
        return {"not": {}}
    if "$ref" in schema:
        beside = convert_schema({key: value for key, value in schema.items() if key != "$ref"})
        # What stands beside a reference would be ignored.
        return {"allOf": [{"$ref": schema["$ref"]}], **beside} if beside else {"$ref": schema["$ref"]}
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in SCHEMAS_BY_NAME:
            made[key] = {name: convert_schema(inner) for name, inner in value.items()}
        elif key in LISTS_OF_SCHEMAS:
            made[key] = [convert_schema(inner) for inner in value]
        elif key in ONE_SCHEMA and not (key == "additionalProperties" and isinstance(value, bool)):
            made[key] = convert_schema(value)
        elif key not in LEFT_OUT:
            made[key] = value
    convert_words(schema, made)
    convert_types(made)
    return made


def convert_words(schema: Mapping[str, Any], made: dict[str, Any]) -> None:
    """Replace the words that 3.0 calls otherwise."""
    if "const" in made:
        made["enum"] = [made.pop("const")]
    if "examples" in made:
        made["example"] = made.pop("examples")[0]
    for bound, word in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if word in made:
            limit = made.pop(word)
            closer = max if bound == "minimum" else min
            if bound not in made or closer(limit, made[bound]) == limit:
                made |= {bound: limit, word: True}
    if schema.get("type") == "string" and "format" not in made:
        if schema.get("contentEncoding") == "base64":
            made["format"] = "byte"
        elif schema.get("contentMediaType") == "application/octet-stream":
            made["format"] = "binary"
    if "patternProperties" in schema and made.get("additionalProperties") is False:
        values = [convert_schema(inner) for inner in schema["patternProperties"].values()]
        made["additionalProperties"] = values[0] if len(values) == 1 else {"anyOf": values}


def convert_types(made: dict[str, Any]) -> None:
    """Replace lists of types, and the type null."""
    given = made.pop("type", None)
    kinds = [given] if isinstance(given, str) else list(given or ())
    real = [kind for kind in kinds if kind != "null"]
    is_nullable = len(real) < len(kinds)
    if "array" in real:
        made.setdefault("items", {})
    if len(real) == 1:
        made["type"] = real[0]
        if is_nullable:
            made["nullable"] = True
    elif kinds:
        # Each word of the schema counts for its own type only, so that all may stay where they are.
        ways = [{"type": kind, **({"items": made["items"]} if kind == "array" else {})} for kind in real]
        ways += [NULL] if is_nullable else []
        if "anyOf" in made:
            made["allOf"] = [*made.get("allOf", []), {"anyOf": made.pop("anyOf")}]
        made.update({"anyOf": ways} if real else NULL)
    elif None in made.get("enum", ()) and "type" not in made:
        rest = [value for value in made["enum"] if value is not None]
        kind = "string" if rest and all(isinstance(value, str) for value in rest) else "object"
        made.update({"type": kind, "nullable": True})


CONVERSIONS = {"schema": convert_schema, "example": keep_part, "examples": keep_part}

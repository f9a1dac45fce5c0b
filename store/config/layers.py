"""The layers of the configuration, and how they are merged. Pure.

From the lowest: the program's defaults, the system's file (`/etc/srunx/config.json`), the user's (`config.yaml` of the
store), the project's (`srunx.json`), the environment (`SRUNX_…`). Mappings merge, everything else replaces. Invalid
values are ignored, so that the layer below stays in force, and are listed under problems.
"""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from store import jsons
from store.config import masks
from store.documents import Container, SrunxConfig, find_model, to_problems
from store.errors import Invalid, describe_problem, make_problem
from store.times import to_rfc3339
from store.yaml import reader

Loc = tuple[str | int, ...]
Tree = dict[str, Any]

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
# Keys of other programs in the same files.
FOREIGN = frozenset({"$schema", "version", "profiles", "current_profile"})
# Keys that are ignored when a rule that spans keys is broken at this place.
SPANNING = {("environment",): ("conda", "venv")}
DEFAULTS: Tree = SrunxConfig().model_dump(mode="json")
EMPTY_CONTAINER: Tree = Container().model_dump(mode="json")

# What variables may set: variable -> dotted place in the configuration, and description from the document.
VARIABLES: dict[str, tuple[str, str]] = {
    "SRUNX_DEFAULT_NODES": ("resources.nodes", "Default number of nodes"),
    "SRUNX_DEFAULT_GPUS_PER_NODE": ("resources.gpus_per_node", "Default GPUs per node"),
    "SRUNX_DEFAULT_NTASKS_PER_NODE": ("resources.ntasks_per_node", "Default tasks per node"),
    "SRUNX_DEFAULT_CPUS_PER_TASK": ("resources.cpus_per_task", "Default CPUs per task"),
    "SRUNX_DEFAULT_MEMORY_PER_NODE": ("resources.memory_per_node", "Default memory per node"),
    "SRUNX_DEFAULT_TIME_LIMIT": ("resources.time_limit", "Default time limit"),
    "SRUNX_DEFAULT_NODELIST": ("resources.nodelist", "Default list of nodes"),
    "SRUNX_DEFAULT_PARTITION": ("resources.partition", "Default SLURM partition"),
    "SRUNX_DEFAULT_CONDA": ("environment.conda", "Default conda environment"),
    "SRUNX_DEFAULT_VENV": ("environment.venv", "Default virtual environment"),
    "SRUNX_DEFAULT_CONTAINER": ("environment.container.image", "Default container image"),
    "SRUNX_DEFAULT_CONTAINER_RUNTIME": ("environment.container.runtime", "Default container runtime"),
    "SRUNX_DEFAULT_LOG_DIR": ("log_dir", "Default folder for logs"),
    "SRUNX_DEFAULT_WORK_DIR": ("work_dir", "Default working directory"),
    "SRUNX_SYNC_AUTO": ("sync.auto", "Whether mounts are synced before a run"),
    "SRUNX_SYNC_LOCK_TIMEOUT": ("sync.lock_timeout_seconds", "Seconds to wait for another sync of the same mount"),
    "SRUNX_SYNC_WARN_DIRTY": ("sync.warn_dirty", "Whether uncommitted changes are told before a sync"),
    "SRUNX_SYNC_REQUIRE_CLEAN": ("sync.require_clean", "Whether uncommitted changes stop a sync"),
    "SRUNX_SYNC_OWNER_CHECK": ("sync.owner_check", "Whether a mount synced from another machine is refused"),
    "SRUNX_SYNC_VERIFY_REMOTE_HASH": ("sync.verify_remote_hash", "Whether synced files are compared afterwards"),
    "SLACK_WEBHOOK_URL": ("notifications.slack_webhook_url", "Slack webhook for notifications"),
    "SRUNX_SSH_PROFILE": ("", "SSH profile for web server"),
    "SRUNX_SSH_HOSTNAME": ("", "Direct SSH hostname"),
    "SRUNX_SSH_USERNAME": ("", "Direct SSH username"),
    "SRUNX_SSH_KEY": ("", "Path to SSH private key"),
    "SRUNX_SSH_PORT": ("", "SSH port"),
    "SRUNX_TEMP_DIR": ("", "Folder for temporary files"),
}
BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class LayerFile:
    """What one file says.

    `raw` is the whole mapping, `tree` the valid part of it, `problems` what is wrong with the rest.
    """

    raw: Tree
    tree: Tree
    problems: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Layer:
    """One layer: its source, its values, and its file.

    `variables` are those of the environment by the place that they set.
    """

    source: str
    tree: Tree
    path: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class EffectiveConfig:
    """The configuration that counts.

    `origins` has the layer of each value, `problems` what is wrong in the layers.
    """

    config: Tree
    origins: dict[Loc, Layer]
    problems: list[dict[str, Any]]

    def to_json(self) -> Tree:
        """Return the configuration without its secrets."""
        found: Tree = masks.mask_secrets(self.config)
        return found

    def explain(self) -> Tree:
        """Return the configuration with the origin of each value.

        `explain` has source and path or variable by dotted place; `problems` is what is wrong. Secrets are masked.
        """
        places = {}
        for loc, layer in self.origins.items():
            place = ".".join(map(str, loc))
            more = {"path": layer.path, "variable": layer.variables.get(place)}
            places[place] = {"source": layer.source, **{key: value for key, value in more.items() if value is not None}}
        return {**self.to_json(), "explain": places, "problems": self.problems}


def keep_valid_part(tree: Tree, model: type[BaseModel] = SrunxConfig) -> tuple[Tree, list[ValidationError]]:
    """Return the part of a tree that is valid, and the errors of the rest.

    The part has only keys that the tree has.
    """
    tree = copy.deepcopy(tree)
    errors: list[ValidationError] = []
    while True:
        try:
            return model.model_validate(tree).model_dump(mode="json", exclude_unset=True), errors
        except ValidationError as error:
            errors.append(error)
            before = copy.deepcopy(tree)
            for detail in error.errors(include_url=False):
                _remove_at(tree, detail["loc"])
            if tree == before:
                return {}, errors


def _remove_at(tree: Tree, loc: Loc) -> None:
    """Remove the value at `loc`, or the nearest mapping value around it."""
    holder: Any = tree
    for depth, part in enumerate(loc):
        inner = holder.get(part)
        if loc in SPANNING and isinstance(inner, dict):
            for key in SPANNING[loc]:
                inner.pop(key, None)
            return
        if depth == len(loc) - 1 or not isinstance(inner, dict):
            holder.pop(part, None)
            return
        holder = inner


def parse_layer(data: bytes, name: str = "srunx.json") -> LayerFile:
    """Parse a JSON file of a layer. Raises Invalid.

    Invalid only when it is no JSON object at all, with line and column.
    """
    if len(data) > MAX_BYTES:
        raise Invalid([make_problem(f"the file has more than {MAX_BYTES} bytes", type="too_large")])
    try:
        raw = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        wrong_json = make_problem(f"not JSON: {error.msg}", type="json_invalid", line=error.lineno, column=error.colno)
        raise Invalid([wrong_json]) from error
    if not isinstance(raw, dict):
        raise Invalid([make_problem("a JSON object is needed here", type="model_type", line=1, column=1, input=None)])
    if jsons.measure_depth(raw) > MAX_DEPTH:
        raise Invalid([make_problem(f"nested deeper than {MAX_DEPTH} levels", type="too_deep", line=1, column=1)])
    if (key := jsons.find_repeated_key(data.removeprefix(b"\xef\xbb\xbf"))) is not None:
        raise Invalid([make_problem(f"the key '{key[:100]}' stands twice in one object", type="json_invalid")])
    tree, errors = keep_valid_part({key: value for key, value in raw.items() if key not in FOREIGN})
    try:
        where = reader.load_yaml(data).locate  # JSON is YAML, and this reader knows the lines
    except Invalid:
        where = None
    found = [item for error in errors for item in to_problems(error, where, SrunxConfig)]
    return LayerFile(raw, tree, tuple({**item, "since": to_rfc3339(time.time())} for item in found))


def from_environment(environment: Mapping[str, str]) -> Layer:
    """Return the layer of the environment; invalid values are ignored."""
    tree: Tree = {}
    names = {place: name for name, (place, _) in VARIABLES.items() if place and environment.get(name)}
    for place, name in names.items():
        *above, last = place.split(".")
        holder, sample = tree, DEFAULTS
        for part in above:
            holder, sample = holder.setdefault(part, {}), sample.get(part) or {}
        holder[last] = _convert_value(environment[name], sample.get(last))
    tree, errors = keep_valid_part(tree)
    now, found = to_rfc3339(time.time()), []
    for error in errors:
        for item in to_problems(error):
            place = ".".join(map(str, item["loc"]))
            which = [name for known, name in names.items() if known == place or known.startswith(f"{place}.")]
            found.append({**make_problem(f"{' and '.join(which)}: {item['msg']}"), "since": now})
    return Layer("environment", tree, variables=names, problems=tuple(found))


def _convert_value(value: str, sample: Any) -> Any:
    """Return the text as the sample's type, or as it is if it does not fit."""
    if isinstance(sample, bool):
        return BOOLEANS.get(value.lower(), value)
    if isinstance(sample, int):
        return int(value) if re.fullmatch(r"[+-]?[0-9]{1,18}", value.strip()) else value
    return value


def list_variables(environment: Mapping[str, str]) -> list[dict[str, str]]:
    """List the variables that are set: SRUNX_… and SLACK_WEBHOOK_URL.

    Values are in clear only where they are known to be no secrets.
    """
    found = []
    for name in sorted(variable for variable in environment if variable.startswith("SRUNX_") or variable in VARIABLES):
        known = VARIABLES.get(name)
        value = masks.mask_text(environment[name]) if known and name != "SLACK_WEBHOOK_URL" else masks.MASK
        if name == "SLACK_WEBHOOK_URL" and masks.HOOK.search(environment[name]):
            value = masks.HOOK_PREFIX + masks.MASK
        description = known[1] if known else "Not used by this server"
        found.append({"name": name, "value": value, "description": description})
    return found


def merge_layers(layers: Sequence[Layer]) -> EffectiveConfig:
    """Merge the layers, the lowest first, over the program's defaults."""
    lowest = Layer("default", DEFAULTS)
    tree: Tree = copy.deepcopy(DEFAULTS)
    origins: dict[Loc, Layer] = {}
    for layer in layers:
        # conda and venv exclude each other: naming one removes the other of lower layers.
        own = layer.tree.get("environment") or {}
        for key, other in (("conda", "venv"), ("venv", "conda")):
            if own.get(key) and other not in own:
                tree["environment"][other] = None
                origins[("environment", other)] = layer
        _merge_tree(tree, layer.tree, layer, origins)
    good, _ = keep_valid_part(tree)
    config = SrunxConfig.model_validate(good).model_dump(mode="json")
    container = config["environment"]["container"]
    if container is not None and not container["image"]:
        config["environment"]["container"] = None
    return EffectiveConfig(
        config, {loc: origins.get(loc, lowest) for loc in iterate_leaves(config)}, list_problems(layers)
    )


def list_problems(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """List what is wrong in the layers: path, line, column, reason, since."""
    return [
        {**_format_problem(item), "path": layer.path or layer.source} for layer in layers for item in layer.problems
    ]


def _merge_tree(tree: Tree, over: Tree, layer: Layer, origins: dict[Loc, Layer], loc: Loc = ()) -> None:
    """Merge a layer's mapping into the tree, noting where values are from."""
    for key, value in over.items():
        at = (*loc, key)
        if isinstance(value, dict):
            if not isinstance(tree.get(key), dict):
                tree[key] = {}
            _merge_tree(tree[key], value, layer, origins, at)
        else:
            tree[key], origins[at] = value, layer


def _format_problem(problem: dict[str, Any]) -> dict[str, Any]:
    # Line and column have fields of their own.
    """Return a problem as a row: line, column, reason, since."""
    reason = describe_problem({key: value for key, value in problem.items() if key != "line"})
    return {
        "line": problem.get("line"),
        "column": problem.get("column"),
        "reason": reason,
        "since": problem.get("since"),
    }


def add_defaults(tree: Tree, defaults: Tree = DEFAULTS) -> Tree:
    """Fill in the program's defaults where the tree says nothing.

    >>> add_defaults({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}, "d": 4})
    {'a': {'b': 1, 'c': 3}, 'd': 4}
    """
    filled = {**copy.deepcopy(defaults), **tree}
    return {
        key: add_defaults(value, defaults[key])
        if isinstance(value, dict) and isinstance(defaults.get(key), dict)
        else value
        for key, value in filled.items()
    }


def drop_defaults(tree: Tree, kept: Any, defaults: Tree = DEFAULTS) -> Tree:
    """Drop values that are the program's defaults, unless `kept` has them.

    >>> drop_defaults({"a": {"b": 2, "c": 5}, "d": 4}, {"d": 4}, {"a": {"b": 2, "c": 3}, "d": 4})
    {'a': {'c': 5}, 'd': 4}
    """
    kept = kept if isinstance(kept, dict) else {}
    left: Tree = {}
    for key, value in tree.items():
        if isinstance(value, dict) and isinstance(defaults.get(key), dict):
            value = drop_defaults(value, kept.get(key), defaults[key])
            is_default = not value
        else:
            is_default = key in defaults and value == defaults[key]
        if key in kept or not is_default:
            left[key] = value
    return left


def iterate_leaves(value: Any, loc: Loc = ()) -> Iterator[Loc]:
    """Yield the places of values that are not mappings, or are empty ones.

    >>> list(iterate_leaves({"a": {"b": 1, "c": {}}, "d": None}))
    [('a', 'b'), ('a', 'c'), ('d',)]
    """
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from iterate_leaves(item, (*loc, key))
    else:
        yield loc


def keep_known_part(given: Any, model: type[BaseModel] = SrunxConfig) -> Any:
    """Return the mapping without keys unknown to the model, at any depth."""
    if not isinstance(given, dict):
        return given
    found = {}
    for key, item in given.items():
        if (known := model.model_fields.get(key)) is not None:
            inner = find_model(known.annotation)
            found[key] = keep_known_part(item, inner) if inner else item
    return found


def validate_tree(given: Tree) -> Tree:
    """Validate the values; return them as the models write them.

    Raises Invalid with everything that is wrong, and its place.
    """
    try:
        return SrunxConfig.model_validate(given).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        raise Invalid(to_problems(error, model=SrunxConfig)) from error

"""Workflow files written from JSON, and edited in their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from store.config import masks
from store.errors import Invalid
from store.rules.shapes import FLAT_KEYS, Workflow
from store.rules.workflows import parse_workflow
from store.yaml import reader, writer

# Keys of a workflow and of a job, in the order in which they are written.
TOP_KEYS = ("version", "name", "description", "default_project", "args", "jobs", "sweep")
JOB_KEYS = (
    "name",
    "command",
    "script_path",
    "script_vars",
    "depends_on",
    "exports",
    "resources",
    "environment",
    "template",
    "work_dir",
    "log_dir",
    "retry",
    "retry_delay",
    "srun_args",
    "launch_prefix",
)


def compose_yaml(body: Mapping[str, Any]) -> bytes:
    """Write the YAML of a workflow given as plain values.

    Null and empty values are left out.
    """
    return writer.dump_yaml(_order_workflow(body))


def _order_workflow(body: Mapping[str, Any]) -> dict[str, Any]:
    """Order the keys of a workflow; leave out what is empty."""
    top = {key: body[key] for key in TOP_KEYS if key in body}
    top["jobs"] = [_order_keys(job, JOB_KEYS) for job in body.get("jobs", [])]
    return {key: item for key, item in top.items() if key == "jobs" or item not in (None, "", {}, [])}


def _order_keys(value: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    ordered = [*(key for key in keys if key in value), *(key for key in value if key not in keys)]
    return {key: item for key in ordered if (item := _prune_empty(value[key])) not in (None, {}, [])}


def _prune_empty(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: item for key, part in value.items() if (item := _prune_empty(part)) not in (None, {}, [])}


def merge_workflow(
    old: Workflow, body: Mapping[str, Any], known_json: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Merge the body with the old file; what the body omits stays.

    The result is for `compose_yaml`. A null in the body removes a key. `known_json` is the JSON that the caller may
    have edited: where the body only repeats it, the old file's templates stay. Raises Invalid for masks of nothing.
    """
    before = old.model_dump(exclude_unset=True)
    jobs = {job["name"]: job for job in before.pop("jobs")}
    shown_jobs = {job["name"]: job for job in (known_json or {}).get("jobs", [])}
    merged = {**before, **body}
    # Forms send args as text, or leave them out.
    args = {**(body.get("args") or before.get("args") or {})}
    merged["args"] = {key: _keep_typed(before.get("args", {}).get(key), item) for key, item in args.items()}
    wanted = body.get("jobs", [])
    names = _match_names(list(jobs), [job.get("name") for job in wanted])
    merged["jobs"] = [
        _merge_job(jobs[name], job, shown_jobs.get(name, {})) if name in jobs else dict(job)
        for job, name in zip(wanted, names, strict=True)
    ]
    kept = [jobs.get(name, {}) for name in names]
    return {**merged, "jobs": unmask_environments(merged["jobs"], kept)}


def unmask_environments(jobs: Sequence[Mapping[str, Any]], kept: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Put the kept secrets back where their masks were sent.

    `kept` has the old form of each job, empty for a new one. Raises Invalid for masks of nothing.
    """
    unmasked: list[dict[str, Any]] = []
    for job, old in zip(jobs, kept, strict=True):
        try:
            found = masks.unmask_secrets(
                {"environment": job.get("environment")}, {"environment": old.get("environment")}
            )
        except Invalid as error:
            place = ["body", "jobs", len(unmasked)]
            raise Invalid([{**item, "loc": [*place, *item["loc"]]} for item in error.problems]) from error
        unmasked.append({**job, **found} if "environment" in job else {**job})
    return unmasked


def _match_names(old: Sequence[str], wanted: Sequence[str]) -> list[str | None]:
    """Return the old name of each wanted job; None for a new one.

    That is its name, or for an unknown name what stood at its place and stands nowhere now: then it was renamed.
    """
    gone = set(old).difference(wanted)
    stood = [name if name in gone else None for name in [*old[: len(wanted)], *([""] * (len(wanted) - len(old)))]]
    return [name if name in old else before for name, before in zip(wanted, stood, strict=True)]


def _keep_typed(old: Any, new: Any) -> Any:
    """Keep the old value where the new one is the same as text."""
    return old if isinstance(old, bool | int | float) and str(old) == new else new


def _merge_job(old: Mapping[str, Any], new: Mapping[str, Any], known_json: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {**old}
    for key, value in new.items():
        before = old.get(key)
        if key in known_json and _is_repeated(key, value, known_json[key]):
            continue
        nested = key in ("resources", "environment") and isinstance(value, Mapping) and isinstance(before, Mapping)
        merged[key] = _merge_job(before, value, known_json.get(key) or {}) if nested else value  # type: ignore[arg-type]
    if new.get("command"):
        merged.pop("script_path", None)
        merged.pop("script_vars", None)
    return merged


def _is_repeated(key: str, value: Any, known_value: Any) -> bool:
    """Return whether a form gives back the value it was shown.

    Forms join the words of a command by blanks and split them anew.
    """
    if key == "command" and isinstance(value, list) and isinstance(known_value, list):
        return " ".join(map(str, value)).split() == " ".join(map(str, known_value)).split()
    return bool(value == known_value)


def edit_workflow(data: bytes, old: Workflow, merged: Mapping[str, Any]) -> bytes:
    """Change the lines of the old file that say something else than `merged`.

    Where that cannot be done, the file is written anew.
    """
    whole = writer.dump_like(data, _order_workflow(merged))
    before = reader.load_yaml(compose_yaml(old.model_dump(exclude_unset=True))).value
    try:
        after = writer.rewrite_yaml(
            data, _keep_file(reader.load_yaml(data).value, before, reader.load_yaml(whole).value)
        )
        meant, wanted = (parse_workflow(text, stem=old.name).model_dump() for text in (after, whole))
    except Invalid:
        return whole  # what is wrong with it is said when it is checked
    return after if meant == wanted else whole


def mask_environments(data: bytes, workflow: Workflow) -> str:
    """Return the file's text with the secrets of its jobs masked."""
    tree = workflow.model_dump(exclude_unset=True)
    jobs = [{**job, "environment": masks.mask_secrets(job.get("environment"))} for job in tree["jobs"]]
    secrets = [masks.find_secrets(job["environment"]) for job in jobs]
    return (edit_workflow(data, workflow, {**tree, "jobs": jobs}) if any(secrets) else data).decode()


def _keep_file(raw: dict[str, Any], old: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the workflow in the words of the file, where it says the same.

    `raw` is what the file says word for word, `old` and `wanted` are in the form in which workflows are written.
    """
    jobs = list(zip(raw["jobs"], old["jobs"], strict=True))
    at = {job["name"]: index for index, job in enumerate(old["jobs"])}
    kept = _keep_words(raw, {**old, "jobs": None}, {**wanted, "jobs": None})
    kept["jobs"] = []
    for job, name in zip(wanted["jobs"], _match_names(list(at), [job["name"] for job in wanted["jobs"]]), strict=True):
        if name is None:
            kept["jobs"].append(job)
        else:
            said, before = jobs[at[name]]
            kept["jobs"].append(_keep_words(said, _place_keys(said, before), _place_keys(said, job)))
    return kept


def _place_keys(raw: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job with its keys where the file has them."""
    placed = dict(job)
    if "path" in raw and "script_path" in placed:
        placed["path"] = placed.pop("script_path")
    for key in FLAT_KEYS.keys() & raw.keys():
        section = dict(placed.get(FLAT_KEYS[key], {}))
        if key in section and key not in (raw.get(FLAT_KEYS[key]) or {}):
            placed[key] = section.pop(key)
            placed[FLAT_KEYS[key]] = section
    return {key: value for key, value in placed.items() if value != {}}


def _keep_words(raw: Any, old: Any, wanted: Any) -> Any:
    """Return the wanted value, in the words of `raw` where it is the old one."""
    if writer.is_same(old, wanted):
        return raw
    if isinstance(raw, dict) and isinstance(old, dict) and isinstance(wanted, dict):
        # What is not among the old keys is empty, and says nothing.
        kept = {
            key: _keep_words(value, old.get(key), wanted[key]) if key in wanted else value
            for key, value in raw.items()
            if key in wanted or key not in old
        }
        new = {key: value for key, value in wanted.items() if key not in raw}
        return kept | {
            key: value for key, value in new.items() if key not in old or not writer.is_same(old[key], value)
        }
    return wanted

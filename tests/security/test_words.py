"""Words that become arguments or parts of a script's line: none becomes an option, another mount or another file."""

from __future__ import annotations

from typing import Any

import pytest

from store.documents import Environment as CommonEnvironment
from store.documents import from_yaml
from store.errors import Invalid
from store.rendering.renderer import Renderer
from store.rules import workflows
from tests.app_client import Client

CONTAINER = "environment: {{container: {{image: a, {field}: {value}}}}}"
APPTAINER = "environment: {{container: {{runtime: apptainer, image: a, {field}: {value}}}}}"
# What a job says in a file, by the field; a list where several may be given.
PLACES = {
    "conda": "environment: {{conda: {value}}}",
    "venv": "environment: {{venv: {value}}}",
    "image": "environment: {{container: {{image: {value}}}}}",
    "mounts": CONTAINER.replace("{value}", "[{value}]"),
    "workdir": CONTAINER,
    "overlay": APPTAINER,
    "work_dir": "work_dir: {value}",
    "log_dir": "log_dir: {value}",
    "partition": "resources: {{partition: {value}}}",
    "nodelist": "resources: {{nodelist: {value}}}",
    "memory_per_node": "resources: {{memory_per_node: {value}}}",
    "time_limit": "resources: {{time_limit: {value}}}",
}
FOLDERS = ("work_dir", "log_dir")
WRONG = [
    *(("an option", field, "--oops") for field in PLACES),
    *(("an option behind a blank", field, " -o") for field in PLACES),
    ("another mount", "mounts", "/a:/b,/etc:/etc"),
    ("another overlay", "overlay", "/a,/b"),
    *(("SLURM's escape, which switches off %j", field, r"a\b") for field in FOLDERS),
    *(("a blank at its end", field, "a ") for field in FOLDERS),
    *(("another line", field, r"a\nb") for field in FOLDERS),
    *(("a tab", field, r"a\tb") for field in FOLDERS),
    *(("NUL", field, r"a\0b") for field in FOLDERS),
    *(("longer than a path", field, "/" + "a/" * 2100) for field in FOLDERS),
    *(("longer than a name", field, "é" * 128) for field in FOLDERS),
]


def write_job(field: str, value: str) -> bytes:
    """A workflow whose job says this."""
    quoted = '"' + (value if r"\n" in value or r"\t" in value or r"\0" in value else value.replace("\\", r"\\")) + '"'
    said = PLACES[field].format(field=field, value=quoted)
    return f"args: {{x: 1}}\njobs:\n- name: a\n  command: pwd\n  {said}\n".encode()


@pytest.mark.parametrize(("why", "field", "value"), WRONG)
def test_a_job_cannot_say_it(why: str, field: str, value: str) -> None:
    with pytest.raises(Invalid) as caught:
        workflows.parse_workflow(write_job(field, value))
    if "NUL" not in why:  # which no text in YAML holds
        assert field in caught.value.problems[0]["loc"], why


@pytest.mark.parametrize(("why", "field", "value"), [row for row in WRONG if "\\" not in row[2] and len(row[2]) < 99])
def test_nor_can_a_template(renderer: Renderer, why: str, field: str, value: str) -> None:
    workflow = workflows.parse_workflow(write_job(field, f"{{{{ '{value}' }}}}"))
    with pytest.raises(Invalid) as caught:
        workflows.plan_workflow(workflow, renderer=renderer)
    assert field in caught.value.problems[0]["loc"], why


@pytest.mark.parametrize(
    "text",
    ["conda: -n", "venv: --x", "container: -x", "container: {image: a, mounts: ['/a,/b']}", "container: {workdir: -a}"],
)
def test_nor_can_the_configuration(text: str) -> None:
    with pytest.raises(Invalid):
        from_yaml(CommonEnvironment, text.encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", "docker://user@host:5000/a,b:tag"),
        ("mounts", "/a:/b:ro"),
        ("conda", "my env"),
        ("work_dir", "/a b/%j/é"),
        ("log_dir", ""),
        ("work_dir", "~user/x-y"),
    ],
)
def test_what_is_usual_stays(field: str, value: str) -> None:
    assert workflows.parse_workflow(write_job(field, value)).jobs[0].name == "a"


@pytest.mark.parametrize("field", FOLDERS)
@pytest.mark.parametrize("cluster", ["embedded"], indirect=True)
def test_requests_with_such_folders_are_refused(client: Client, field: str) -> None:
    unnamed: dict[str, Any] = {"command": ["pwd"], field: "/a\\b"}
    job = {"name": "a", **unnamed}
    answers = [
        client.post("/api/jobs/preview", job),
        client.post("/api/templates/base/apply", {"job_name": "a", "preview_only": False, **unnamed}),
        client.post("/api/workflows/create", {"name": "w", "jobs": [job]}),
        client.request("PUT", "/api/config", json={field: "/a\\b"}),
    ]
    assert [answer.status_code for answer in answers] == [422] * 4, [answer.text for answer in answers]
    assert all(field in answer.text for answer in answers)

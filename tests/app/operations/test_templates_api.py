"""Templates: files that people edit and the API edits, previews, and jobs made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_shim import script
from slurm_shim.template import TEXT
from store.errors import Invalid
from store.rendering import templates
from store.rendering.renderer import Renderer
from store.rendering.templates import Template
from tests.app_client import Client
from tests.waiting import eventually

OWN = "#!/bin/bash\n#SBATCH --job-name={{ job_name }}\necho {{ command }} on {{ nodes }}\n"


def create(client: Client, name: str, **more: Any) -> Any:
    return client.post("/api/templates", {"name": name, "content": OWN, **more})


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "text", "template"),
    [
        ("nothing before it", "#!/bin/sh\n", Template("#!/bin/sh\n")),
        ("both", "{#\ndescription: a\nuse_case: b\n#}\n#!/bin/sh\n", Template("#!/bin/sh\n", "a", "b")),
        ("indented, one, dashes", "{#-\n  use_case:  b: c \n-#}\nx\n", Template("x\n", "", "b: c")),
        ("another comment is part of the text", "{# by Ann #}\nx\n", Template("{# by Ann #}\nx\n")),
        ("other words are part of the text", "{#\nauthor: Ann\n#}\nx\n", Template("{#\nauthor: Ann\n#}\nx\n")),
        ("not at the beginning", "\n{#\ndescription: a\n#}\n", Template("\n{#\ndescription: a\n#}\n")),
    ],
)
def test_what_a_file_says(why: str, text: str, template: Template) -> None:
    assert templates.parse_template(text.encode()) == template, why


LINES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60).map(str.strip)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=200)


@given(
    LINES, LINES, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=200)
)
def test_what_is_written_is_read_again(description: str, use_case: str, content: str) -> None:
    template = Template(content, description, use_case)
    try:
        data = templates.format_template(template)
    except Invalid:
        texts = f"{description}{use_case}"
        assert (
            "#}" in texts
            or not content.strip("\ufeff").strip()
            or content[:1] in ("{", "\ufeff")
            or texts.splitlines()[1:]
        )
        return
    assert templates.parse_template(data) == template


MOST: dict[str, Any] = {
    "name": "train it",
    "command": ["python", "train.py", "--name", "a b"],
    "work_dir": "/srv/p",
    "log_dir": "/srv/p/logs/",
    "resources": {
        "nodes": 2,
        "gpus_per_node": 4,
        "ntasks_per_node": 1,
        "cpus_per_task": 8,
        "memory_per_node": "32G",
        "time_limit": "8:00:00",
        "partition": "gpu",
        "nodelist": "node[01-02]",
    },
    "environment": {"venv": "/srv/venv", "env_vars": {"OMP_NUM_THREADS": "4"}},
    "srun_args": "--mpi=pmix",
    "launch_prefix": "time",
    "exports_env": {"DATA": "x y"},
}
PYXIS = {"image": "x", "mounts": ["/a:/b"]}
APPTAINER = {"runtime": "apptainer", "image": "i", "nv": True}
JOBS: list[tuple[str, dict[str, Any]]] = [
    ("least", {"name": "a", "command": ["true"]}),
    ("most", MOST),
    ("no GPUs", {"name": "a", "command": "echo $HOME", "resources": {"nodes": 1, "gpus_per_node": 0}}),
    ("conda", {"name": "a", "command": ["true"], "environment": {"conda": "ml"}}),
    ("pyxis", {"name": "a", "command": ["true"], "environment": {"container": PYXIS}}),
    ("apptainer", {"name": "a", "command": ["x"], "environment": {"container": APPTAINER}}),
]


@pytest.mark.parametrize(("why", "job"), JOBS, ids=[why for why, _ in JOBS])
def test_the_text_of_base_gives_the_script_that_is_built_in(why: str, job: dict[str, Any], renderer: Renderer) -> None:
    assert templates.render_text(TEXT, script.build_variables(job), renderer, name="base") == script.render_script(job)


# --- over HTTP -------------------------------------------------------------------------------------------------------


def test_the_life_of_a_template(client: Client) -> None:
    first = client.get("/api/templates").json()[0]
    assert (first["name"], first["user_defined"]) == ("base", False)
    made = create(client, "life", description="What it is", use_case="When")
    assert made.status_code == 201
    assert made.json() == {"name": "life", "description": "What it is", "use_case": "When", "user_defined": True}
    file = client.store / "templates" / "life.sh"
    assert file.read_text() == "{#\ndescription: What it is\nuse_case: When\n#}\n" + OWN
    got = client.get("/api/templates/life")
    assert got.json() == {"name": "life", "description": "What it is", "use_case": "When", "content": OWN}
    # Somebody edits the file, and nobody overwrites that unseen.
    file.write_text("{#\ndescription: Ann's\n#}\n" + OWN + "# edited\n")
    eventually(lambda: client.get("/api/templates/life").json()["description"] == "Ann's")
    changed = {"use_case": "Often"}
    late = client.request("PUT", "/api/templates/life", json=changed, headers={"If-Match": got.headers["etag"]})
    assert late.status_code == 412
    after = client.request("PUT", "/api/templates/life", json=changed, headers={"If-Match": "*"})
    assert after.json() == {"name": "life", "description": "Ann's", "use_case": "Often", "content": OWN + "# edited\n"}
    assert client.delete("/api/templates/life").status_code == 204 and not file.exists()


def test_a_template_written_by_hand_counts(client: Client) -> None:
    (client.store / "templates" / "hand.slurm").write_text(OWN)
    eventually(lambda: any(template["name"] == "hand" for template in client.get("/api/templates").json()))
    client.request("PUT", "/api/templates/hand", json={"description": "By hand"})
    text = (client.store / "templates" / "hand.slurm").read_text()
    assert text == "{#\ndescription: By hand\n#}\n" + OWN


NEW, PREVIEW, APPLY = ("POST", "/api/templates"), ("POST", "/api/jobs/preview"), ("POST", "/api/templates/base/apply")


@pytest.mark.parametrize(
    ("why", "method", "path", "body", "status", "said"),
    [
        ("the built-in name", *NEW, {"name": "base", "content": "x"}, 409, "already exists"),
        ("no name for a file", *NEW, {"name": "../x", "content": "x"}, 409, "letters, digits"),
        ("no text", *NEW, {"name": "none", "content": " \n"}, 422, "content"),
        ("a NUL", *NEW, {"name": "none", "content": "a\0b"}, 422, "content"),
        ("two lines", *NEW, {"name": "none", "content": "x", "description": "a\nb"}, 422, "description"),
        ("the end of a comment", *NEW, {"name": "none", "content": "x", "use_case": "#}"}, 422, "use_case"),
        ("built in", "PUT", "/api/templates/base", {"content": "x"}, 404, "built in"),
        ("built in", "DELETE", "/api/templates/base", None, 400, "built in"),
        ("none", "GET", "/api/templates/none", None, 404, "Available templates: base"),
        ("none", "PUT", "/api/templates/none", {"content": "x"}, 404, "Template 'none' not found"),
        ("none", "DELETE", "/api/templates/none", None, 400, "Template 'none' not found"),
        ("none", "POST", "/api/templates/none/apply", {"command": ["x"]}, 404, "Template 'none' not found"),
        ("none", *PREVIEW, {"command": ["x"], "template_name": "zz"}, 404, "'zz' not found. Available"),
        ("no command", *PREVIEW, {}, 422, "command"),
        ("a bad resource", *PREVIEW, {"command": ["x"], "resources": {"nodes": 0}}, 422, "nodes"),
        ("an unknown one", *PREVIEW, {"command": ["x"], "resources": {"gpu": 1}}, 422, "unknown key"),
        ("a word too many", *PREVIEW, {"command": ["x"], "resources": {"partition": "a b"}}, 422, "partition"),
        ("a line break", *PREVIEW, {"command": ["x"], "work_dir": "/a\n#SBATCH -p x"}, 422, "work_dir"),
        ("both", *PREVIEW, {"command": ["x"], "environment": {"conda": "a", "venv": "b"}}, 422, "conda"),
        ("no mount", *APPLY, {"command": ["x"], "mount_name": "no", "log_dir": "l"}, 404, "Mount"),
        ("below what", *APPLY, {"command": ["x"], "work_dir": "w"}, 422, "mount_name"),
    ],
)  # fmt: skip
def test_refusals(client: Client, why: str, method: str, path: str, body: Any, status: int, said: str) -> None:
    answer = client.request(method, path, **({"json": body} if body is not None else {}))
    assert answer.status_code == status and said in answer.text, (why, answer.text)


def test_a_name_is_taken_once(client: Client) -> None:
    answers = client.together([lambda: create(client, "once") for _ in range(4)])
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


def test_previews(client: Client) -> None:
    body = {"name": "look", "command": ["echo", "a b"], "resources": {"nodes": 3, "partition": None, "time_limit": ""}}
    preview = client.post("/api/jobs/preview", body).json()
    assert preview["template_used"] == "base"
    assert "#SBATCH --nodes=3\n" in preview["script"] and "srun echo 'a b'" in preview["script"]
    assert "#SBATCH --chdir=.\n" in preview["script"] and "--output=./%x_%j.log" in preview["script"]
    create(client, "look", description="For looking")
    own = client.post("/api/jobs/preview", {**body, "template_name": "look"}).json()
    assert own == {"script": "#!/bin/bash\n#SBATCH --job-name=look\necho echo 'a b' on 3\n", "template_used": "look"}
    use = {"command": ["echo", "a b"], "job_name": "look", "resources": {"nodes": 3}, "preview_only": True}
    assert client.post("/api/templates/look/apply", use).json() == own
    create(client, "wrong", content="#!/bin/bash\n{{ nodez }}\n")
    wrong = client.post("/api/jobs/preview", {**body, "template_name": "wrong"})
    assert wrong.status_code == 422 and "'nodez' is undefined" in wrong.text


def test_a_template_is_applied(client: Client, tmp_path: Path) -> None:
    create(client, "applied", description="Its comment is no part of the script")
    body = {"command": ["words"], "job_name": "applied", "resources": {"nodes": 1}}
    key = {"Idempotency-Key": "applied"}
    job = client.post("/api/templates/applied/apply", body, headers=key).json()
    assert client.post("/api/templates/applied/apply", body, headers=key).json() == job
    assert client.job(job["job_id"])["status"] == "COMPLETED"
    assert client.get(f"/api/jobs/{job['job_id']}/logs").json()["stdout"] == "echo words on 1\n".removeprefix("echo ")
    place = {"command": ["pwd"], "work_dir": str(tmp_path / "w"), "log_dir": str(tmp_path / "l")}
    job = client.post("/api/templates/base/apply", place).json()
    assert client.job(job["job_id"])["status"] == "COMPLETED"
    assert (tmp_path / "l" / f"job_{job['job_id']}.log").read_text().strip().endswith(str(tmp_path / "w"))


def test_folders_below_a_home(client: Client) -> None:
    body = {"command": ["pwd"], "work_dir": "~root/w", "log_dir": "~/l", "preview_only": True}
    script = client.post("/api/templates/base/apply", body).json()["script"]
    assert "--chdir=/root/w\n" in script and f"--output={Path.home()}/l/" in script
    answer = client.post("/api/templates/base/apply", {**body, "work_dir": "~nobody-has-this", "preview_only": False})
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", "work_dir"]


def test_a_workflow_uses_a_template_with_a_comment(client: Client) -> None:
    create(client, "commented", use_case="Workflows")
    text = "name: with-template\njobs:\n  - {name: a, command: hi, template: commented}\n"
    run = client.await_run(client.start_run("with-template", text)["id"])
    assert run["status"] == "completed", run

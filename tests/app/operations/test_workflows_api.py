"""Workflow files over HTTP: the documented calls, everything that is wrong at once, edits by hand and by callers."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.app_client import Client
from tests.waiting import eventually

DOCUMENTED_UPLOAD = {
    "yaml": "name: my-pipeline\njobs:\n  - name: step1\n    command: ['echo', 'hello']",
    "filename": "my-pipeline.yaml",
}
DOCUMENTED_CREATION = {
    "name": "ml-pipeline",
    "jobs": [
        {
            "name": "preprocess", "command": ["python", "preprocess.py"], "depends_on": [], "resources": {"nodes": 1},
            "work_dir": "/home/researcher/ml-project",
        },
        {
            "name": "train", "command": ["python", "train.py", "--epochs", "100"], "depends_on": ["preprocess"],
            "resources": {"nodes": 1, "gpus_per_node": 4, "time_limit": "4:00:00"}, "environment": {"conda": "ml_env"},
        },
    ],
}  # fmt: skip
CYCLE = """\
name: a
jobs:
  - {name: x, command: [a], depends_on: [y]}
  - {name: y, command: [a], depends_on: [x]}
"""
WRONG = """\
name: demo
jobs:
  - name: hello
    comand: [echo]
  - name: bye
    command: [echo]
    depends_on: [helo]
    retry: -1
"""
DEMO = "# my demo\nname: {name}\njobs:\n  - name: hello  # says it\n    command: [echo, {word}]\n"


def upload(client: Client, name: str, text: str, **more: Any) -> Any:
    """Upload a workflow text."""
    return client.post("/api/workflows/upload", {"yaml": text, "filename": f"{name}.yaml"}, **more)


def text_of(client: Client, name: str) -> str | None:
    """What the store's file holds."""
    path = client.store / "workflows" / f"{name}.yaml"
    return path.read_text() if path.exists() else None


def names(client: Client) -> list[str]:
    """The workflows that are listed."""
    return [workflow["name"] for workflow in client.get("/api/workflows").json()]


# --- the documented calls --------------------------------------------------------------------------------------------


def test_the_documented_upload(client: Client) -> None:
    answer = client.post("/api/workflows/upload", DOCUMENTED_UPLOAD)
    assert answer.status_code == 200
    (job,) = answer.json()["jobs"]
    assert answer.json()["name"] == "my-pipeline"
    assert (job["name"], job["command"], job["status"], job["job_id"]) == ("step1", ["echo", "hello"], "UNKNOWN", None)
    assert text_of(client, "my-pipeline") == DOCUMENTED_UPLOAD["yaml"], "byte for byte"
    assert client.get("/api/workflows/my-pipeline").json() == answer.json()


def test_the_documented_creation(client: Client) -> None:
    answer = client.post("/api/workflows/create", DOCUMENTED_CREATION)
    assert answer.status_code == 200
    first, second = answer.json()["jobs"]
    expected = {
        "name": "preprocess", "job_id": None, "status": "UNKNOWN", "depends_on": [],
        "command": ["python", "preprocess.py"],
    }  # fmt: skip
    assert {key: first[key] for key in expected} == expected
    documented = {"nodes": 1, "gpus_per_node": None, "partition": None, "time_limit": None}
    assert {key: first["resources"][key] for key in documented} == documented
    assert first["work_dir"] == "/home/researcher/ml-project"
    assert second["depends_on"] == ["preprocess"] and second["environment"] == {"conda": "ml_env"}
    assert client.get("/api/workflows/ml-pipeline").json() == answer.json()
    again = client.post("/api/workflows/create", DOCUMENTED_CREATION)
    assert (again.status_code, again.json()) == (409, {"detail": "Workflow 'ml-pipeline' already exists"})


def test_the_documented_deletion(client: Client) -> None:
    upload(client, "gone", DEMO.format(name="gone", word="x"))
    answer = client.delete("/api/workflows/gone")
    assert (answer.status_code, answer.json()) == (200, {"status": "deleted", "name": "gone"})
    assert text_of(client, "gone") is None and "gone" not in names(client)
    missing = client.delete("/api/workflows/gone")
    assert (missing.status_code, missing.json()) == (404, {"detail": "Workflow 'gone' not found"})


def test_runs_of_a_deleted_workflow_stay(client: Client) -> None:
    upload(client, "short", DEMO.format(name="short", word="x"))
    run = client.await_run(client.start_run("short")["id"])
    client.delete("/api/workflows/short")
    assert client.get(f"/api/workflows/runs/{run['id']}").json() == run


@pytest.mark.parametrize(
    ("why", "text", "valid"),
    [
        ("good", DEMO.format(name="demo", word="hi"), True),
        ("empty", "", False),
        ("nothing", None, False),
        ("not a mapping", "- a", False),
        ("no YAML", "name: [", False),
        ("no jobs", "name: a", False),
        ("a cycle", CYCLE, False),
        ("twice the same", "name: a\njobs:\n- {name: x, command: [a]}\n- {name: x, command: [b]}", False),
        ("unknown dependency", "name: a\njobs:\n- {name: x, command: [a], depends_on: [y]}", False),
        ("Python from files", "name: a\nargs: {x: 'python: 1+1'}\njobs:\n- {name: x, command: [a]}", False),
        ("a template that cannot be rendered", "name: a\njobs:\n- {name: x, command: ['{{ nothing }}']}", False),
        ("a way out of the sandbox", "name: a\njobs:\n- {name: x, command: [\"{{ ''.__class__.__mro__ }}\"]}", False),
    ],
)  # fmt: skip
def test_validation(client: Client, why: str, text: str | None, valid: bool) -> None:
    answer = client.post("/api/workflows/validate", {"yaml": text})
    assert (answer.status_code, answer.json()["valid"]) == (200, valid), f"{why}: {answer.text}"
    assert valid is not bool(answer.json().get("errors")), why
    if text and not valid:
        assert upload(client, "never", text).status_code == 422, "what does not validate is not saved"
        assert text_of(client, "never") is None


def test_validation_tells_everything_with_its_line(client: Client) -> None:
    errors = "\n".join(client.post("/api/workflows/validate", {"yaml": WRONG}).json()["errors"])
    assert "line 4" in errors and "'comand'" in errors and "did you mean 'command'" in errors
    assert "line 7" in errors and "helo" in errors and "line 8" in errors


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "filename", "status"),
    [
        ("either ending", "fine.yml", 200),
        ("a path before it is dropped", "../../fine.yaml", 200),
        ("no ending", "fine", 422),
        ("another ending", "fine.txt", 422),
        ("hidden", ".yaml", 422),
        ("blank", "a b.yaml", 422),
        ("dots", "a.b.yaml", 422),
        ("empty", "", 422),
        ("an option", "-x.yaml", 422),
        ("NUL", "a\0.yaml", 422),
        ("the parent", "...yaml", 422),
    ],
)
def test_file_names(client: Client, why: str, filename: str, status: int) -> None:
    stem = filename.rsplit("/", 1)[-1].rsplit(".", 1)[0] or "x"
    body = {"yaml": DEMO.format(name=stem, word="x"), "filename": filename}
    answer = client.post("/api/workflows/upload", body)
    assert answer.status_code == status, f"{why}: {answer.text}"
    inside = [
        path.name
        for path in client.store.rglob("*")
        if path.suffix in (".yaml", ".yml", ".txt") and path.parent.name not in ("workflows", "simulators")
    ]
    assert sorted(inside) == ["access.yaml", "config.yaml", "profiles.yaml"], "nothing lands anywhere else"
    for end in (".yml", ".yaml"):
        (client.store / "workflows" / f"{stem}{end}".replace("\0", "")).unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["runs", "validate", "upload", "create", "new"])
def test_reserved_names_are_refused_or_work(client: Client, name: str) -> None:
    answer = client.post("/api/workflows/create", {"name": name, "jobs": [{"name": "a", "command": ["echo"]}]})
    if answer.status_code == 200:
        assert client.get(f"/api/workflows/{name}").json()["name"] == name, "a name that is taken can be read again"
    else:
        assert answer.status_code == 422


def list_problems(client: Client, path: str) -> list[Any]:
    return [row for row in client.get("/api/store/problems").json() if row["path"].endswith(path)]


def test_the_files_name_counts_and_another_one_inside_is_a_warning(client: Client) -> None:
    answer = upload(client, "outside", DEMO.format(name="inside", word="x"))
    assert answer.status_code == 200 and answer.json()["name"] == "outside"
    assert client.get("/api/workflows/inside").status_code == 404
    (row,) = list_problems(client, "outside.yaml")
    assert (row["severity"], row["line"], row["mount"]) == ("warning", 2, None) and "'inside'" in row["reason"]
    fixed = upload(client, "outside", DEMO.format(name="outside", word="x"))
    assert fixed.status_code == 200 and list_problems(client, "outside.yaml") == []


@pytest.mark.parametrize("ending", ["YAML", "Yml", "json"])
def test_every_spelling_of_the_ending_counts(client: Client, ending: str) -> None:
    """A refused file is a 409 with its place, one with names that only a run gives is in force with a warning."""
    name = f"ending-{ending}"
    path = client.store / "workflows" / f"{name}.{ending}"
    path.write_text('{\n\t"jobs": [{"name": "a", "comand": ["echo"]}]\n}')
    answer = eventually(lambda: (got := client.get(f"/api/workflows/{name}")).status_code == 409 and got)
    assert f"workflows/{name}.{ending}, line 2" in answer.text and "did you mean 'command'" in answer.text
    assert client.post(f"/api/workflows/{name}/run", {}).status_code == 409
    assert list_problems(client, path.name)[0]["severity"] == "error"
    body = {"name": name, "jobs": [{"name": "a", "command": ["x"]}]}
    for overwrite in (False, True):
        assert client.post("/api/workflows/create", {**body, "overwrite": overwrite}).status_code == 409
    assert client.delete(f"/api/workflows/{name}").status_code == 409 and text_of(client, name) is None
    path.write_text('{\n\t"jobs": [{"name": "a", "command": ["echo", "{{ word }}"]}]\n}')
    eventually(lambda: client.get(f"/api/workflows/{name}").status_code == 200)
    (row,) = list_problems(client, path.name)
    assert (row["severity"], row["line"]) == ("warning", 2) and "'word' is undefined" in row["reason"]
    assert (
        client.post(f"/api/workflows/{name}/run", {"args_override": {"word": "x"}, "dry_run": True}).status_code == 202
    )
    path.unlink()


def test_an_axis_that_nothing_uses_is_a_warning_of_validation(client: Client) -> None:
    text = "args: {lr: 1}\nsweep: {matrix: {lrs: [1]}}\njobs: [{name: a, command: 'echo {{ lr }}'}]\n"
    answer = client.post("/api/workflows/validate", {"yaml": text}).json()
    (warning,) = answer["warnings"]
    assert answer["valid"] and "line 2" in warning and "uses 'lrs'; did you mean 'lr'?" in warning


def test_what_a_creation_may_not_have(client: Client) -> None:
    job = {"name": "a", "command": ["echo"]}
    for why, body in (
        ("no jobs", {"jobs": []}),
        ("a job without a command", {"jobs": [{"name": "a"}]}),
        ("a command that is one text", {"jobs": [{**job, "command": "echo"}]}),
        ("a blank in a job's name", {"jobs": [{**job, "name": "a b"}]}),
        ("a key that nobody knows", {"jobs": [{**job, "outputs": {}}]}),
        ("twice the same", {"jobs": [job, job]}),
        ("waits for itself", {"jobs": [{**job, "depends_on": ["a"]}]}),
        ("resources that are none", {"jobs": [{**job, "resources": {"nodes": 0}}]}),
        ("both environments", {"jobs": [{**job, "environment": {"conda": "a", "venv": "b"}}]}),
        ("undefined in a template", {"jobs": [{**job, "command": ["{{ nothing }}"]}]}),
        ("Python", {"jobs": [job], "args": {"x": ["python: 1"]}}),
    ):
        answer = client.post("/api/workflows/create", {"name": "bad", **body})
        assert answer.status_code == 422, f"{why}: {answer.text}"
        assert isinstance(answer.json()["detail"], list), why
    assert text_of(client, "bad") is None


# --- changing --------------------------------------------------------------------------------------------------------


def test_an_invalid_upload_leaves_the_old_file_as_it_was(client: Client) -> None:
    good = DEMO.format(name="kept", word="good")
    upload(client, "kept", good)
    assert upload(client, "kept", "name: kept\njobs: 5\n").status_code == 422
    assert text_of(client, "kept") == good
    assert client.get("/api/workflows/kept").json()["jobs"][0]["command"] == ["echo", "good"]
    assert not list((client.store / "workflows").glob(".sluice*"))


def test_an_upload_replaces(client: Client) -> None:
    upload(client, "twice", DEMO.format(name="twice", word="one"))
    assert upload(client, "twice", DEMO.format(name="twice", word="two")).status_code == 200
    assert client.get("/api/workflows/twice").json()["jobs"][0]["command"] == ["echo", "two"]
    assert names(client).count("twice") == 1


def test_overwriting_keeps_what_the_body_does_not_mention(client: Client) -> None:
    job = "  - name: a\n    command: [echo, '{{ n }}']\n    retry: 4\n    log_dir: my-logs\n"
    text = f"name: edited\nargs: {{n: 3}}\njobs:\n{job}"
    upload(client, "edited", text)
    stored_job = client.get("/api/workflows/edited").json()["jobs"][0]
    jobs = [{"name": "a", "command": stored_job["command"], "resources": {"nodes": 2}}]
    answer = client.post("/api/workflows/create", {"name": "edited", "jobs": jobs, "overwrite": True})
    assert answer.status_code == 200
    saved = text_of(client, "edited") or ""
    assert "{{ n }}" in saved, "a value that was only shown rendered is not baked in"
    job = answer.json()["jobs"][0]
    assert (job["retry"], job["log_dir"], job["resources"]["nodes"]) == (4, "my-logs", 2)


def test_if_match(client: Client) -> None:
    first = upload(client, "shared", DEMO.format(name="shared", word="one"))
    etag = first.headers["etag"]
    assert etag.strip('"') == hashlib.sha256((text_of(client, "shared") or "").encode()).hexdigest()
    assert client.get("/api/workflows/shared").headers["etag"] == etag
    second = upload(client, "shared", DEMO.format(name="shared", word="two"), headers={"If-Match": etag})
    assert second.status_code == 200
    for answer in (
        upload(client, "shared", DEMO.format(name="shared", word="three"), headers={"If-Match": etag}),
        client.delete("/api/workflows/shared", headers={"If-Match": etag}),
        client.post(
            "/api/workflows/create",
            {"name": "shared", "jobs": [{"name": "a", "command": ["b"]}], "overwrite": True},
            headers={"If-Match": etag},
        ),
    ):
        assert answer.status_code == 412, answer.text
    assert "two" in (text_of(client, "shared") or "")
    several = f'"other", {second.headers["etag"]}'
    second = upload(client, "shared", DEMO.format(name="shared", word="three"), headers={"If-Match": several})
    assert second.status_code == 200, "one of several"
    second = upload(client, "shared", DEMO.format(name="shared", word="four"), headers={"If-Match": "*"})
    assert second.status_code == 200, "any, since there is one"
    new = upload(client, "unshared", DEMO.format(name="unshared", word="one"), headers={"If-Match": "*"})
    assert new.status_code == 412 and text_of(client, "unshared") is None, "there is none"
    assert client.delete("/api/workflows/shared", headers={"If-Match": second.headers["etag"]}).status_code == 200


def test_an_edit_by_hand_that_was_not_seen_yet_is_not_overwritten(client: Client) -> None:
    etag = upload(client, "raced", DEMO.format(name="raced", word="one")).headers["etag"]
    (client.store / "workflows" / "raced.yaml").write_text(DEMO.format(name="raced", word="by-hand"))
    answer = upload(client, "raced", DEMO.format(name="raced", word="two"), headers={"If-Match": etag})
    assert answer.status_code == 412
    assert "by-hand" in (text_of(client, "raced") or "")


def test_twenty_uploads_at_once_leave_one_whole_file(client: Client) -> None:
    texts = [DEMO.format(name="crowd", word=f"word{i}") for i in range(20)]
    answers = client.together([lambda text=text: upload(client, "crowd", text) for text in texts])
    assert {answer.status_code for answer in answers} == {200}
    assert text_of(client, "crowd") in texts


# --- edits by hand ---------------------------------------------------------------------------------------------------


def test_files_that_come_change_move_and_go_are_seen(client: Client) -> None:
    folder = client.store / "workflows"
    (folder / "hand.yaml").write_text(DEMO.format(name="hand", word="one"))
    eventually(lambda: client.get("/api/workflows/hand").json()["jobs"][0]["command"] == ["echo", "one"])
    (folder / "hand.tmp").write_text(DEMO.format(name="hand", word="two"))
    (folder / "hand.tmp").rename(folder / "hand.yaml")
    eventually(lambda: client.get("/api/workflows/hand").json()["jobs"][0]["command"] == ["echo", "two"])
    (folder / "hand.yaml").rename(folder / "moved.yaml")
    eventually(lambda: "hand" not in names(client))
    eventually(lambda: client.get("/api/workflows/moved").json()["name"] == "moved")
    (folder / "moved.yaml").unlink()
    eventually(lambda: client.get("/api/store/problems").json() == [])


def test_a_file_that_breaks_is_told_and_its_last_good_version_stays(client: Client) -> None:
    path = client.store / "workflows" / "fragile.yaml"
    path.write_text(DEMO.format(name="fragile", word="good"))
    eventually(lambda: "fragile" in names(client))
    path.write_text("name: fragile\njobs:\n  - name: hello\n    comand: [echo]\n")
    problems = eventually(lambda: client.get("/api/store/problems").json())
    assert {problem["path"] for problem in problems} == {"workflows/fragile.yaml"}
    assert [problem["line"] for problem in problems if "'comand'" in problem["reason"]] == [4]
    assert client.get("/health").json()["store"]["problems"] == 1
    assert client.get("/api/workflows/fragile").json()["jobs"][0]["command"] == ["echo", "good"]
    assert "comand" in path.read_text(), "it is never overwritten by us"
    upload(client, "beside", DEMO.format(name="beside", word="x"))
    assert "beside" in names(client), "a bad file hides no other"
    path.write_text(DEMO.format(name="fragile", word="mended"))
    eventually(lambda: client.get("/api/store/problems").json() == [])
    assert client.get("/api/workflows/fragile").json()["jobs"][0]["command"] == ["echo", "mended"]


def test_a_comment_survives_what_the_api_does_not_touch(client: Client) -> None:
    text = DEMO.format(name="commented", word="x")
    upload(client, "commented", text)
    assert text_of(client, "commented") == text


def test_unknown_mounts(client: Client) -> None:
    for method, path, more in (
        ("GET", "/api/workflows?mount=m", {}),
        ("GET", "/api/workflows/a?mount=m", {}),
        ("DELETE", "/api/workflows/a?mount=m", {}),
        ("POST", "/api/workflows/upload", {"json": {**DOCUMENTED_UPLOAD, "mount": "m"}}),
        ("POST", "/api/workflows/create", {"json": {**DOCUMENTED_CREATION, "mount": "m"}}),
        ("POST", "/api/workflows/create", {"json": {**DOCUMENTED_CREATION, "default_project": "m"}}),
    ):
        answer = client.request(method, path, **more)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Mount 'm' not found"}), f"{method} {path}"


def test_a_workflow_that_is_too_large(client: Client) -> None:
    text = DEMO.format(name="large", word="x") + "#" * 999_999
    answer = upload(client, "large", text)
    assert answer.status_code in (413, 422) and text_of(client, "large") is None


def test_a_template_that_a_form_split_at_blanks_is_one_word_again(client: Client) -> None:
    words = ["train", "--lr", "{{", "lr", "}}", "--name", "{{", "name", "|", "default('a", "b')", "}}"]
    body = {"name": "typed", "args": {"lr": 0.1, "name": "x y"}, "jobs": [{"name": "a", "command": words}]}
    made = client.post("/api/workflows/create", body)
    assert made.status_code == 200, made.text
    assert made.json()["jobs"][0]["command"] == ["train", "--lr", "0.1", "--name", "x y"]
    dry = client.post("/api/workflows/typed/run", {"dry_run": True, "args_override": {"lr": 0.2}}).json()
    assert "srun train --lr 0.2 --name 'x y'" in dry["jobs"][0]["script"]

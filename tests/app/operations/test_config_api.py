"""The configuration over HTTP: its layers, what of it is shown, changes by callers and by hand, projects, variables."""

from __future__ import annotations

import functools
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.config.layers import add_defaults
from tests.app_client import Client, serving
from tests.waiting import eventually

HOOK = "https://hooks.slack.com/services/T0/B0/verysecret"
USER = """\
# Settings of my group.
cluster: {nodes: 2, cpus: 8, memory_mb: 16000, gpus: 4}
poll: {min_s: 1, max_s: 1}

resources:
  nodes: 2  # we have few
  # not more than a day
  time_limit: 1-00:00:00

# where logs go
log_dir: outs
"""


class ServedConfig:
    """A served store with a system file, a folder that the server was started in, and a project in a mount."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.store, self.system = base / "store", base / "etc" / "config.json"
        self.started_in, self.project = base / "cwd", base / "project"
        for folder in (self.store, self.system.parent, self.started_in, self.project):
            folder.mkdir()
        self.config, self.profiles = self.store / "config.yaml", self.store / "profiles.yaml"
        self.config.write_text(USER)
        self.profiles.write_text(
            "# clusters\ncurrent: dgx\nprofiles:\n  dgx:  # the big one\n    hostname: dgx.example.com\n    mounts:\n"
            f"      - {{name: ml, local: {self.project}, remote: /home/me/ml}}\n  other: {{hostname: o.example.com}}\n"
        )
        self.client: Client

    def get(self, **params: Any) -> Any:
        answer = self.client.get("/api/config", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def put(self, body: Any, status: int = 200, **more: Any) -> Any:
        answer = self.client.request("PUT", "/api/config", json=body, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    def problems(self) -> list[dict[str, Any]]:
        return list(self.client.get("/api/store/problems").json())


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[ServedConfig]:
    """A place that is served; `indirect` parameters are more of the server's environment."""
    place = ServedConfig(tmp_path)
    monkeypatch.chdir(place.started_in)
    environment = {"SLUICE_SYSTEM_CONFIG": str(place.system), **getattr(request, "param", {})}
    with serving(place.store, "embedded", **environment) as place.client:
        yield place


def with_environment(**environment: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("served", [environment], indirect=True)


# --- layers ----------------------------------------------------------------------------------------------------------


def test_defaults_have_all_seven_keys(served: ServedConfig) -> None:
    served.config.write_text("poll: {min_s: 1, max_s: 1}\n")
    eventually(lambda: served.get()["log_dir"] == "logs")
    assert served.get() == {
        "resources": {
            "nodes": 1, "gpus_per_node": 0, "ntasks_per_node": 1, "cpus_per_task": 1, "memory_per_node": None,
            "time_limit": None, "nodelist": None, "partition": None,
        },
        "environment": {"conda": None, "venv": None, "container": None, "env_vars": {}},
        "notifications": {"slack_webhook_url": None, "default_endpoint_name": None, "default_preset": "terminal"},
        "cli": {"use_current_profile": True},
        "sync": {
            "auto": True, "lock_timeout_seconds": 120, "warn_dirty": True, "require_clean": False,
            "owner_check": True, "verify_remote_hash": False,
        },
        "log_dir": "logs",
        "work_dir": None,
    }  # fmt: skip


@with_environment(SRUNX_DEFAULT_CPUS_PER_TASK="6", SRUNX_DEFAULT_PARTITION="fast", SRUNX_SYNC_AUTO="no")
def test_each_layer_lies_on_those_below_and_tells_what_is_from_it(served: ServedConfig) -> None:
    served.system.write_text(
        '{"resources": {"nodes": 9, "partition": "sys", "gpus_per_node": 1, "ntasks_per_node": 3},'
        ' "environment": {"env_vars": {"A": "system", "B": "system"}}}'
    )
    own = served.started_in / "srunx.json"
    own.write_text('{"resources": {"ntasks_per_node": 4}, "environment": {"env_vars": {"B": "project"}}}')
    found = served.get(explain="true")
    assert found["resources"] == {
        "nodes": 2, "gpus_per_node": 1, "ntasks_per_node": 4, "cpus_per_task": 6, "memory_per_node": None,
        "time_limit": "1-00:00:00", "nodelist": None, "partition": "fast",
    }  # fmt: skip
    assert found["environment"]["env_vars"] == {"A": "system", "B": "project"}
    expected = [
        ("resources.memory_per_node", {"source": "default"}),
        ("resources.gpus_per_node", {"source": "system", "path": str(served.system)}),
        ("resources.nodes", {"source": "user", "path": str(served.config)}),
        ("resources.ntasks_per_node", {"source": "project", "path": str(own)}),
        ("environment.env_vars.B", {"source": "project", "path": str(own)}),
        ("environment.env_vars.A", {"source": "system", "path": str(served.system)}),
        ("resources.partition", {"source": "environment", "variable": "SRUNX_DEFAULT_PARTITION"}),
        ("sync.auto", {"source": "environment", "variable": "SRUNX_SYNC_AUTO"}),
    ]
    for place, origin in expected:
        assert found["explain"][place] == origin, place
    assert found["problems"] == [] and "explain" not in served.get()


BROKEN = [
    ("no JSON", '{"resources": {"nodes": 3}', "not JSON"),
    ("no object", "[1]", "a JSON object is needed"),
    ("empty", "", "the file is empty"),
    ("NULs after a crash", "\0\0\0", "NUL"),
]


@pytest.mark.parametrize(("why", "text", "reason"), BROKEN, ids=[row[0] for row in BROKEN])
def test_a_file_that_breaks_leaves_what_it_said_before_in_force(
    served: ServedConfig, why: str, text: str, reason: str
) -> None:
    served.system.write_text('{"resources": {"cpus_per_task": 5}}')
    assert served.get()["resources"]["cpus_per_task"] == 5
    served.system.write_text(text)
    found = served.get(explain="true")
    assert found["resources"]["cpus_per_task"] == 5
    assert [(problem["path"], reason in problem["reason"]) for problem in found["problems"]] == [
        (str(served.system), True)
    ]
    assert [problem["path"] for problem in served.problems()] == [str(served.system)]
    served.system.write_text("{}")
    assert served.get(explain="true")["problems"] == [] and served.problems() == []
    assert served.get()["resources"]["cpus_per_task"] == 1
    served.system.unlink()
    assert served.get()["resources"]["cpus_per_task"] == 1


def test_a_wrong_value_lets_the_layer_below_count_and_the_rest_of_its_file_too(served: ServedConfig) -> None:
    served.system.write_text('{"resources": {"gpus_per_node": 2}}')
    text = '{"resources": {"gpus_per_node": "many",\n "nodes": 5, "cpus_per_task": 3}, "resorces": 1, "log_dir": 7}'
    (served.started_in / "srunx.json").write_text(text)
    found = served.get(explain="true")
    assert (found["resources"]["gpus_per_node"], found["resources"]["nodes"], found["log_dir"]) == (2, 5, "outs")
    assert [(problem["line"], problem["reason"]) for problem in found["problems"]] == [
        (1, "resources.gpus_per_node: Input should be a valid integer"),
        (2, "resorces: unknown key 'resorces'; did you mean 'resources'?"),
        (2, "log_dir: Input should be a valid string"),
    ]


@with_environment(SRUNX_DEFAULT_NODES="many", SRUNX_DEFAULT_CONDA="a", SRUNX_DEFAULT_VENV="b", SLACK_WEBHOOK_URL="x")
def test_wrong_variables_are_told_and_count_as_not_set(served: ServedConfig) -> None:
    found = served.get(explain="true")
    assert found["resources"]["nodes"] == 2
    assert (found["environment"]["conda"], found["environment"]["venv"]) == (None, None)
    reasons = " ".join(problem["reason"] for problem in found["problems"])
    for name in ("SRUNX_DEFAULT_NODES", "SRUNX_DEFAULT_CONDA", "SRUNX_DEFAULT_VENV", "SLACK_WEBHOOK_URL"):
        assert name in reasons
    assert {problem["path"] for problem in found["problems"]} == {"environment"}
    assert served.client.get("/health").json()["status"] == "degraded"


def test_a_user_file_that_breaks_keeps_counting_and_is_not_written_over(served: ServedConfig) -> None:
    broken = "resources: {nodes: [}\n"
    served.config.write_text(broken)
    eventually(served.problems)
    assert served.get()["resources"]["nodes"] == 2
    assert served.get(explain="true")["problems"][0]["path"] == str(served.config)
    for body, path in (({"log_dir": "x"}, "/api/config"), (None, "/api/config/reset")):
        answer = served.client.request("PUT" if body else "POST", path, **({"json": body} if body else {}))
        assert answer.status_code == 409 and "cannot be read" in answer.json()["detail"]
    assert served.config.read_text() == broken


# --- changes ---------------------------------------------------------------------------------------------------------


def test_a_change_is_merged_and_leaves_every_other_line_as_it_is(served: ServedConfig) -> None:
    found = served.put({"resources": {"gpus_per_node": 1, "nodes": 3}, "environment": {"env_vars": {"A": "1"}}})
    assert (found["resources"]["nodes"], found["resources"]["time_limit"]) == (3, "1-00:00:00")
    assert served.config.read_text() == USER.replace("nodes: 2  #", "nodes: 3  #").replace(
        "time_limit: 1-00:00:00\n", "time_limit: 1-00:00:00\n  gpus_per_node: 1\n"
    ) + ('environment:\n  env_vars:\n    A: "1"\n')
    assert stat.S_IMODE(served.config.stat().st_mode) == 0o600
    assert served.get() == found


def test_the_whole_sent_back_with_one_change_writes_that_change(served: ServedConfig) -> None:
    system = {"resources": {"gpus_per_node": 2}, "notifications": {"slack_webhook_url": HOOK}}
    served.system.write_text(json.dumps(system))
    whole = served.get()
    assert served.put(whole) == whole and served.config.read_text() == USER
    whole["log_dir"] = "elsewhere"
    assert served.put(whole) == whole
    assert served.config.read_text() == USER.replace("log_dir: outs", "log_dir: elsewhere")


def test_variables_are_replaced_whole_and_null_takes_a_value_away(served: ServedConfig) -> None:
    served.system.write_text('{"resources": {"partition": "sys"}}')
    served.put({"environment": {"env_vars": {"A": "1", "B": "2"}, "container": {"image": "a.sif", "nv": True}}})
    found = served.put({"environment": {"env_vars": {"B": "3"}, "container": {"runtime": "apptainer"}}})
    assert found["environment"]["env_vars"] == {"B": "3"}
    container = found["environment"]["container"]
    assert (container["image"], container["nv"], container["runtime"]) == ("a.sif", True, "apptainer")
    found = served.put({"environment": {"container": None}, "resources": {"time_limit": None, "partition": None}})
    assert (found["environment"]["container"], found["resources"]["time_limit"]) == (None, None)
    assert found["resources"]["partition"] is None, "what the system's file says is undone too"
    assert "time_limit" not in served.config.read_text()
    assert served.put({"environment": {"container": "b.sif"}})["environment"]["container"]["image"] == "b.sif"


WRONG = [
    ("a type", {"resources": {"nodes": "two"}}, ["resources", "nodes"], "int"),
    ("a bound", {"resources": {"nodes": 0}}, ["resources", "nodes"], "greater_than_equal"),
    ("an option for a word", {"resources": {"partition": "--x"}}, ["resources", "partition"], "string_pattern"),
    ("two lines", {"environment": {"conda": "a\nb"}}, ["environment", "conda"], ""),
    ("a webhook elsewhere", {"notifications": {"slack_webhook_url": "http://x/"}}, ["notifications"], "string_pattern"),
    ("null for a number", {"resources": {"nodes": None}}, ["resources", "nodes"], "int"),
    ("a preset", {"notifications": {"default_preset": "loud"}}, ["notifications", "default_preset"], "literal"),
    ("both", {"environment": {"conda": "a", "venv": "b"}}, ["environment"], "value_error"),
    ("SLURM's variable", {"environment": {"env_vars": {"SLURM_X": "1"}}}, ["environment", "env_vars"], "value_error"),
    ("a time", {"resources": {"time_limit": "soon"}}, ["resources", "time_limit"], "string_pattern"),
    ("a mask of nothing", {"environment": {"env_vars": {"A_TOKEN": "***"}}}, ["environment", "env_vars"], ""),
    ("no object", [], ["body"], ""),
    ("text", "x", ["body"], ""),
]


@pytest.mark.parametrize(("why", "body", "loc", "kind"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_refused_names_its_place_and_changes_nothing(
    served: ServedConfig, why: str, body: Any, loc: list[str], kind: str
) -> None:
    detail = served.put(body, 422)["detail"]
    assert detail[0]["loc"][: len(loc)] == loc and kind in detail[0]["type"], detail
    assert served.config.read_text() == USER
    assert served.get()["resources"]["nodes"] == 2


def test_unknown_keys_are_refused(served: ServedConfig) -> None:
    detail = served.put({"resorces": {"nodes": 4}, "resources": {"node": 4}, "poll": {"min_s": 5}}, 422)["detail"]
    assert sorted(".".join(row["loc"]) for row in detail) == ["poll", "resorces", "resources.node"]
    assert served.config.read_text() == USER


def test_the_whole_answer_may_be_sent_back(served: ServedConfig) -> None:
    served.put(served.client.get("/api/config?explain=true").json())
    assert served.config.read_text() == USER


def test_changes_by_hand_and_by_callers_meet(served: ServedConfig) -> None:
    answer = served.client.get("/api/config")
    etag = answer.headers["etag"]
    assert served.client.get("/api/config", headers={"If-None-Match": etag}).status_code == 304
    served.put({"log_dir": "one"}, headers={"If-Match": etag})
    assert "log_dir: one" in served.config.read_text()
    served.put({"log_dir": "two"}, 412, headers={"If-Match": etag})
    by_hand = served.config.read_text().replace("we have few", "we have plenty")
    served.config.write_text(by_hand)  # and at once, before any watcher can tell
    assert served.put({"log_dir": "three"})["log_dir"] == "three"
    assert served.config.read_text() == by_hand.replace("log_dir: one", "log_dir: three")
    served.system.write_text('{"work_dir": "/w"}')
    etag = served.client.get("/api/config").headers["etag"]
    served.system.write_text('{"work_dir": "/other"}')
    answer = served.client.get("/api/config", headers={"If-None-Match": etag})
    assert answer.status_code == 200, "another layer's change is another answer"
    assert answer.json()["work_dir"] == "/other"
    served.put({"log_dir": "four"}, headers={"If-Match": etag})


def test_many_changes_at_once_are_all_there(served: ServedConfig) -> None:
    def change(number: int) -> Any:
        name = f"n{number}"
        mount = {"name": name, "local": f"/{name}", "remote": f"/{name}"}
        return served.client.post("/api/files/mounts", mount)

    answers = served.client.together([functools.partial(change, number) for number in range(12)])
    assert [answer.status_code for answer in answers] == [200] * 12
    names = {mount["name"] for mount in served.client.get("/api/files/mounts").json()}
    assert names == {"ml", *(f"n{number}" for number in range(12))}


def test_reset_really_resets_and_keeps_the_profiles_and_the_servers_own(served: ServedConfig) -> None:
    before = served.profiles.read_text()
    served.put({"environment": {"env_vars": {"A": "1"}}, "work_dir": "/w", "cli": {"use_current_profile": False}})
    answer = served.client.post("/api/config/reset")
    assert answer.status_code == 200
    found = answer.json()
    assert (found["resources"]["nodes"], found["log_dir"], found["work_dir"]) == (1, "logs", None)
    assert found["environment"]["env_vars"] == {} and found["cli"]["use_current_profile"]
    text = served.config.read_text()
    assert "# Settings of my group." in text and "# where logs go" in text
    assert "cluster: {nodes: 2" in text and "resources" not in text
    assert served.profiles.read_text() == before
    assert served.client.post("/api/config/reset").json() == found, "once more changes nothing"


def test_reset_without_a_file_makes_none(served: ServedConfig) -> None:
    served.config.unlink()
    eventually(lambda: served.get()["log_dir"] == "logs")
    assert served.client.post("/api/config/reset").status_code == 200
    assert not served.config.exists()
    served.put({"log_dir": "new"})
    assert served.config.read_text() == "log_dir: new\n"
    assert stat.S_IMODE(served.config.stat().st_mode) == 0o600


def test_what_cannot_be_written_is_500_and_changes_nothing(
    served: ServedConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    class Ops:
        def __getattr__(self, name: str) -> Any:
            return fails if name == "fsync" else getattr(os, name)

    monkeypatch.setattr(served.client.server.store.files, "ops", Ops())
    for method, path, body in (
        ("PUT", "/api/config", {"log_dir": "x"}),
        ("POST", "/api/config/reset", None),
        ("PUT", "/api/config/projects/ml", {"log_dir": "x"}),
        ("POST", "/api/config/projects/ml/init", None),
    ):
        answer = served.client.request(method, path, **({"json": body} if body else {}))
        assert answer.status_code == 500 and answer.json()["detail"].startswith("cannot write"), path
    assert served.config.read_text() == USER and list(served.project.iterdir()) == []
    assert served.get()["log_dir"] == "outs"


# --- secrets ---------------------------------------------------------------------------------------------------------


@with_environment(SRUNX_WEB_TOKEN="topsecret-token")
def test_secrets_leave_masked_and_come_back(served: ServedConfig) -> None:
    secret = {
        "notifications": {"slack_webhook_url": HOOK},
        "environment": {
            "env_vars": {"HF_TOKEN": "hf_verysecret", "N": "8"},
            "container": {"image": "docker://me:verysecret@host/i", "env": {"DB_PASSWORD": "verysecret"}},
        },
    }
    found = served.put(secret)
    assert found["notifications"]["slack_webhook_url"] == "https://hooks.slack.com/services/***"
    assert found["environment"]["env_vars"] == {"HF_TOKEN": "***", "N": "8"}
    assert found["environment"]["container"]["image"] == "docker://me:***@host/i"
    assert found["environment"]["container"]["env"] == {"DB_PASSWORD": "***"}
    kept = served.config.read_text()
    assert kept.count("verysecret") == 4
    assert served.put(found) == found and served.config.read_text() == kept, "the masks put back keep the old values"
    (served.project / "srunx.json").write_text(json.dumps(secret))
    (served.started_in / "srunx.json").write_text(json.dumps(secret))
    for path in ("/api/config", "/api/config?explain=true", "/api/config?mount=ml", "/api/config/projects/ml",
                 "/api/config/env", "/api/config/ssh/profiles", "/api/store/problems"):  # fmt: skip
        answer = served.client.get(path)
        assert answer.status_code == 200 and "verysecret" not in answer.text, path
        assert "topsecret" not in answer.text, path
    refused = served.put({"notifications": {"slack_webhook_url": HOOK}, "resources": {"nodes": 0}}, 422)
    assert "verysecret" not in json.dumps(refused)
    found["environment"]["env_vars"] = {"HF_TOKEN": "another", "N": "8"}
    assert served.put(found)["environment"]["env_vars"]["HF_TOKEN"] == "***"
    assert "HF_TOKEN: another" in served.config.read_text()


@with_environment(
    SLACK_WEBHOOK_URL=HOOK, SRUNX_DEFAULT_PARTITION="gpu", SRUNX_SSH_PROFILE="other", SRUNX_WEB_TOKEN="verysecret",
    SRUNX_SSH_KEY="/home/me/.ssh/id", SRUNX_DEFAULT_CONTAINER="docker://me:verysecret@h/i", HOME="/root", XSRUNX_A="1",
)  # fmt: skip
def test_variables_that_are_set(served: ServedConfig) -> None:
    rows = served.client.get("/api/config/env").json()
    assert [(row["name"], row["value"]) for row in rows if row["name"] != "SRUNX_X"] == [
        ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/***"),
        ("SRUNX_DEFAULT_CONTAINER", "docker://me:***@h/i"),
        ("SRUNX_DEFAULT_PARTITION", "gpu"),
        ("SRUNX_SSH_KEY", "/home/me/.ssh/id"),
        ("SRUNX_SSH_PROFILE", "other"),
        ("SRUNX_WEB_TOKEN", "***"),
    ]
    assert {row["name"]: row["description"] for row in rows}["SRUNX_DEFAULT_PARTITION"] == "Default SLURM partition"
    assert served.get()["notifications"]["slack_webhook_url"] == "https://hooks.slack.com/services/***"


def test_paths(served: ServedConfig) -> None:
    rows = served.client.get("/api/config/paths").json()
    assert rows == [
        {"path": str(served.system), "exists": False, "source": "system"},
        {"path": str(served.config), "exists": True, "source": "user"},
        {"path": str(served.started_in / "srunx.json"), "exists": False, "source": "project"},
    ]


# --- projects --------------------------------------------------------------------------------------------------------


def test_projects(served: ServedConfig) -> None:
    path = served.project / "srunx.json"
    row = {"mount_name": "ml", "local_path": str(served.project), "config_path": str(path)}
    client = served.client
    more = {"remote_path": "/home/me/ml", "config_exists": False}
    assert client.get("/api/config/projects").json() == [{**row, **more}]
    assert client.get("/api/config/projects/ml").json() == {**row, "exists": False, "config": None}
    made = client.post("/api/config/projects/ml/init")
    assert made.status_code == 200 and made.json()["exists"]
    config = made.json()["config"]
    assert (config["resources"]["memory_per_node"], config["environment"]["conda"]) == ("32GB", "ml_env")
    assert config == add_defaults(json.loads(path.read_text()))
    assert client.request("PUT", "/api/config/projects/ml", json=config).json()["config"] == config
    assert config == add_defaults(json.loads(path.read_text())) and "sync" not in json.loads(path.read_text())
    again = client.post("/api/config/projects/ml/init")
    assert again.status_code == 409 and again.json() == {"detail": f"{path} already exists"}
    path.write_text('{"profiles": {"p": 1}, "resources": {"nodes": 3}}')
    saved = client.request("PUT", "/api/config/projects/ml", json={"resources": {"nodes": 4, "partition": None}})
    assert saved.status_code == 200 and saved.json()["config"] == add_defaults({"resources": {"nodes": 4}})
    assert json.loads(path.read_text()) == {"profiles": {"p": 1}, "resources": {"nodes": 4}}
    assert client.get("/api/config/projects").json()[0]["config_exists"]
    etag = client.get("/api/config/projects/ml").headers["etag"]
    path.write_text('{"log_dir": "by-hand"}')
    late = client.request("PUT", "/api/config/projects/ml", json={"log_dir": "x"}, headers={"If-Match": etag})
    assert late.status_code == 412 and "by-hand" in path.read_text()
    wrong = client.request("PUT", "/api/config/projects/ml", json={"resources": {"nodes": 0}})
    assert wrong.status_code == 422 and wrong.json()["detail"][0]["loc"] == ["resources", "nodes"]


def test_a_project_file_that_is_wrong_is_shown_as_that(served: ServedConfig) -> None:
    path = served.project / "srunx.json"
    path.write_text('{"resources": {"nodes": 2.5, "cpus_per_task": 2}}')
    found = served.client.get("/api/config/projects/ml").json()
    assert found["config"] == add_defaults({"resources": {"nodes": 2.5, "cpus_per_task": 2}}) and found["problems"]
    path.write_text("{")
    found = served.client.get("/api/config/projects/ml").json()
    assert found["exists"] and found["problems"][0]["line"] == 1
    refused = served.client.request("PUT", "/api/config/projects/ml", json={"log_dir": "x"})
    assert refused.status_code == 409 and path.read_text() == "{"
    path.unlink()
    path.symlink_to("/etc/passwd")
    found = served.client.get("/api/config/projects/ml").json()
    assert "root:" not in json.dumps(found) and found["problems"]
    assert served.client.get("/api/config?mount=ml").status_code == 200


def test_projects_without_a_profile_or_mount(served: ServedConfig) -> None:
    client = served.client
    for method, path in (("GET", ""), ("PUT", ""), ("POST", "/init")):
        more = {"json": {}} if method == "PUT" else {}
        answer = client.request(method, f"/api/config/projects/nope{path}", **more)
        assert answer.status_code == 404
        assert answer.json() == {"detail": "Mount 'nope' not found in profile 'dgx'"}
    assert client.get("/api/config?mount=nope").status_code == 404
    assert client.delete("/api/config/ssh/profiles/dgx").status_code == 200
    for method, path in (("GET", ""), ("PUT", ""), ("POST", "/init")):
        more = {"json": {}} if method == "PUT" else {}
        answer = client.request(method, f"/api/config/projects/ml{path}", **more)
        assert answer.status_code == 400
        assert answer.json() == {"detail": "No active SSH profile. Activate a profile first."}
    assert client.get("/api/config/projects").json() == []


def test_the_projects_file_counts_for_the_workflows_of_its_mount_only(served: ServedConfig) -> None:
    (served.project / "srunx.json").write_text(
        '{"resources": {"cpus_per_task": 3}, "environment": {"env_vars": {"FROM": "project"}}}'
    )
    text = "name: w\njobs:\n  - {name: a, command: 'echo $FROM'}\n"
    client = served.client
    for mount in ({}, {"mount": "ml"}):
        answer = client.post("/api/workflows/upload", {"yaml": text, "filename": "w.yaml", **mount})
        assert answer.status_code == 200, answer.text
    dry = [client.post(f"/api/workflows/w/run{query}", {"dry_run": True}).json() for query in ("", "?mount=ml")]
    scripts = [plan["jobs"][0]["script"] for plan in dry]
    assert ["FROM=" in script for script in scripts] == [False, True]
    assert "--cpus-per-task=3" in scripts[1] and "--cpus-per-task=3" not in scripts[0]
    assert all("--time=1-00:00:00" in script for script in scripts), "the user's layer counts for both"
    assert served.get(mount="ml")["resources"]["cpus_per_task"] == 3
    assert served.get()["resources"]["cpus_per_task"] == 1
    (served.project / "srunx.json").write_text('{"resources": {"cpus_per_task": "all"}}')
    script = client.post("/api/workflows/w/run?mount=ml", {"dry_run": True}).json()["jobs"][0]["script"]
    assert "--cpus-per-task=3" not in script, "a bad value is no value, and the run goes on"

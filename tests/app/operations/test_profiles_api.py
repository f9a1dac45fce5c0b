"""Profiles and mounts over HTTP: every documented answer, calls beside edits by hand, the environment's choice."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.operations.profile_calls import BOTH_WAYS, FILE, MOUNT, NEW, PROFILES, ServedProfiles
from tests.app_client import serving
from tests.waiting import eventually


@pytest.fixture
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ServedProfiles]:
    """A place that is served; `indirect` parameters are more of the server's environment."""
    place = ServedProfiles(tmp_path / "store")
    with serving(tmp_path / "store", "embedded", **getattr(request, "param", {})) as place.client:
        yield place


def with_environment(**environment: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("served", [environment], indirect=True)


def test_profiles_are_created_listed_changed_activated_and_deleted(served: ServedProfiles) -> None:
    body = {**NEW, "key_filename": "~/.ssh/id", "description": "", "ssh_host": None, "proxy_jump": "gate:2222"}
    made = served.call("POST", PROFILES, body)
    assert made.status_code == 200
    assert made.json() == {
        "hostname": "new.example.com", "username": "me", "key_filename": "~/.ssh/id", "port": 22, "description": None,
        "ssh_host": None, "proxy_jump": "gate:2222", "mounts": [], "env_vars": {},
    }  # fmt: skip
    assert stat.S_IMODE(served.path.stat().st_mode) == 0o600
    assert served.list_profiles()["current"] == "dgx" and list(served.list_profiles()["profiles"]) == [
        "dgx",
        "lab",
        "new",
    ]
    changes = {"port": 2222, "hostname": None, "key_filename": "", "env_vars": {"A": "1"}}
    changed = served.call("PUT", f"{PROFILES}/new", changes)
    assert changed.status_code == 200
    found = changed.json()
    assert (found["port"], found["hostname"], found["key_filename"]) == (2222, "new.example.com", None)
    assert served.list_profiles()["profiles"]["new"] == found
    assert served.call("POST", f"{PROFILES}/new/activate").json() == {"ok": True}
    assert served.list_profiles()["current"] == "new"
    assert served.call("POST", "/api/config/ssh/deactivate").json() == {"ok": True}
    assert served.list_profiles()["current"] is None
    assert served.call("POST", f"{PROFILES}/new/activate").json() == {"ok": True}
    assert served.call("DELETE", f"{PROFILES}/lab").json() == {"ok": True}
    assert served.list_profiles()["current"] == "new", "another one's end leaves the current one"
    assert served.call("DELETE", f"{PROFILES}/new").json() == {"ok": True}
    assert served.list_profiles()["current"] is None and list(served.list_profiles()["profiles"]) == ["dgx"]


def test_a_profile_without_a_host_is_not_made(served: ServedProfiles) -> None:
    served.path.write_text(
        "profiles:\n  gate: {ssh_host: gate}\n  empty: {description: nothing}\n  here: {mounts: []}\n"
    )
    eventually(lambda: "gate" in served.list_profiles()["profiles"])
    for method, path, body in [
        ("PUT", "gate", {"ssh_host": ""}), ("POST", "empty/activate", None), ("POST", "here/activate", None),
    ]:  # fmt: skip
        refused = served.call(method, f"{PROFILES}/{path}", body)
        assert refused.status_code == 422 and refused.json()["detail"][0]["loc"][-1] == "hostname", refused.text
        assert "hostname or ssh_host is missing" in refused.json()["detail"][0]["msg"]
    assert served.call("PUT", f"{PROFILES}/empty", {"description": "still"}).status_code == 200
    assert served.list_profiles()["current"] is None


def test_calls_leave_what_people_wrote(served: ServedProfiles) -> None:
    served.call("POST", PROFILES, NEW)
    served.call("PUT", f"{PROFILES}/dgx", {"hostname": "dgx2.example.com"})
    served.call("POST", f"{PROFILES}/dgx/mounts", MOUNT)
    text = FILE.replace("dgx.example.com", "dgx2.example.com").replace(
        "ml}\n", "ml}\n      - name: data\n        local: /srv/data\n        remote: /data\n"
    )
    text += "  new:\n    hostname: new.example.com\n    username: me\n    port: 22\n"
    assert served.path.read_text() == text
    served.call("DELETE", f"{PROFILES}/dgx/mounts/data")
    served.call("DELETE", f"{PROFILES}/new")
    assert served.path.read_text() == FILE.replace("dgx.example.com", "dgx2.example.com")
    served.call("DELETE", f"{PROFILES}/dgx")
    assert served.path.read_text() == (
        "# clusters of the group\n\nprofiles:\n  # the big one\n\n  # a small one\n"
        "  lab: {hostname: lab.example.com, username: me}\n"
    )


@pytest.mark.parametrize(("why", "path", "deleted"), BOTH_WAYS, ids=[row[0] for row in BOTH_WAYS])
def test_mounts_both_ways(served: ServedProfiles, why: str, path: str, deleted: Any) -> None:
    made = served.call("POST", path, {**MOUNT, "exclude_patterns": ["*.ckpt"]})
    assert made.status_code == 200 and made.json() == {**MOUNT, "exclude_patterns": ["*.ckpt"]}
    home = {"name": "ml-project", "local": str(Path("~/ml").expanduser()), "remote": "/home/researcher/ml"}
    assert served.client.get("/api/files/mounts/config").json() == [{**home, "exclude_patterns": []}, made.json()]
    assert served.client.get("/api/files/mounts").json() == [
        {"name": "ml-project", "remote": "/home/researcher/ml"}, {"name": "data", "remote": "/data"},
    ]  # fmt: skip
    assert served.list_profiles()["profiles"]["dgx"]["mounts"] == served.client.get("/api/files/mounts/config").json()
    again = served.call("POST", path, MOUNT)
    assert again.status_code == 409 and again.json() == {"detail": "Mount 'data' already exists"}
    same = served.call("POST", path, {**MOUNT, "name": "other", "local": "/srv/data/"})
    assert same.status_code == 409 and "already has the folder" in same.json()["detail"]
    same = served.call("POST", path, {"name": "other", "local": home["local"], "remote": "/r"})
    assert same.status_code == 409, "~ is the same folder"
    assert served.call("DELETE", f"{path}/data").json() == deleted
    gone = served.call("DELETE", f"{path}/data")
    assert gone.status_code == 404 and gone.json() == {"detail": "Mount 'data' not found"}


def test_without_a_current_profile(served: ServedProfiles) -> None:
    served.call("DELETE", f"{PROFILES}/dgx")
    assert served.client.get("/api/files/mounts").json() == []
    assert served.client.get("/api/files/mounts/config").json() == []
    for method, path, body in (("POST", "/api/files/mounts", MOUNT), ("DELETE", "/api/files/mounts/m", None)):
        answer = served.call(method, path, body)
        assert answer.status_code == 503 and answer.json() == {"detail": "No SSH profile configured"}
    assert served.call("POST", f"{PROFILES}/lab/mounts", MOUNT).status_code == 200, "a named one needs no current one"


def test_without_a_file(served: ServedProfiles) -> None:
    served.path.unlink()
    eventually(lambda: served.list_profiles() == {"current": None, "profiles": {}})
    assert served.call("POST", PROFILES, NEW).status_code == 200
    assert list(served.list_profiles()["profiles"]) == ["new"] and stat.S_IMODE(served.path.stat().st_mode) == 0o600


def test_hand_edits_beside_calls(served: ServedProfiles) -> None:
    etag = served.client.get(PROFILES).headers["etag"]
    assert served.client.get(PROFILES, headers={"If-None-Match": etag}).status_code == 304
    by_hand = FILE.replace("# a small one", "# a small one, to be repaired")
    served.path.write_text(by_hand)
    calls = [
        ("POST", PROFILES, NEW), ("PUT", f"{PROFILES}/lab", {"port": 23}), ("DELETE", f"{PROFILES}/lab", None),
        ("POST", f"{PROFILES}/lab/activate", None), ("POST", "/api/config/ssh/deactivate", None),
        ("POST", f"{PROFILES}/lab/mounts", MOUNT),
        ("DELETE", f"{PROFILES}/dgx/mounts/ml-project", None), ("POST", "/api/files/mounts", MOUNT),
        ("DELETE", "/api/files/mounts/ml-project", None),
    ]  # fmt: skip
    for method, path, body in calls:
        assert served.call(method, path, body, headers={"If-Match": etag}).status_code == 412, (method, path)
    assert served.path.read_text() == by_hand
    assert served.call("PUT", f"{PROFILES}/lab", {"username": "you"}).status_code == 200
    assert served.path.read_text() == by_hand.replace("username: me", "username: you")
    etag = served.client.get(PROFILES).headers["etag"]
    assert served.call("PUT", f"{PROFILES}/lab", {"port": 23}, headers={"If-Match": etag}).status_code == 200


def test_a_file_that_breaks_stays_in_force_and_is_not_written_over(served: ServedProfiles) -> None:
    served.path.write_text(FILE.replace("port: 22", "") + "  bad: {port: abc}\n")
    eventually(lambda: served.client.get("/api/store/problems").json())
    assert list(served.list_profiles()["profiles"]) == ["dgx", "lab"]
    assert served.client.get("/api/files/mounts").json()[0]["name"] == "ml-project"
    answer = served.call("POST", f"{PROFILES}/lab/activate")
    assert answer.status_code == 409 and "cannot be read" in answer.json()["detail"]
    assert "bad: {port: abc}" in served.path.read_text()


def test_secrets_of_a_profile(served: ServedProfiles) -> None:
    variables = served.list_profiles()["profiles"]["dgx"]["env_vars"]
    assert variables == {"HF_TOKEN": "***", "NCCL_DEBUG": "INFO"}
    answer = served.call("PUT", f"{PROFILES}/dgx", {"env_vars": {**variables, "MORE": "1"}})
    assert answer.json()["env_vars"] == {**variables, "MORE": "1"}
    assert "hf_verysecret" in served.path.read_text() and "MORE" in served.path.read_text()
    answer = served.call("PUT", f"{PROFILES}/dgx", {"env_vars": {"MORE": "1"}})
    assert answer.json()["env_vars"] == {"MORE": "1"} and "verysecret" not in served.path.read_text()
    assert served.call("PUT", f"{PROFILES}/dgx", {"env_vars": {"HF_TOKEN": "***"}}).status_code == 422


@with_environment(SRUNX_SSH_PROFILE="lab")
def test_the_environment_selects(served: ServedProfiles) -> None:
    assert served.list_profiles()["current"] == "lab" and served.client.get("/api/files/mounts").json() == []
    assert served.call("POST", "/api/files/mounts", MOUNT).status_code == 200
    assert [mount["name"] for mount in served.list_profiles()["profiles"]["lab"]["mounts"]] == ["data"]
    assert served.client.get("/api/config/projects").json()[0]["mount_name"] == "data"
    assert served.call("POST", f"{PROFILES}/dgx/activate").json() == {"ok": True}
    assert served.list_profiles()["current"] == "lab", "as long as this server runs"
    served.call("DELETE", f"{PROFILES}/lab")
    assert served.list_profiles()["current"] is None, "no other cluster in its place"
    problems = served.client.get("/api/store/problems").json()
    assert [problem["path"] for problem in problems] == ["environment"] and "SRUNX_SSH_PROFILE" in problems[0]["reason"]


@with_environment(SRUNX_SSH_HOSTNAME="h.example.com", SRUNX_SSH_USERNAME="me", SRUNX_SSH_PORT="2222")
def test_the_environment_names_a_host(served: ServedProfiles) -> None:
    found = served.list_profiles()
    assert found["current"] == "me@h.example.com" and list(found["profiles"]) == ["dgx", "lab"]
    assert served.client.get("/api/files/mounts").json() == []
    assert served.call("POST", "/api/files/mounts", MOUNT).status_code == 503, "it has no place in the file"
    active = served.client.server.store.profiles.active_profile
    assert (active.hostname, active.port) == ("h.example.com", 2222)

"""Simulations that are refused: each wrong thing with its status and its words, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.app.operations.yaptide.calls import BEAM, DUMMY, OWNER, find, make_body, submit
from tests.app_client import Client
from tests.waiting import eventually

LIMITS = 'yaptide: {max_tasks: 20, max_open: 3, direct_time: "1:30:00", input_bytes: 20000}\n'
MANY = {f"f{number}": "" for number in range(1000)}


@pytest.fixture(scope="module", autouse=True)
def limits(client: Client) -> Iterator[None]:
    """A server with small limits, where SHIELD-HIT12A is not installed."""
    config = client.store / "config.yaml"
    config.write_text(config.read_text() + LIMITS)
    (client.store / "simulators" / "twice.yaml").write_text("title: [\n")
    eventually(lambda: client.server.store.config.yaptide.max_tasks == 20, 10, "the limits count")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/usr/bin:/bin")
        yield


def count_files(client: Client) -> int:
    """Count documents and folders of simulations."""
    return len([path for path in (client.store / "simulations").iterdir() if path.name[0] != "."])


WRONG: list[tuple[str, dict[str, Any], str]] = [
    # the document: missing required fields, invalid sim_type
    ("no simulator", {"sim_type": ...}, "Missing keys in JSON payload: sim_type"),
    ("no number of tasks", {"ntasks": ...}, "Missing keys in JSON payload: ntasks"),
    ("no kind of input", {"input_type": ...}, "Missing keys in JSON payload: input_type"),
    ("two are missing", {"input_type": ..., "ntasks": ...}, "Missing keys in JSON payload: ntasks, input_type"),
    ("an unknown simulator", {"sim_type": "dumy"}, "&#x27;dumy&#x27;; did you mean &#x27;dummy&#x27;?"),
    ("nothing near", {"sim_type": "mcnp"}, "known are dummy, fluka, geant4, shieldhit, topas"),
    ("a simulator whose file is wrong", {"sim_type": "twice"}, "its file is wrong: simulators/twice.yaml, line "),
    ("a path", {"sim_type": "../dummy"}, "there is no simulator &#x27;../dummy&#x27;"),
    ("a tag", {"sim_type": "<b>"}, "there is no simulator &#x27;&lt;b&gt;&#x27;"),
    ("no text", {"sim_type": 1}, "sim_type: Input should be a string, not 1"),
    # ntasks
    ("a text", {"ntasks": "3"}, "ntasks: Input should be an integer, not &quot;3&quot;"),
    ("a fraction", {"ntasks": 2.5}, "ntasks: Input should be an integer"),
    ("a boolean", {"ntasks": True}, "ntasks: Input should be an integer"),
    ("nothing", {"ntasks": None}, "ntasks: Input should be an integer"),
    ("too many", {"ntasks": 21}, "ntasks: a simulation has at most 20 tasks"),
    ("far too many", {"ntasks": 10**30}, "ntasks: "),
    ("too many of an unknown number", {"ntasks": 21, "input_files": {"dummy.json": "{}"}}, "at most 20 tasks"),
    # the input
    ("another kind", {"input_type": "file"}, "did you mean &#x27;files&#x27;?"),
    ("no files", {"input_files": ...}, "input_type is files, so input_files (or sim_data) is needed"),
    ("empty files", {"input_files": {}}, "input_type is files, so input_files (or sim_data) is needed"),
    ("a project instead", {"input_files": ..., "input_json": {"beam": {}}}, "so input_files (or sim_data) is needed"),
    ("files instead", {"input_type": "editor"}, "input_type is editor, so input_json (or sim_data) is needed"),
    ("no object", {"input_files": ["a"]}, "input_files: Input should be an object"),
    ("no text in a file", {"input_files": {"dummy.json": {"primaries": 1}}}, "dummy.json: Input should be a string"),
    ("the same in sim_data", {"input_files": ..., "sim_data": {"dummy.json": 1}}, "the content of a file is a text"),
    ("too many files", {"input_files": DUMMY | MANY}, "input_files: "),
    ("of another simulator", {"input_files": {"beam.dat": BEAM}}, "dummy needs a file dummy.json"),
    ("which one", {"input_files": {"beam.dat": BEAM}}, "these files look like input for shieldhit"),
    ("no number", {"input_files": {"dummy.json": '"primaries": 0'}}, "is no number of primaries"),
    ("two numbers", {"input_files": {"dummy.json": '"primaries": 1\n"primaries": 2'}}, "both say how many primaries"),
    # names of files
    ("a path", {"input_files": {**DUMMY, "../x": ""}}, "no name that a file of an input may have"),
    ("an absolute path", {"input_files": {**DUMMY, "/etc/passwd": ""}}, "no name that a file of an input may have"),
    ("a folder", {"input_files": {**DUMMY, "..": ""}}, "no name that a file of an input may have"),
    ("an option", {"input_files": {**DUMMY, "-rf": ""}}, "no name that a file of an input may have"),
    ("two lines", {"input_files": {**DUMMY, "a\nb": ""}}, "no name that a file of an input may have"),
    ("a log of ours", {"input_files": {**DUMMY, "output.log": ""}}, "no name that a file of an input may have"),
    ("no name", {"input_files": {**DUMMY, "": ""}}, "file names have 1 to 200 bytes"),
    ("a long name", {"input_files": {**DUMMY, "ä" * 101: ""}}, "file names have 1 to 200 bytes"),
    ("a zero byte", {"input_files": {"dummy.json": "a\0b"}}, "input_files.dummy.json: "),
    # all else
    ("an unknown field", {"ntask": 3}, "unknown field &#x27;ntask&#x27;; did you mean &#x27;ntasks&#x27;?"),
    ("a title of two lines", {"title": "a\nb"}, "title: "),
    ("a long title", {"title": "x" * 501}, "title: "),
    ("options that are none", {"batch_options": "x"}, "batch_options: Input should be an object"),
    ("an unknown option", {"batch_options": {"cluster": "x"}}, "did you mean &#x27;cluster_name&#x27;?"),
    ("a missing program", {"sim_type": "shieldhit", "input_files": {"beam.dat": BEAM}},
     "the program shieldhit of simulator shieldhit was not found: install it, or correct `command` in "
     "simulators/shieldhit.yaml"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "changes", "said"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_wrong_with_a_simulation(client: Client, why: str, changes: dict[str, Any], said: str) -> None:
    before = count_files(client)
    answer = submit(client, **changes)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["message"] and set(answer.json()) == {"message"}
    assert count_files(client) == before, "nothing is written"


OPTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("an unknown cluster", {"cluster_name": "embeded"}, "there is no cluster &#x27;embeded&#x27;"),
    ("an unknown profile", {"cluster_name": "ssh:nowhere"}, "there is no cluster &#x27;ssh:nowhere&#x27;"),
    ("no name of a cluster", {"cluster_name": "a; rm -rf ~"}, "there is no cluster &#x27;a; rm -rf ~&#x27;"),
    ("a number", {"cluster_name": 3}, "batch_options.cluster_name: Input should be a string"),
    ("a near option", {"slurm_options": {"partion": "x"}}, "did you mean &#x27;partition&#x27;?"),
    ("a command", {"slurm_options": {"wrap": "id"}}, "slurm_options.wrap: the option --wrap of sbatch"),
    ("the same with hyphens", {"array_options": {"--wrap": "id"}}, "the option --wrap of sbatch cannot be chosen"),
    ("another user", {"collect_options": {"uid": 0}}, "the option --uid of sbatch cannot be chosen"),
    ("a file", {"array_options": {"output": "/etc/x"}}, "the option --output of sbatch cannot be chosen"),
    ("a short one", {"array_options": {"-o": "/etc/x"}}, "the option --output of sbatch cannot be chosen"),
    ("ours", {"array_options": {"array": "1-9"}}, "the option --array of sbatch cannot be chosen"),
    ("a command behind a value", {"array_options": {"time": "1\nrm -rf ~"}}, "the value is one line"),
    ("a command in a name", {"array_options": {"time; id": "1"}}, "sbatch has no option &#x27;time; id&#x27;"),
    ("a list", {"array_options": {"time": [1]}}, "batch_options.array_options.time: Input should be"),
    ("a command in a header", {"array_header": "#SBATCH --time=1\nrm -rf ~"}, "line 2 is neither #SBATCH nor"),
    ("one behind a module", {"array_header": "module load x; id"}, "line 1 is neither #SBATCH nor"),
    ("a substitution", {"collect_header": "module load $(id)"}, "line 1 is neither #SBATCH nor"),
    ("a quote that stays open", {"array_header": "#SBATCH --comment='a"}, "line 1: "),
    ("a command as an option", {"array_header": "#SBATCH --wrap=id"}, "the option --wrap of sbatch cannot be chosen"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "options", "said"), OPTIONS, ids=[row[0] for row in OPTIONS])
def test_what_is_wrong_with_batch_options(client: Client, why: str, options: dict[str, Any], said: str) -> None:
    before = count_files(client)
    answer = submit(client, "batch", batch_options=options)
    assert answer.status_code == 400 and said in answer.json()["message"], answer.text
    assert count_files(client) == before


HOSTILE = ["a; touch /tmp/x", "$(id)", "`id`", "a' --uid=0 '", 'a" --wrap="id', "a --wrap=id", "ü 水", "-x", "a\\b"]


@pytest.mark.parametrize("value", HOSTILE)
def test_values_are_kept_as_they_are_and_run_nothing(client: Client, value: str) -> None:
    answer = submit(client, "batch", batch_options={"slurm_options": {"comment": value}})
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["job_id"]
    found = client.server.store.simulations.get(job_id)
    assert found.options.array["comment"] == value
    client.delete(f"/jobs/batch?job_id={job_id}")
    eventually(lambda: client.server.store.simulations.get(job_id).settled_at is not None, 60, "it is over")


BODIES: list[tuple[str, bytes, int, str]] = [
    ("none", b"", 400, "No JSON in body"),
    ("an empty object", b"{}", 400, "Missing keys in JSON payload: sim_type, ntasks, input_type"),
    ("half of one", b'{"sim_type":', 400, "Wrong JSON in body: "),
    ("an array", b"[]", 400, "Wrong JSON in body: Input should be an object"),
    ("a number", b"3", 400, "Wrong JSON in body: Input should be an object"),
    ("another encoding", json.dumps(make_body()).encode("utf-16"), 415, "The body must be UTF-8, not UTF-16"),
    ("a byte that UTF-8 has not", b'{"sim_type": "\xff"}', 415, "The body must be UTF-8"),
    ("a key twice", b'{"sim_type": "dummy", "sim_type": "dummy"}', 400, "sim_type"),
    ("too large", json.dumps(make_body(input_files={"dummy.json": "x" * 20_000})).encode(), 413, "larger than 20000"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "content", "status", "said"), BODIES, ids=[row[0] for row in BODIES])
def test_bodies_that_are_refused(client: Client, why: str, content: bytes, status: int, said: str) -> None:
    for platform in ("direct", "batch"):
        answer = client.post(f"/jobs/{platform}", content=content)
        assert answer.status_code == status and said in answer.json()["message"], answer.text


def test_only_so_many_may_be_open(client: Client) -> None:
    profile = {"name": "far", "hostname": "127.0.0.1", "username": "nobody", "port": 1, "key_filename": "/none"}
    assert client.post("/api/config/ssh/profiles", profile).status_code == 200
    body = make_body(batch_options={"cluster_name": "far"})
    made = [client.post("/jobs/batch", body, token="admin").json()["job_id"] for _ in range(3)]
    before = count_files(client)
    for path, more in (("batch", body), ("direct", make_body())):
        answer = client.post(f"/jobs/{path}", more, token="admin")
        assert answer.status_code == 429 and "3 of your simulations have not ended" in answer.json()["message"]
        assert answer.headers["retry-after"] and count_files(client) == before
    answers = client.together([lambda: client.post("/jobs/batch", body)] * 8)
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 5, "others have their own"
    others = [answer.json()["job_id"] for answer in answers if answer.status_code == 202]
    for job_id in (*made, *others):
        assert client.delete(f"/jobs/batch?job_id={job_id}", token="admin").status_code == 200
    open_ones = client.server.simulation_index.count_open
    eventually(lambda: not open_ones("token:admin") and not open_ones(OWNER), 30, "they are over")
    assert client.post("/jobs/direct", make_body(), token="admin").status_code == 202


def test_a_task_on_this_machine_has_its_limit(client: Client) -> None:
    job_id = client.post("/jobs/direct", make_body(), token="admin").json()["job_id"]
    assert find(client, job_id).options.array == {"time": "1:30:00"}
    client.delete(f"/jobs/direct?job_id={job_id}", token="admin")


@pytest.mark.parametrize(
    ("why", "token", "status", "said"),
    [
        ("nobody", None, 401, "No token provided"),
        ("may only look", "read", 403, "This needs the scope write"),
        ("may only report", "report", 403, "This needs the scope write"),
        ("expired", "expired", 401, ""),
    ],
)
def test_who_may_submit(client: Client, why: str, token: str | None, status: int, said: str) -> None:
    for platform in ("direct", "batch"):
        answer = client.post(f"/jobs/{platform}", make_body(), token=token)
        assert answer.status_code == status and said in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/jobs/direct", 405),
        ("PATCH", "/jobs", 405),
        ("POST", "/user/simulations", 405),
        ("GET", "/jobs/other", 404),
        ("GET", "/results/1", 404),
        ("GET", "/user", 404),
    ],
)
def test_other_paths_are_refused_in_the_same_shape(client: Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status and set(answer.json()) == {"message"}

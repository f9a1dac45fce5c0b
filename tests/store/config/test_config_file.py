"""config.yaml: what it means, what is refused, what is shown of it, and edits that keep its comments."""

from __future__ import annotations

import re
from typing import Any

import pytest

from store.config import config_file
from store.documents import Config, from_yaml
from store.errors import Invalid
from store.store import EXAMPLES


def test_the_example_settings_are_settings_when_uncommented() -> None:
    text = (EXAMPLES / "config.yaml").read_text()
    assert config_file.parse_config(text.encode()) == Config()
    # A line that is a key, or goes on below one, is a setting; sentences are not.
    lines = re.findall(r"^# ((?: |\w+:(?: |$)).*)$", text, re.MULTILINE)
    config = from_yaml(Config, "\n".join(lines).encode())
    assert {name for name in Config.model_fields if name != "version"} == config.model_fields_set
    defaults = Config()
    assert (config.poll, config.limits, config.log_dir) == (defaults.poll, defaults.limits, defaults.log_dir)


SETTINGS = [
    ("a time as a number is minutes", b"resources: {time_limit: 90}", ("resources", "time_limit"), "90"),
    ("a clock time", b"resources: {time_limit: 1-12:00:00}", ("resources", "time_limit"), "1-12:00:00"),
    ("memory", b"resources: {memory_per_node: 32GB}", ("resources", "memory_per_node"), "32GB"),
    ("an image alone", b"environment: {container: ubuntu}", ("environment", "container", "image"), "ubuntu"),
    ("a number as a variable's value", b"environment: {env_vars: {N: 8}}", ("environment", "env_vars"), {"N": "8"}),
]


@pytest.mark.parametrize(("why", "data", "path", "value"), SETTINGS, ids=[row[0] for row in SETTINGS])
def test_settings(why: str, data: bytes, path: tuple[str, ...], value: Any) -> None:
    found: Any = config_file.parse_config(data).model_dump()
    for part in path:
        found = found[part]
    assert found == value


REFUSED = [
    ("a second line in a partition", b'resources: {partition: "a\\nb"}', "partition"),
    ("an option as a partition", b"resources: {partition: --x}", "partition"),
    ("a time that is none", b"resources: {time_limit: soon}", "time_limit"),
    ("conda and venv", b"environment: {conda: a, venv: b}", "Only one of conda or venv"),
    ("a variable of SLURM", b"environment: {env_vars: {SLURM_JOB_ID: x}}", "SLURM_JOB_ID"),
    ("a variable that is a command", b"environment: {env_vars: {'a;b': x}}", "a;b"),
    ("bounds the wrong way round", b"poll: {min_s: 9, max_s: 3}", "min_s must not be above"),
    ("text for a number", b"resources: {nodes: two}", "integer"),
    ("yes for true", b"cluster: {execute: yes}", "boolean"),
    ("a list for a mapping", b"resources: []", "a mapping of keys"),
    (
        "a slash behind an origin",
        b'yaptide: {origins: ["http://localhost:3000/"]}',
        "an origin such as http://localhost",
    ),
    ("an origin without its scheme", b'yaptide: {origins: ["localhost:3000"]}', "must be an origin such as"),
    ("every origin", b'yaptide: {origins: ["*"]}', "must be an origin such as"),
    ("an origin and more", b'yaptide: {origins: ["http://a\\n"]}', "must be an origin such as"),
    ("a report URL without its scheme", b'yaptide: {report_url: "login1:8000"}', "must be a URL such as http://login1"),
    ("Keycloak without TLS", b"yaptide: {keycloak: {base_url: 'http://sso', realm: a, client_id: b}}", "only on this"),
    ("a list for the whole", b"- 1", "a mapping of keys"),
]


@pytest.mark.parametrize(("why", "data", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_settings_that_are_refused(why: str, data: bytes, message: str) -> None:
    with pytest.raises(Invalid, match=re.escape(message)):
        config_file.parse_config(data)


def test_a_changed_config_keeps_its_comments_or_is_refused() -> None:
    source = b"# mine\nlog_dir: logs  # here\n"
    assert config_file.edit_config(source, {"log_dir": "outs"}) == b"# mine\nlog_dir: outs  # here\n"
    with pytest.raises(Invalid, match="did you mean 'log_dir'"):
        config_file.edit_config(source, {"log_dirs": "x"})

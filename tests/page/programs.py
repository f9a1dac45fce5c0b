"""Programs that tests of the page need beside Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.app_server import free_port
from tests.waiting import eventually

NGINX = """
daemon off; pid {folder}/pid; error_log stderr; {user}
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $remote_addr;
  server {{
    listen 127.0.0.1:{port};
{locations}
  }}
}}
"""


def find_program(*names: str) -> str:
    """Return the path of the first that is here; without one CI fails, and others skip the test."""
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        assert os.environ.get("CI") != "true", f"{names[0]} is missing"
        pytest.skip(f"{names[0]} is not installed")
    return found


@contextmanager
def serving_nginx(folder: Path, locations: str, prefix: str) -> Iterator[str]:
    """Run nginx with these locations, one of which shows a server below the prefix; give its address."""
    program, port = find_program("nginx"), free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, user=user, locations=locations))
    nginx = subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: httpx.get(f"{url}{prefix}health").status_code == 200, 20)
        yield url
    finally:
        nginx.terminate()
        nginx.wait(20)

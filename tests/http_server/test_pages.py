"""The pages beside the operations: their files, versions, policies, and where they may be framed."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import httpx
import pytest

from http_server.pages import make_own_page
from tests import ROOT
from tests.app_client import Client
from tests.waiting import eventually

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def get(client: Client, path: str = "/", **headers: str) -> httpx.Response:
    """The answer to a browser that nobody knows."""
    return client.get(path, token=None, judged=False, headers={**HTML, **headers})


def test_browsers_get_the_page_and_programs_where_to_begin(client: Client) -> None:
    page = get(client)
    assert page.headers["content-type"].startswith("text/html") and page.headers["cache-control"] == "no-store"
    assert client.get("/", token=None).json()["openapi"] == "openapi.json"
    assert client.request("HEAD", "/", token=None, headers=HTML, judged=False).content == b""


def test_every_file_that_the_page_names_is_there(client: Client) -> None:
    text = get(client).text
    named = [name for name in re.findall(r'(?:href|src)="([^"]+)"', text) if name != "docs"]
    assert named and all(not name.startswith(("/", "http", "//")) for name in named), "relative, so below any prefix"
    (version,) = {name.split("/")[1] for name in named}
    for name in named:
        answer = get(client, f"/{name}")
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"], name
        assert answer.headers["content-type"].startswith(("text/javascript", "text/css", "image/svg+xml"))
    assert get(client, f"/ui/{version[:-1]}x/app.js").status_code == 401, "another version, which nobody may ask for"
    assert re.fullmatch("[0-9a-f]{12}", version)


def test_what_a_file_holds_is_sent_whole_or_gzipped(client: Client) -> None:
    pages = make_own_page(ROOT / "web")
    name = next(path for path in pages if path.endswith("/app.js"))
    whole, packed = get(client, name, **{"accept-encoding": "identity"}), get(client, name)
    assert whole.content == packed.content == (ROOT / "web" / "ui" / "app.js").read_bytes()
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in whole.headers
    assert packed.headers["vary"] == "accept-encoding"
    assert gzip.decompress(pages[name].gzipped) == whole.content  # type: ignore[attr-defined]


def test_the_version_changes_with_any_file(tmp_path: Path) -> None:
    (tmp_path / "ui" / "core").mkdir(parents=True)
    (tmp_path / "index.html").write_text('{preloads}<script src="{root}/app.js">')
    (tmp_path / "ui" / "app.js").write_text("1")
    (tmp_path / "ui" / "core" / "a.js").write_text("2")
    before = make_own_page(tmp_path)
    assert [path.split("/", 3)[-1] for path in before] == ["", "app.js", "core/a.js"]
    assert b'rel="modulepreload" href="ui/' in before["/"].asset.data  # type: ignore[attr-defined]
    (tmp_path / "ui" / "core" / "a.js").write_text("3")
    assert not set(make_own_page(tmp_path)) & set(before) - {"/"}


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc"])
def test_who_may_frame_a_page(client: Client, path: str) -> None:
    answer = get(client, path)
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    file = client.store / "access.yaml"
    before = file.read_text()
    file.write_text(before + 'frame_ancestors: ["https://ondemand.example.org"]\n')
    try:
        eventually(lambda: client.server.store.access.frame_ancestors)
        answer = get(client, path)
        policy = answer.headers["content-security-policy"]
        assert policy.endswith("frame-ancestors 'self' https://ondemand.example.org")
        assert "x-frame-options" not in answer.headers
    finally:
        file.write_text(before)
        eventually(lambda: not client.server.store.access.frame_ancestors)


def test_the_page_may_load_nothing_from_elsewhere(client: Client) -> None:
    policy = get(client).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ") and "unsafe" not in policy
    assert "http" not in policy and "*" not in policy


def test_behind_a_prefix_without_its_slash_the_browser_is_sent_to_the_folder(client: Client) -> None:
    host = [(b"host", b"localhost"), (b"accept", b"text/html")]
    sent = client.bare("GET", "/node/one/8000", host, root_path="/node/one/8000")
    assert (sent.status_code, sent.headers["location"]) == (307, "8000/")
    assert client.bare("GET", "/node/one/8000/", host, root_path="/node/one/8000").status_code == 200


def test_a_link_from_another_site_opens_the_page(client: Client) -> None:
    opened = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert get(client, **opened).status_code == 200
    assert get(client, **{"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}).status_code == 403

"""Files of mounts: folders, texts, images, downloads, and copying to the cluster with its progress."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app_server import Server
from tests.page.looks import check_looks, pick_theme

pytestmark = pytest.mark.browser
EVIL = "<img src=x onerror=alert(1)> & \"quoted\" 'name' #1?.txt"
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
# Tells of some progress, and waits until it may go on.
RSYNC = """\
#!/bin/sh
case "$*" in *--dry-run*) exit 0;; esac
printf '\\r  500  42%%  2.00kB/s  0:00:09 (xfr#1, to-chk=6/10)  '
while [ ! -e {top}/go ]; do printf '\\r'; sleep 0.05; done
"""


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of everything: a mount with files of all kinds, and a stand-in for rsync."""
    made = tmp_path_factory.mktemp("files")
    folder = made / "ml"
    (folder / "src" / "deep <b>").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "many").mkdir()
    for number in range(9999):
        (folder / "many" / f"file {number:04}").touch()
    (folder / "src" / "train.py").write_text("print('trained')\n")
    (folder / EVIL).write_text("harmless")
    (folder / "new\nline").write_text("two lines")
    (folder / "dot.png").write_bytes(base64.b64decode(DOT))
    (folder / "binary").write_bytes(b"\x7fELF\0")
    (folder / "large.txt").write_bytes(b"".join(b"line %07d\n" % number for number in range(100_000)))
    (folder / "away").symlink_to("/etc")
    (made / "bin").mkdir()
    (made / "bin" / "rsync").write_text(RSYNC.format(top=made))
    (made / "bin" / "rsync").chmod(0o755)
    return made


@pytest.fixture(scope="module")
def site(top: Path) -> Iterator[Server]:
    """A server whose current profile has a cluster far away and one mount."""
    (top / "store").mkdir(mode=0o700)
    mounts = f"[{{name: ml, local: '{top}/ml', remote: /home/me/ml}}]"
    (top / "store" / "profiles.yaml").write_text(
        f"current: far\nprofiles: {{far: {{hostname: far.example, mounts: {mounts}}}}}\n"
    )
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{top / 'bin'}:{path}"
    made = Server(top / "store", "embedded")
    try:
        yield made.start()
    finally:
        os.environ["PATH"] = path
        made.close()


def test_from_the_mounts_down_to_a_file(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/files")
    tab.get_by_role("link", name="ml").click()
    tab.get_by_role("link", name="src/").click()
    tab.get_by_role("link", name="train.py").click()
    tab.get_by_role("region", name="Text of train.py").get_by_text("print('trained')").wait_for()
    assert "path=src" in tab.url and "file=train.py" in tab.url
    tab.reload()
    tab.get_by_text("print('trained')").wait_for()
    tab.get_by_role("link", name="ml", exact=True).click()
    tab.get_by_role("link", name="dot.png").wait_for()


def test_hostile_names_are_text(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/files/ml")
    tab.get_by_role("link", name=EVIL).click()
    tab.get_by_role("heading", name=EVIL).wait_for()
    tab.get_by_text("harmless").wait_for()
    tab.get_by_role("button", name="Close").click()
    tab.get_by_role("link", name="new line").click()
    tab.get_by_text("two lines").wait_for()
    assert tab.locator("img").count() == 0


def test_images_and_what_is_no_text(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/files/ml")
    tab.get_by_role("link", name="dot.png").click()
    image = tab.get_by_role("img", name="dot.png")
    image.wait_for()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
    tab.get_by_role("link", name="binary").click()
    tab.get_by_text("This file is not text").wait_for()
    with tab.expect_download() as downloading:
        tab.get_by_role("link", name="Download").click()
    assert Path(downloading.value.path()).read_bytes() == b"\x7fELF\0"
    assert downloading.value.suggested_filename == "binary"


def test_a_large_file_is_shown_by_windows(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/files/ml?file=large.txt")
    text = tab.get_by_role("region", name="Text of large.txt")
    text.get_by_text("line 0000000").wait_for()
    tab.get_by_role("button", name="Last part").click()
    text.get_by_text("line 0099999").wait_for()
    assert len(text.inner_text()) <= 131_072
    assert tab.get_by_role("button", name="Next").is_disabled()


def test_ten_thousand_names(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/files/ml?path=many")
    tab.get_by_text("9,999 entries").wait_for()
    assert tab.locator(".tbody .tr").count() < 200
    tab.get_by_label("Names").fill("0042")
    tab.get_by_text("1 of 9,999 entries").wait_for()
    tab.get_by_role("link", name="file 0042").wait_for()
    tab.get_by_label("Names").fill("no such name")
    tab.get_by_role("button", name="Clear the filter").click()
    tab.get_by_text("9,999 entries").wait_for()


def test_empty_and_refused(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/files/ml?path=empty")
    tab.get_by_text("This folder is empty").wait_for()
    tab.goto("/#/files/ml?path=nope")
    tab.get_by_text("could not be loaded").wait_for()
    tab.get_by_role("button", name="Try again").wait_for()
    tab.troubles.expect("404")
    tab.goto("/#/files/ml")
    tab.get_by_text("link out of the mount: not followed").wait_for()
    assert tab.get_by_role("link", name="away").count() == 0


def test_a_copy_is_watched_kept_over_a_reload_and_cancelled(top: Path, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/files/ml")
    tab.get_by_role("button", name="Copy to the cluster…").click()
    tab.get_by_role("button", name="What would change?").click()
    tab.get_by_text("0 new, 0 changed, 0 to be deleted").wait_for()
    tab.get_by_role("button", name="Copy", exact=True).click()
    tab.get_by_text("42 %, 4 of 10 files").wait_for()
    tab.reload()
    tab.get_by_text("42 %, 4 of 10 files").wait_for()
    tab.get_by_role("button", name="Cancel the copy").click()
    tab.get_by_role("button", name="Keep").wait_for()
    tab.get_by_role("button", name="Cancel the copy").click()
    tab.get_by_text("cancelled", exact=True).wait_for()
    (top / "go").touch()
    tab.get_by_role("button", name="Copy to the cluster…").click()
    tab.get_by_role("button", name="Copy", exact=True).click()
    tab.get_by_text("synced").wait_for()


def test_keys_alone(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/files/ml")
    link = tab.get_by_role("link", name="src/")
    link.wait_for()
    link.focus()
    tab.keyboard.press("Enter")
    file = tab.get_by_role("link", name="train.py")
    file.wait_for()
    file.focus()
    tab.keyboard.press("Enter")
    tab.get_by_text("print('trained')").wait_for()
    tab.get_by_role("button", name="Close").focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.getAttribute('role')") == "table"


@pytest.mark.parametrize("address", ["#/files", "#/files/ml?file=large.txt", "#/files/ml?file=dot.png"])
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False)])
def test_how_it_looks(open_tab: Callable[..., Any], address: str, width: int, dark: bool) -> None:
    tab = open_tab(address, width=width, dark=dark)
    tab.locator("pre, img, table a").first.wait_for()
    pick_theme(tab, dark)
    check_looks(tab, width)

"""Workflows of mounts: listed beside those of the store, edited where they lie, each with its own runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app_server import Server
from tests.page.workflows.test_editor import STATUS, expect
from tests.page.workflows.test_workflows import find_row
from tests.page.workflows.workflow_pages import TEXT, OpenTab, open_workflow, put, put_caret

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the store and of the mount."""
    made = tmp_path_factory.mktemp("mounted")
    (made / "ml" / "workflows").mkdir(parents=True)
    (made / "store").mkdir(mode=0o700)
    mounts = f"[{{name: ml, local: '{made}/ml', remote: /home/me/ml}}]"
    (made / "store" / "profiles.yaml").write_text(
        f"current: far\nprofiles: {{far: {{hostname: far.example, mounts: {mounts}}}}}\n"
    )
    return made


@pytest.fixture(scope="module")
def site(top: Path) -> Iterator[Server]:
    """A server whose current profile has a mount."""
    made = Server(top / "store", "embedded")
    try:
        yield made.start()
    finally:
        made.close()


def test_one_of_a_mount_is_edited_where_it_lies(site: Server, top: Path, open_tab: OpenTab) -> None:
    answer = site.http.post("/api/workflows/upload", json={"yaml": TEXT, "filename": "both.yaml", "mount": "ml"})
    assert answer.status_code == 200, answer.text
    put(site, "both", TEXT.replace("Two jobs", "The one of the store"))
    tab = open_tab("#/workflows?filter=ml")
    find_row(tab, "both").get_by_text("ml", exact=True).wait_for()
    expect(find_row(tab, "both")).to_have_count(1)
    find_row(tab, "both").get_by_role("link", name="both", exact=True).click()
    tab.get_by_text("in the mount ml").wait_for()
    tab, field = open_workflow(open_tab, "both", "?mount=ml")
    expect(field).to_have_value(TEXT)
    put_caret(field, "Two jobs")
    tab.keyboard.type(" far away")
    tab.keyboard.press("Control+s")
    expect(tab.locator(STATUS)).to_have_text("Saved.")
    (file,) = (top / "ml").rglob("both.yaml")
    assert file.read_text() == TEXT.replace("Two jobs", "Two jobs far away")
    file.write_text(TEXT.replace("Two jobs", "Two jobs of theirs"))
    expect(field).to_have_value(TEXT.replace("Two jobs", "Two jobs of theirs"))

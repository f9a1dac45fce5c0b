"""Settings: values with their sources, profiles, tokens shown once, endpoints, and how this browser shows the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.app_server import Server
from tests.page.looks import check_looks, pick_theme

pytestmark = pytest.mark.browser
PARTS = ("config", "profiles", "access", "notifications", "page", "about")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a variable that goes before its files."""
    made = Server(tmp_path_factory.mktemp("site") / "store", "embedded", SRUNX_DEFAULT_PARTITION="main",
                  SLUICE_ALLOWED_HOSTS="sluice.test")  # fmt: skip
    try:
        yield made.start()
    finally:
        made.close()


def test_each_value_tells_its_source_and_is_changed_in_place(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/settings/config")
    row = tab.get_by_role("row").filter(has_text="resources.time_limit")
    row.get_by_text("default").wait_for()
    row.get_by_role("button", name="Change resources.time_limit").click()
    dialog = tab.get_by_role("dialog", name="Change resources.time_limit")
    dialog.get_by_label("resources.time_limit").fill("soon")
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_role("alert").wait_for()
    dialog.get_by_label("resources.time_limit").fill("2:00:00")
    dialog.get_by_role("button", name="Save").click()
    row.get_by_text("config.yaml").wait_for()
    assert "2:00:00" in (site.store / "config.yaml").read_text()
    row.get_by_role("button", name="Change resources.time_limit").click()
    tab.get_by_role("button", name="Remove from config.yaml").click()
    row.get_by_text("default").wait_for()
    fixed = tab.get_by_role("row").filter(has_text="resources.partition")
    fixed.get_by_text("variable SRUNX_DEFAULT_PARTITION").wait_for()
    assert fixed.get_by_role("button").is_disabled(), "a variable is not changed from here"
    tab.troubles.expect("422")


def test_a_token_is_shown_once_and_revoked_after_a_question(site: Server, open_tab: Callable[..., Any]) -> None:
    # Plain http on a host name: there is no clipboard to ask.
    tab = open_tab("#/settings/access", url=site.url.replace("127.0.0.1", "sluice.test"))
    tab.get_by_role("button", name="Make one…").click()
    tab.get_by_label("Name", exact=True).fill("laptop")
    tab.get_by_role("button", name="Make it").click()
    dialog = tab.get_by_role("dialog", name="Token laptop")
    dialog.wait_for()
    secret = tab.get_by_label("Secret of laptop").input_value()
    assert site.http.get("/api/session", headers={"authorization": f"Bearer {secret}"}).json()["user"] == "laptop"
    dialog.get_by_role("button", name="Copy", exact=True).click()
    dialog.get_by_role("button", name="Copied", exact=True).wait_for()
    tab.keyboard.press("Escape")
    assert dialog.is_visible(), "only its button closes what is shown once"
    dialog.get_by_role("button", name="I have copied it").click()
    assert secret not in tab.content()
    row = tab.get_by_role("row").filter(has_text="laptop")
    row.get_by_role("button", name="Revoke").click()
    row.get_by_text("Revoke Token laptop?").wait_for()
    assert row.get_by_role("button", name="Keep").evaluate("node => node === document.activeElement")
    row.get_by_role("button", name="Revoke").click()
    row.wait_for(state="detached")
    assert site.http.get("/api/session", headers={"authorization": f"Bearer {secret}"}).status_code == 401
    tab.goto("/#/settings/page")
    tab.get_by_text("Browsers notify only where the page comes over https").wait_for()


def test_a_profile_is_added_and_tested(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/settings/profiles")
    tab.get_by_text("There are no profiles yet").wait_for()
    tab.get_by_role("button", name="Add a profile…").click()
    tab.get_by_label("Name", exact=True).fill("away")
    tab.get_by_label("Host", exact=True).fill("away.invalid")
    tab.get_by_label("User", exact=True).fill("ann")
    tab.get_by_role("button", name="Add", exact=True).click()
    tab.get_by_role("button", name="Test").click()
    tab.get_by_text("host: failed").wait_for()
    tab.get_by_text("Could not resolve hostname").or_(tab.get_by_text("away.invalid")).first.wait_for()
    tab.get_by_role("button", name="Delete").click()
    tab.get_by_role("group").get_by_role("button", name="Delete").click()
    tab.get_by_text("There are no profiles yet").wait_for()


def test_another_cluster_in_force_is_named_at_once(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/settings/page")
    tab.get_by_role("link", name="embedded").wait_for()
    tab.get_by_role("heading", name="Times").wait_for()
    tab.route(
        "**/api/session", lambda route: route.fulfill(json=site.http.get("/api/session").json() | {"cluster": "away"})
    )
    site.http.post("/api/config/ssh/profiles", json={"name": "other", "hostname": "other.invalid", "username": "ann"})
    tab.get_by_role("link", name="away").wait_for()
    site.http.delete("/api/config/ssh/profiles/other")


def test_an_endpoint_is_added_disabled_and_deleted(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/settings/notifications")
    tab.get_by_text("Nothing was sent yet").wait_for()
    tab.get_by_role("button", name="Add one…").click()
    tab.get_by_label("Name", exact=True).fill("lab <b>")
    tab.get_by_label("Kind").select_option("webhook")
    tab.get_by_label("Address").fill("https://hooks.invalid/in/secret")
    tab.get_by_role("button", name="Add", exact=True).click()
    row = tab.get_by_role("row").filter(has_text="lab <b>")
    row.get_by_text("https://hooks.invalid/***").wait_for()
    row.get_by_role("button", name="Disable").click()
    row.get_by_text("disabled").wait_for()
    row.get_by_role("button", name="Delete").click()
    row.get_by_role("group").get_by_role("button", name="Delete").click()
    tab.get_by_text("There are no endpoints yet").wait_for()


def test_parts_are_addresses_and_tabs_move_by_arrows(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/settings")
    chosen = tab.get_by_role("tab", selected=True)
    assert chosen.inner_text() == "Configuration"
    chosen.focus()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_url("**/#/settings/profiles")
    tab.get_by_text("Clusters in view").wait_for()
    tab.get_by_role("tab", name="About").click()
    tab.get_by_role("link", name="/redoc").wait_for()
    tab.go_back()
    tab.get_by_text("Clusters in view").wait_for()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1440, 400])
@pytest.mark.parametrize("part", PARTS)
def test_it_looks_right(open_tab: Callable[..., Any], part: str, width: int, dark: bool) -> None:
    tab = open_tab(f"#/settings/{part}", width=width, dark=dark)
    tab.locator("[role=tabpanel] section").first.wait_for()
    tab.get_by_text("Loading…").first.wait_for(state="hidden")
    pick_theme(tab, dark)
    check_looks(tab, width)

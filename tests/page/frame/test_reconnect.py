"""A stream that ends: the page says since when, keeps what it shows, and misses nothing."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.app_server import Server
from tests.page.conftest import watching
from tests.waiting import eventually

pytestmark = pytest.mark.browser
HELD = {"job_name": "held", "script": "#!/bin/bash\n#SBATCH -H\ntrue\n"}


class Wire:
    """What lies between browser and server: it carries all bytes, until it is cut."""

    def __init__(self, port: int) -> None:
        self.to, self.is_cut = port, False
        self.ends: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self._begin(self._accept)

    def _begin(self, act: Callable[..., None], *given: Any) -> None:
        threading.Thread(target=act, args=given, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.is_cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.to))
            self.ends += [near, far]
            self._begin(self._carry, near, far)
            self._begin(self._carry, far, near)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Carry nothing any more."""
        self.is_cut = True
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Carry what is sent from now on."""
        self.is_cut = False


@pytest.fixture
def wire(site: Server) -> Iterator[Wire]:
    """A wire to the server."""
    made = Wire(site.port)
    yield made
    made.cut()
    made.listener.close()


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that a test may end."""
    made = Server(tmp_path_factory.mktemp("site") / "store", "embedded")
    try:
        yield made.start()
    finally:
        made.close()


def test_a_restart_is_told_and_nothing_is_missed(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    first = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    tab.get_by_role("link", name=first, exact=True).wait_for()
    site.end()
    tab.get_by_text("Not live since ").wait_for(timeout=20_000)
    assert tab.get_by_role("link", name=first, exact=True).is_visible(), "what was known stays"
    tab.get_by_role("button", name="Try now").click()
    site.start()
    second = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]  # before the page is there again
    tab.get_by_role("link", name=second, exact=True).wait_for()
    tab.get_by_text("Not live since ").wait_for(state="hidden")
    site.http.delete(f"/api/v1/jobs/{first}")
    row = tab.get_by_role("row").filter(has=tab.get_by_role("link", name=first, exact=True))
    row.get_by_text("cancelled").wait_for()
    tab.troubles[:] = [trouble for trouble in tab.troubles if "ERR_" not in trouble]  # one may have been under way


def test_what_came_while_the_machine_slept_is_there_after_it(site: Server, open_tab: Callable[..., Any]) -> None:
    """A server that is stopped, and goes on later, is to the browser what its own sleep is: silence."""
    assert site.process is not None
    tab = open_tab("#/jobs")
    first = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    tab.get_by_role("link", name=first, exact=True).wait_for()
    site.process.send_signal(signal.SIGSTOP)
    try:
        tab.get_by_text("Not live since ").wait_for(timeout=25_000)
    finally:
        site.process.send_signal(signal.SIGCONT)
    # What it asked SLURM before it was stopped may have come too late.
    second = eventually(lambda: site.http.post("/api/v1/jobs", json=HELD).json()["job_id"])
    tab.get_by_role("link", name=second, exact=True).wait_for()
    tab.get_by_text("Not live since ").wait_for(state="hidden")


def test_a_frozen_tab_has_missed_nothing(site: Server, open_tab: Callable[..., Any]) -> None:
    """Browsers freeze tabs that nobody looks at."""
    tab = open_tab("#/jobs")
    first = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    tab.get_by_role("link", name=first, exact=True).wait_for()
    state = tab.context.new_cdp_session(tab)
    state.send("Page.setWebLifecycleState", {"state": "frozen"})
    second = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    state.send("Page.setWebLifecycleState", {"state": "active"})
    tab.get_by_role("link", name=second, exact=True).wait_for()


def test_a_browser_that_was_offline_keeps_its_place_and_misses_nothing(browser: Any, site: Server, wire: Wire) -> None:
    made = [site.http.post("/api/v1/jobs", json=HELD).json()["job_id"] for _ in range(60)]
    with watching(browser, f"http://127.0.0.1:{wire.port}", viewport={"width": 1440, "height": 600}) as tab:
        tab.goto("/#/jobs")
        seen = tab.get_by_role("link", name=made[20], exact=True)
        seen.scroll_into_view_if_needed()
        seen.hover()
        before = seen.bounding_box()
        tab.context.set_offline(True)
        wire.cut()
        tab.get_by_text("Not live since ").wait_for()
        assert seen.bounding_box()["y"] > before["y"] and seen.is_visible(), "what was known stays, below the line"
        site.http.delete(f"/api/v1/jobs/{made[21]}")
        new = [site.http.post("/api/v1/jobs", json=HELD).json()["job_id"] for _ in range(3)]
        wire.mend()
        tab.context.set_offline(False)
        for each in new:
            tab.get_by_role("link", name=each, exact=True).wait_for(state="attached")
        row = tab.get_by_role("row").filter(has=tab.get_by_role("link", name=made[21], exact=True))
        row.get_by_text("cancelled").wait_for()
        tab.get_by_text("Not live since ").wait_for(state="hidden")
        assert seen.bounding_box() == before
        tab.troubles[:] = [trouble for trouble in tab.troubles if "ERR_" not in trouble]


HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_hidden_tab_tells_in_its_title_and_is_up_to_date_when_it_is_looked_at(
    site: Server, open_tab: Callable[..., Any]
) -> None:
    tab = open_tab("#/jobs")
    tab.get_by_text("You have no jobs").wait_for()
    tab.evaluate(HIDE, True)
    site.http.post("/api/v1/jobs", json=HELD)
    expect(tab).to_have_title("○ 1 waiting Jobs – Sluice")
    second = site.http.post("/api/v1/jobs", json=HELD).json()["job_id"]
    tab.evaluate(HIDE, False)
    tab.get_by_role("link", name=second, exact=True).wait_for()
    expect(tab).to_have_title("○ 2 waiting Jobs – Sluice")


def test_a_form_that_is_open_outlives_a_restart(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/settings/config")
    tab.get_by_role("button", name="Change resources.time_limit").click()
    field = tab.get_by_role("dialog").get_by_label("resources.time_limit")
    field.fill("3:00:00")
    site.end()
    tab.get_by_role("button", name="Save").click()
    tab.get_by_role("alert").get_by_text("The server gave no answer").wait_for()
    assert field.input_value() == "3:00:00"
    site.start()
    tab.get_by_role("button", name="Save").click()
    tab.get_by_role("row").filter(has_text="resources.time_limit").get_by_text("config.yaml").wait_for()
    tab.troubles.expect("ERR_")

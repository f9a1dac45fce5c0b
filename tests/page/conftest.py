"""A browser for the tests of the page, and a server of their own for each module.

A page that prints an error, fails a request, asks another origin for something or breaks its policy fails its test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright import sync_api

from tests.app_server import Server
from tests.page.programs import find_program

# A machine that is busy shows the same, later.
sync_api.expect.set_options(timeout=30_000)
FLAGS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP sluice.test 127.0.0.1"]
# What the browser itself refuses is told to the page, which writes it where the test looks.
WATCH_POLICY = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} refused ${event.blockedURI} `
    + `${event.sourceFile}:${event.lineNumber}`));
"""


@pytest.fixture(scope="session")
def chromium() -> Iterator[tuple[Any, asyncio.AbstractEventLoop]]:
    """One headless Chromium for all tests of this process, and the event loop that playwright keeps for it."""
    program = find_program("chromium", "google-chrome")
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=program, args=FLAGS)
        loop = asyncio.get_running_loop()
        yield made, loop
        asyncio._set_running_loop(loop)
        made.close()


@pytest.fixture(scope="module")
def browser(chromium: tuple[Any, asyncio.AbstractEventLoop]) -> Iterator[Any]:
    """The browser, while the tests of a module use it.

    Between two calls the loop counts as running, and `asyncio.run` of other tests in this process would refuse.
    """
    made, loop = chromium
    asyncio._set_running_loop(loop)
    yield made
    asyncio._set_running_loop(None)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on the embedded cluster for all tests of a module."""
    made = Server(tmp_path_factory.mktemp("site") / "store", "embedded", SLUICE_ALLOWED_HOSTS="sluice.test")
    try:
        yield made.start()
    finally:
        made.close()


class Troubles(list[str]):
    """What went wrong on a page; a test that expects something takes it out."""

    def expect(self, text: str) -> None:
        """Take out what is expected to go wrong; it must have."""
        found = [trouble for trouble in self if text in trouble]
        assert found, f"nothing tells of {text!r}: {list(self)}"
        for trouble in found:
            self.remove(trouble)


@contextmanager
def watching(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    """A tab whose troubles end the test; `tab.troubles` holds them, `tab.goto` takes paths below the URL."""
    context = browser.new_context(base_url=url, **options)
    context.set_default_timeout(60_000)
    context.add_init_script(WATCH_POLICY)
    troubles = Troubles()
    own = {urlsplit(url).netloc}

    def watch(tab: Any) -> None:
        tab.troubles = troubles
        tab.on("console", lambda message: message.type == "error" and troubles.append(f"console: {message.text}"))
        tab.on("pageerror", lambda problem: troubles.append(f"error: {problem}"))
        tab.on("request", lambda asked: _is_foreign(asked.url, own) and troubles.append(f"asked {asked.url}"))

    context.on("page", watch)
    try:
        yield context.new_page()
    finally:
        context.close()
    assert list(troubles) == []


def _is_foreign(url: str, own: set[str]) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.netloc not in own


@pytest.fixture
def open_tab(browser: Any, site: Server) -> Iterator[Callable[..., Any]]:
    """Open a tab on an address of the page: `open_tab("#/jobs", width=400, dark=True)`."""
    with ExitStack() as tabs:

        def open_one(address: str = "", *, width: int = 1440, dark: bool = False, url: str = "", **options: Any) -> Any:
            options["viewport"] = {"width": width, "height": 900}
            options["color_scheme"] = "dark" if dark else "light"
            tab = tabs.enter_context(watching(browser, url or site.url, **options))
            tab.goto(f"/{address}")
            return tab

        yield open_one


@pytest.fixture
def tab(open_tab: Callable[..., Any]) -> Any:
    """One tab on the page."""
    return open_tab()

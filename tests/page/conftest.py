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
EMPTY = '<!doctype html><link rel="icon" href="data:,">'


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


def make_context(browser: Any, url: str, **options: Any) -> Any:
    """A browser of somebody's own, which has kept nothing; its tabs take paths below the URL."""
    context = browser.new_context(base_url=url, **options)
    context.set_default_timeout(60_000)
    context.add_init_script(WATCH_POLICY)
    return context


@contextmanager
def watching(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    """A tab in a browser of its own, whose troubles end the test."""
    context = make_context(browser, url, **options)
    try:
        with watching_tab(context.new_page(), url) as tab:
            yield tab
    finally:
        context.close()


@contextmanager
def watching_tab(first: Any, url: str) -> Iterator[Any]:
    """A tab whose troubles, and those of others beside it, end the test; `tab.troubles` holds them."""
    troubles = Troubles()
    own = {urlsplit(url).netloc}

    def note(is_trouble: bool, text: str) -> None:
        if is_trouble:
            troubles.append(text)

    handlers: dict[str, Callable[[Any], None]] = {
        "console": lambda message: note(message.type == "error", f"console: {message.text}"),
        "pageerror": lambda problem: note(True, f"error: {problem}"),
        "request": lambda asked: note(_is_foreign(asked.url, own), f"asked {asked.url}"),
    }

    def watch(tab: Any) -> None:
        tab.troubles = troubles
        for event, handler in handlers.items():
            tab.on(event, handler)

    watch(first)
    first.context.on("page", watch)
    try:
        yield first
    finally:
        first.context.remove_listener("page", watch)
        for event, handler in handlers.items():
            first.remove_listener(event, handler)
    assert list(troubles) == []


def _is_foreign(url: str, own: set[str]) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.netloc not in own


class KeptTabs:
    """Tabs that the tests of a module use one after the other, by the URL of the server.

    A new browser for each test, with a process of its own, would take longer than most tests.
    """

    def __init__(self, browser: Any) -> None:
        self.browser, self.tabs = browser, dict[str, Any]()

    @contextmanager
    def use(self, url: str) -> Iterator[Any]:
        """A tab that has kept nothing; after a test that failed it is used no more."""
        tab = self.tabs.pop(url, None) or make_context(self.browser, url).new_page()
        for other in self.tabs.values():
            other.goto("about:blank")  # it leaves its event stream
        # Of the same origin, since what leaves the page may write yet; without an icon that is asked for later.
        tab.route("**/empty", lambda route: route.fulfill(body=EMPTY, content_type="text/html"))
        tab.goto("/empty")
        tab.evaluate("localStorage.clear(); sessionStorage.clear()")
        tab.context.clear_cookies()
        tab.mouse.move(0, 0)
        try:
            with watching_tab(tab, url):
                yield tab
            tab.unroute_all(behavior="ignoreErrors")
            for other in tab.context.pages:
                if other is not tab:
                    other.close()
            self.tabs[url] = tab
        finally:
            if url not in self.tabs:
                tab.context.close()


@pytest.fixture(scope="module")
def kept_tabs(browser: Any) -> Iterator[KeptTabs]:
    """The tabs of a module."""
    made = KeptTabs(browser)
    yield made
    for tab in made.tabs.values():
        tab.context.close()


@pytest.fixture
def open_tab(browser: Any, site: Server, kept_tabs: KeptTabs) -> Iterator[Callable[..., Any]]:
    """Open a tab on an address of the page: `open_tab("#/jobs", width=400, dark=True)`.

    Each is somebody else's browser, which has kept nothing.
    """
    used: set[str] = set()
    with ExitStack() as tabs:

        def open_one(address: str = "", *, width: int = 1440, dark: bool = False, url: str = "", **options: Any) -> Any:
            url, size, theme = url or site.url, {"width": width, "height": 900}, "dark" if dark else "light"
            if options or url in used:
                tab = tabs.enter_context(watching(browser, url, viewport=size, color_scheme=theme, **options))
            else:
                used.add(url)
                tab = tabs.enter_context(kept_tabs.use(url))
                tab.set_viewport_size(size)
                tab.emulate_media(color_scheme=theme)
            tab.goto(f"/{address}")
            return tab

        yield open_one


@pytest.fixture
def tab(open_tab: Callable[..., Any]) -> Any:
    """One tab on the page."""
    return open_tab()

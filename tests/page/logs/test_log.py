"""The log viewer: its end first, follow, search of the whole file, copying, addresses, and what a log may hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.app_server import Server
from tests.page.logs.log_pages import LogJob, find_first, number_lines, show_log
from tests.waiting import eventually

pytestmark = pytest.mark.browser
MODIFIER = "Control"


@pytest.fixture(scope="module")
def job(site: Server, tmp_path_factory: pytest.TempPathFactory) -> LogJob:
    """A job that has ended."""
    return LogJob(site, tmp_path_factory.mktemp("logs"))


@pytest.fixture
def running(site: Server, tmp_path: Path) -> Iterator[LogJob]:
    """A job that runs."""
    made = LogJob(site, tmp_path, runs=True)
    yield made
    made.stop.touch()


def line(tab: Any, text: str) -> Any:
    """The line with just this text."""
    return tab.locator(".log-text").get_by_text(text, exact=True)


def answer_uncounted(route: Any) -> None:
    """Answer about a log as the server does while it has counted the lines of a third of it."""
    found = route.fetch()
    answered = found.json()
    counted = {"line_count": None, "first_line": None, "counted_bytes": answered["size_bytes"] // 3}
    route.fulfill(response=found, json=answered | counted)


def read_copied(tab: Any) -> str:
    """What a copy gives, pasted into a field."""
    tab.evaluate("document.body.append(Object.assign(document.createElement('textarea'), { id: 'pasted' }))")
    tab.locator("#pasted").focus()
    tab.keyboard.press(f"{MODIFIER}+v")
    text = str(tab.locator("#pasted").input_value())
    tab.evaluate("document.querySelector('#pasted').remove()")
    return text


def test_it_opens_at_the_end_with_the_lines_before_it(tab: Any, job: LogJob) -> None:
    job.write(number_lines(1, 100_000))
    log = show_log(tab, job)
    expect(line(tab, "line 100000")).to_be_in_viewport()
    expect(line(tab, "line 99980")).to_be_in_viewport()
    expect(tab.locator(".log-bar .count")).to_contain_text("100,000 lines")
    assert tab.locator(".log-row").count() < 200
    log.focus()
    tab.keyboard.press("Home")
    expect(line(tab, "line 1")).to_be_in_viewport()
    tab.keyboard.press("PageDown")
    expect(line(tab, "line 1")).not_to_be_in_viewport()
    tab.keyboard.press("PageUp")
    expect(line(tab, "line 1")).to_be_in_viewport()
    tab.keyboard.press("End")
    expect(line(tab, "line 100000")).to_be_in_viewport()


def test_it_follows_only_at_the_bottom(tab: Any, running: LogJob) -> None:
    running.write(number_lines(1, 1000))
    log = show_log(tab, running)
    expect(line(tab, "line 1000")).to_be_in_viewport()
    running.append(number_lines(1001, 1100))
    expect(line(tab, "line 1100")).to_be_in_viewport()
    log.hover()
    tab.mouse.wheel(0, -400)
    expect(line(tab, "line 1100")).not_to_be_in_viewport()
    first = find_first(log)
    running.append(number_lines(1101, 1314))
    fresh = tab.get_by_role("button", name="↓ 214 new lines")
    fresh.wait_for()
    assert find_first(log) == first
    fresh.click()
    expect(line(tab, "line 1314")).to_be_in_viewport()
    expect(tab.locator(".log-fresh")).to_be_hidden()
    running.append("the last one, without its end")
    expect(line(tab, "the last one, without its end")).to_be_in_viewport()
    log.press("/")
    tab.keyboard.type("without")
    expect(tab.locator(".log-search .count")).to_have_text("1 of 1")
    tab.keyboard.press("Escape")
    running.append(" until now\n")
    expect(line(tab, "the last one, without its end until now")).to_be_in_viewport()
    running.end()
    expect(tab.locator(".log-bar .count")).not_to_contain_text("so far")


def test_scrolling_never_is_smooth(tab: Any, job: LogJob) -> None:
    job.write(number_lines(1, 1000))
    log = show_log(tab, job)
    assert log.evaluate("(log) => getComputedStyle(log).scrollBehavior") == "auto"


def test_search_finds_what_was_never_drawn(tab: Any, job: LogJob) -> None:
    job.write(number_lines(1, 70_000) + "the needle\n" + number_lines(70_002, 200_000) + "A NEEDLE\n" + "x\n" * 1000)
    log = show_log(tab, job)
    log.focus()
    tab.keyboard.press("Control+f")
    tab.keyboard.type("needle")
    found = tab.locator(".log-search .count")
    expect(found).to_have_text("2 of 2")
    expect(line(tab, "A NEEDLE")).to_be_in_viewport()
    tab.keyboard.press("Enter")
    expect(found).to_have_text("1 of 2")
    expect(line(tab, "the needle")).to_be_in_viewport()
    assert tab.locator(".log-hit .log-number").inner_text() == "70001"
    tab.keyboard.press("Enter")
    expect(found).to_have_text("2 of 2")
    tab.keyboard.press("Shift+Enter")
    expect(found).to_have_text("1 of 2")
    tab.get_by_label("Capitals matter").check()
    expect(found).to_have_text("1 of 1")
    tab.get_by_label("Capitals matter").uncheck()
    tab.get_by_label("Regular expression").check()
    field = tab.get_by_role("searchbox", name="Search the whole log")
    field.fill("^line 1.0000$")
    expect(found).to_have_text(re.compile("^. of 10$"))
    field.fill("nothing of the kind")
    expect(found).to_have_text("Not in this log")
    with tab.expect_response(re.compile("search")):
        field.fill("(")
    expect(found).to_contain_text("no regular expression")
    tab.troubles.expect("422")
    tab.keyboard.press("Escape")
    expect(tab.locator(".log-search")).to_be_hidden()
    log.focus()
    tab.keyboard.press("/")
    expect(field).to_be_focused()


def test_found_words_are_marked_where_they_stand(tab: Any, job: LogJob) -> None:
    job.write("nothing\n\x1b[31mnee\x1b[0mdle and needle\n")
    log = show_log(tab, job)
    log.focus()
    tab.keyboard.press("/")
    tab.keyboard.type("NEEDLE")
    expect(tab.locator(".log-search .count")).to_have_text("1 of 1")
    ranges = "[...CSS.highlights.get('log-found')].map((range) => range.toString())"
    assert tab.evaluate(ranges) == ["needle", "needle"]


def test_a_terminal_would_show_the_same(tab: Any, job: LogJob) -> None:
    bar = "".join(f"\r{step:3d}%|{'#' * (step // 10):10}| {step}/100" for step in range(101))
    job.write(f"start\n{bar}\n\x1b[31mred\x1b[0m \x1b[1;38;2;255;255;0mbright\x1b[0m \x1b]0;title\x07done\x1b[?25h\n")
    show_log(tab, job)
    expect(line(tab, "100%|##########| 100/100")).to_be_visible()
    expect(tab.locator(".log-row")).to_have_count(3)
    expect(tab.locator(".log-text").nth(2)).to_have_text("red bright done")
    assert tab.locator(".ansi-ink").first.inner_text() == "red"


def test_hostile_text_is_text(tab: Any, job: LogJob) -> None:
    texts = [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "&amp; <b>",
        "javascript:alert(1)",
        "\u202eevil",
    ]
    job.write("\n".join(texts) + "\n\0\xff\x80")
    log = show_log(tab, job)
    for text in texts:
        expect(tab.locator(".log-text").get_by_text(text)).to_be_visible()
    assert log.locator("img, script, b").count() == 0


def test_one_line_of_8_mb(tab: Any, job: LogJob) -> None:
    job.write(b"first\n" + b"x" * 8_000_000 + b"END\nlast\n")
    log = show_log(tab, job)
    expect(line(tab, "last")).to_be_in_viewport()
    expect(tab.locator(".log-text").nth(1)).to_contain_text("7,983,619 bytes left out")
    assert log.evaluate("(log) => log.textContent.length") < 20_000
    tab.get_by_label("Wrap").check()
    expect(line(tab, "last")).to_be_in_viewport()


def test_a_selection_longer_than_the_screen_is_copied_whole(open_tab: Callable[..., Any], job: LogJob) -> None:
    tab = open_tab(permissions=["clipboard-read", "clipboard-write"])
    job.write(number_lines(1, 30_000, " \x1b[32mok\x1b[0m"))
    log = show_log(tab, job)
    log.focus()
    tab.keyboard.press("Home")
    first = line(tab, "line 2 ok")
    expect(first).to_be_in_viewport()
    box = first.bounding_box()
    tab.mouse.move(box["x"] + 1, box["y"] + 9)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 30, box["y"] + 60)
    tab.mouse.up()
    log.evaluate("(log) => { log.scrollTop = 20000 * 18 - 18; }")
    last = line(tab, "line 20010 ok")
    expect(last).to_be_in_viewport()
    box = last.bounding_box()
    tab.keyboard.down("Shift")
    tab.mouse.click(box["x"] + box["width"] + 60, box["y"] + 9)
    tab.keyboard.up("Shift")
    tab.keyboard.press(f"{MODIFIER}+c")
    expect(tab.locator(".log-row[data-key='2']")).to_have_count(1)
    wanted = number_lines(2, 20_010, " ok").rstrip("\n")
    eventually(lambda: tab.evaluate("navigator.clipboard.readText()") == wanted)


def test_a_line_that_is_shown_in_part_is_copied_whole(open_tab: Callable[..., Any], job: LogJob) -> None:
    tab = open_tab(permissions=["clipboard-read", "clipboard-write"])
    long = "".join(f"{number} " for number in range(20_000))
    job.write(f"first\n{long}end\nlast\n")
    show_log(tab, job)
    expect(line(tab, "last")).to_be_in_viewport()
    for begin, first, end, last, wanted in (
        (1, 2, 3, 3, f"rst\n{long}end\nlas"),
        (2, 2, 2, -2, f"{long}e"[2:]),
        (2, -3, 3, 1, "end\nl"),
    ):
        tab.evaluate(
            """([begin, first, end, last]) => {
          const find = (number) => document.querySelector(`.log-row[data-key="${number}"] .log-text`).firstChild;
          const place = (node, column) => [node, column < 0 ? node.data.length + column : column];
          getSelection().setBaseAndExtent(...place(find(begin), first), ...place(find(end), last));
        }""",
            [begin, first, end, last],
        )
        tab.keyboard.press(f"{MODIFIER}+c")
        eventually(lambda wanted=wanted: tab.evaluate("navigator.clipboard.readText()") == wanted)


def test_nothing_moves_while_somebody_selects(tab: Any, running: LogJob) -> None:
    running.write(number_lines(1, 1000))
    log = show_log(tab, running)
    expect(line(tab, "line 1000")).to_be_in_viewport()
    line(tab, "line 995").dblclick(position={"x": 5, "y": 5})
    first = find_first(log)
    running.append(number_lines(1001, 1007))
    fresh = tab.get_by_role("button", name="↓ 7 new lines")
    fresh.wait_for()
    assert find_first(log) == first and tab.evaluate("String(getSelection())") == "line"
    fresh.click()
    running.append("more\n")
    expect(line(tab, "more")).to_be_in_viewport()


def test_a_failed_job_without_errors_shows_its_output(tab: Any, site: Server, tmp_path: Path) -> None:
    job = LogJob(site, tmp_path)
    show_log(tab, job, stream="stderr")
    expect(line(tab, "oops")).to_be_visible()
    job.stderr.write_text("")
    show_log(tab, job, stream="stderr")
    expect(line(tab, "begun")).to_be_visible()
    expect(tab.get_by_role("tab", name="Output")).to_have_attribute("aria-selected", "true")
    tab.get_by_role("tab", name="Errors").click()
    expect(tab.get_by_text("The file is empty: the job has written nothing here.")).to_be_visible()


def test_all_is_selected_and_copied(open_tab: Callable[..., Any], job: LogJob) -> None:
    tab = open_tab(permissions=["clipboard-read", "clipboard-write"])
    job.write(number_lines(1, 5000))
    log = show_log(tab, job)
    expect(line(tab, "line 5000")).to_be_in_viewport()
    log.focus()
    tab.keyboard.press(f"{MODIFIER}+a")
    tab.keyboard.press(f"{MODIFIER}+c")
    eventually(lambda: tab.evaluate("navigator.clipboard.readText()") == number_lines(1, 5000))


def test_part_of_two_lines_is_copied(open_tab: Callable[..., Any], job: LogJob) -> None:
    tab = open_tab(permissions=["clipboard-read", "clipboard-write"])
    job.write(number_lines(1, 100))
    show_log(tab, job)
    expect(line(tab, "line 99")).to_be_in_viewport()
    tab.evaluate("""() => {
      const find = (number) => document.querySelector(`.log-row[data-key="${number}"] .log-text`).firstChild;
      getSelection().setBaseAndExtent(find(98), 5, find(99), 4);
    }""")
    tab.keyboard.press(f"{MODIFIER}+c")
    assert read_copied(tab) == "98\nline"


@pytest.mark.parametrize("host", ["", "sluice.test"])
def test_copy_all_also_over_plain_http(open_tab: Callable[..., Any], site: Server, job: LogJob, host: str) -> None:
    url = site.url.replace("127.0.0.1", host) if host else ""
    options = {} if host else {"permissions": ["clipboard-read", "clipboard-write"]}
    tab = open_tab("#/jobs", url=url, **options)
    job.write(number_lines(1, 2000, "\x1b[0m"))
    show_log(tab, job)
    tab.get_by_role("button", name="Copy all").click()
    expect(tab.get_by_text("Copied all 2,000 lines.")).to_be_visible()
    assert read_copied(tab) == number_lines(1, 2000)


def test_copying_waits_until_it_is_known_how_much_there_is(tab: Any, job: LogJob) -> None:
    job.write(number_lines(1, 2000))
    held: list[Any] = []
    goes_on: list[bool] = []

    def answer(route: Any) -> None:
        (answer_uncounted if goes_on else held.append)(route)

    tab.route(re.compile(r"/logs/stdout\?"), answer)
    show_log(tab, job)
    eventually(lambda: tab.evaluate("1") and held)
    expect(tab.get_by_role("button", name="Copy all")).to_be_hidden()
    goes_on.append(True)
    for route in held:
        answer(route)
    tab.get_by_role("button", name="Copy all").click()
    expect(tab.get_by_text("Copied all 2,000 lines.")).to_be_visible()


def test_the_download_is_the_original(tab: Any, job: LogJob) -> None:
    data = b"\x1b[31mred\x1b[0m\r\n\0" + b"\xff" + number_lines(1, 50_000).encode()
    job.write(data)
    show_log(tab, job)
    with tab.expect_download() as waiting:
        tab.get_by_role("link", name="Download").click()
    assert Path(waiting.value.path()).read_bytes() == data
    assert waiting.value.suggested_filename == "out"


def test_a_printed_log_says_which_lines_it_has(tab: Any, job: LogJob) -> None:
    job.write(number_lines(1, 50_000))
    show_log(tab, job)
    expect(line(tab, "line 50000")).to_be_in_viewport()
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(tab.get_by_text("Lines 49,601 to 50,000, which are around those in sight")).to_be_visible()
    expect(tab.locator(".log-row")).to_have_count(400)
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(tab.get_by_text("Lines 49,601 to")).to_be_hidden()
    expect(line(tab, "line 50000")).to_be_in_viewport()


def test_lines_have_addresses(tab: Any, job: LogJob, open_tab: Callable[..., Any], tmp_path: Path) -> None:
    job.write(number_lines(1, 50_000))
    job.stderr.write_text(number_lines(1, 30, " of stderr"))
    log = show_log(tab, job)
    log.focus()
    tab.keyboard.press("Home")
    tab.get_by_role("link", name="5", exact=True).click()
    expect(tab).to_have_url(re.compile(r"\?log=\d+&stream=stdout&lines=L5$"))
    tab.get_by_role("link", name="9", exact=True).click(modifiers=["Shift"])
    expect(tab).to_have_url(re.compile(r"stream=stdout&lines=L5-9$"))
    expect(tab.locator(".log-chosen")).to_have_count(5)
    tab.get_by_role("tab", name="Errors").click()
    expect(line(tab, "line 30 of stderr")).to_be_visible()
    expect(tab).to_have_url(re.compile(r"stream=stderr$"))
    show_log(tab, LogJob(job.site, tmp_path))
    expect(line(tab, "begun")).to_be_visible()  # what names another job's lines is not for this one
    other = open_tab("#/jobs?stream=stdout&lines=L20120-20140")
    show_log(other, job)
    expect(line(other, "line 20120")).to_be_in_viewport()
    expect(other.locator(".log-chosen")).to_have_count(21)


def test_back_leads_to_the_same_lines(tab: Any, job: LogJob) -> None:
    job.write(number_lines(1, 50_000))
    log = show_log(tab, job)
    expect(line(tab, "line 50000")).to_be_in_viewport()
    log.evaluate("(log) => { log.scrollTop = 30000 * 18; }")
    expect(line(tab, "line 30001")).to_be_in_viewport()
    eventually(lambda: tab.evaluate("history.state?.places?.log?.line") == 30_001)
    tab.goto("/#/history")
    tab.go_back()
    log = show_log(tab, job)
    expect(line(tab, "line 30001")).to_be_in_viewport()
    assert find_first(log) == 30_001


@pytest.mark.parametrize("more", ["", " " * 400], ids=["of one length", "longer ones last"])
def test_until_lines_are_counted_the_end_is_there(tab: Any, job: LogJob, more: str) -> None:
    job.write(number_lines(1, 17_500) + "".join(f"line {number}{more}\n" for number in range(17_501, 20_001)))
    uncounted = {"is": True}

    def answer(route: Any) -> None:
        if uncounted["is"] and "line=" not in route.request.url:
            answer_uncounted(route)
        else:
            route.continue_()

    tab.route(re.compile(r"/logs/stdout\?"), answer)
    log = show_log(tab, job)
    expect(line(tab, "line 20000")).to_be_in_viewport()
    expect(tab.locator(".log-bar .count")).to_contain_text("counting lines, 33 %")
    log.hover()
    for _ in range(40):
        tab.mouse.wheel(0, -900)
        tab.evaluate("new Promise(requestAnimationFrame)")  # nobody turns a wheel faster than it is drawn
    expect(line(tab, "line 17985")).to_be_in_viewport()
    expect(tab.locator(".log-number").first).to_have_text("")
    first = log.evaluate("(log) => log.querySelector('.log-row:nth-child(30) .log-text').textContent")
    uncounted["is"] = False
    expect(tab.locator(".log-bar .count")).to_contain_text("20,000 lines")
    expect(line(tab, first)).to_be_in_viewport()
    number = tab.locator(".log-row", has=line(tab, first)).locator(".log-number")
    expect(number).to_have_text(first.removeprefix("line "))
    tab.unroute_all()


def test_it_goes_on_after_the_server_was_away(tab: Any, running: LogJob) -> None:
    running.write(number_lines(1, 100))
    show_log(tab, running)
    expect(line(tab, "line 100")).to_be_in_viewport()
    tab.route(re.compile("/logs/"), lambda route: route.abort())
    expect(tab.locator(".log-bar .count")).to_contain_text("Trying again")
    expect(line(tab, "line 100")).to_be_in_viewport()
    running.append(number_lines(101, 120))
    tab.unroute_all()
    expect(line(tab, "line 120")).to_be_in_viewport()
    expect(tab.locator(".log-bar .count")).to_contain_text("120 lines")
    tab.troubles.expect("ERR_FAILED")


def test_new_lines_are_spoken_only_where_it_is_asked_for(tab: Any, running: LogJob) -> None:
    running.write(number_lines(1, 10))
    show_log(tab, running)
    expect(line(tab, "line 10")).to_be_visible()
    voice = tab.locator("[role=status][aria-live=polite]")
    running.append("quiet\n")
    expect(line(tab, "quiet")).to_be_visible()
    expect(voice).to_have_text("")
    assert tab.locator(".log[aria-live]").count() == 0
    tab.get_by_label("Speak", exact=True).check()
    running.append("loud\n")
    expect(voice).to_have_text("1 new line: loud")


def test_both_streams_in_one_file(tab: Any, site: Server, tmp_path: Path) -> None:
    show_log(tab, LogJob(site, tmp_path, merged=True))
    expect(line(tab, "begun")).to_be_visible()
    expect(tab.get_by_role("tablist", name="Streams")).to_be_hidden()
    expect(tab.locator(".log-bar .count")).to_contain_text("of output and errors")


def test_long_lines_wrap(tab: Any, job: LogJob) -> None:
    job.write("".join(f"line {number} {'word ' * 100}\n" for number in range(1, 3001)))
    log = show_log(tab, job)
    expect(tab.locator(".log-text").get_by_text("line 3000 ")).to_be_in_viewport()
    tab.get_by_label("Wrap").check()
    expect(tab.locator(".log-text").get_by_text("line 3000 ")).to_be_in_viewport()
    assert log.evaluate("(log) => log.scrollWidth <= log.clientWidth")
    tab.get_by_role("button", name="Lines before these").click()
    expect(tab.locator(".log-text").get_by_text("line 2600 ")).to_be_in_viewport()
    tab.get_by_label("Wrap").uncheck()
    expect(tab.locator(".log-row[data-key='2600']")).to_be_attached()


def test_a_file_that_is_written_anew_is_shown_anew(tab: Any, running: LogJob) -> None:
    running.write(number_lines(1, 1000))
    show_log(tab, running)
    expect(line(tab, "line 1000")).to_be_in_viewport()
    running.write("another file\n")
    expect(line(tab, "another file")).to_be_visible()
    expect(tab.locator(".log-row")).to_have_count(1)


def test_what_is_said_where_there_is_nothing(tab: Any, site: Server, tmp_path: Path) -> None:
    job = LogJob(site, tmp_path).write("")
    show_log(tab, job)
    expect(tab.get_by_text("The file is empty: the job has written nothing here.")).to_be_visible()
    job.stdout.unlink()
    show_log(tab, job)
    expect(tab.get_by_text("the job wrote none, or it was removed")).to_be_visible()
    job.stdout.symlink_to("/etc/passwd")
    show_log(tab, job)
    expect(tab.get_by_text("You may not see the log of")).to_be_visible()
    tab.troubles.expect("403")
    job.id = "999999"
    show_log(tab, job)
    expect(tab.get_by_text("could not be loaded")).to_be_visible()
    expect(tab.get_by_role("button", name="Try again")).to_be_visible()
    tab.troubles.expect("404")


def test_a_log_appears_when_the_job_begins(tab: Any, site: Server, tmp_path: Path) -> None:
    job = LogJob(site, tmp_path)
    held = site.http.post("/api/v1/jobs", json={"script": "#!/bin/bash\n#SBATCH -H\necho now\n"}).json()["job_id"]
    job.id = str(held)
    show_log(tab, job)
    expect(tab.get_by_text("There is no log yet.")).to_be_visible()
    assert site.http.put(f"/api/v1/jobs/{held}/release").status_code == 200
    expect(line(tab, "now")).to_be_visible()


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_accessible(open_tab: Callable[..., Any], job: LogJob, dark: bool) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab = open_tab(dark=dark)
    codes = [*range(30, 38), *range(90, 98), *range(40, 48), *range(100, 108), 2, 7]
    job.write(
        "".join(f"\x1b[{code}mcolour {code}\x1b[0m\n" for code in codes) + "\x1b[38;5;226my\x1b[48;5;21mb\x1b[0m\n"
    )
    log = show_log(tab, job)
    expect(log).to_be_visible()
    log.focus()
    tab.keyboard.press("/")
    tab.keyboard.type("colour")
    expect(tab.locator(".log-search .count")).to_contain_text("of")
    found = axe.Axe().run(tab).response["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []


def test_it_fits_into_400_pixels(open_tab: Callable[..., Any], job: LogJob) -> None:
    tab = open_tab(width=400)
    job.write("".join(f"line {number} {'word ' * 100}\n" for number in range(1, 300)))
    log = show_log(tab, job)
    expect(log).to_be_visible()
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    log.focus()
    tab.keyboard.press("/")
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")

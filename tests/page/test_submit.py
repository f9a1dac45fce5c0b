"""The submission: once, with what is shown, refused at its fields, and never lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.app_server import Server
from tests.page.looks import check_looks
from tests.page.test_jobs import submit
from tests.waiting import eventually

pytestmark = pytest.mark.browser
SCRIPT = "#!/bin/bash\n#SBATCH --hold\nsleep 7\n"


def count_jobs(site: Server, name: str) -> int:
    """Count the jobs of this name, as soon as there is one."""
    asked = {"filter": f"job_name='{name}'"}
    return int(eventually(lambda: site.http.get("/api/v1/jobs", params=asked).json()["total"], 30))


def open_dialog(tab: Any, script: str = SCRIPT, **fields: str) -> Any:
    """Open the dialog and fill it."""
    tab.get_by_role("button", name="Submit a job").first.click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_label("Script", exact=True).fill(script)
    for name, value in fields.items():
        dialog.locator(f"[name={name}]").fill(value)
    return dialog


def test_a_double_click_submits_once(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    dialog = open_dialog(tab, job_name="once", time_limit="10")
    dialog.get_by_role("button", name="Submit", exact=True).dblclick()
    tab.get_by_text("is submitted").wait_for()
    assert count_jobs(site, "once") == 1


def test_the_second_click_does_not_fall_through_a_dialog_that_closed(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    dialog = open_dialog(tab)
    tab.evaluate("() => { window.clicks = 0; document.addEventListener('click', () => window.clicks++); }")
    dialog.get_by_role("button", name="Close").dblclick()
    dialog.wait_for(state="hidden")
    assert tab.evaluate("window.clicks") == 1


def test_a_lost_answer_is_asked_for_again(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    dialog = open_dialog(tab, job_name="lost")
    lost = []

    def lose(route: Any) -> None:
        if route.request.method == "POST" and not lost:
            lost.append(route.fetch())
            route.abort()
        else:
            route.continue_()

    tab.route("**/api/v1/jobs", lose)
    button = dialog.get_by_role("button", name="Submit", exact=True)
    button.click()
    dialog.get_by_text("The server gave no answer").wait_for()
    assert count_jobs(site, "lost") == 1
    button.click()
    tab.get_by_text("is submitted").wait_for()
    assert count_jobs(site, "lost") == 1
    tab.troubles.expect("ERR_FAILED")


def test_a_refusal_stands_at_its_field(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    dialog = open_dialog(tab, memory="much", partition="nowhere")
    dialog.get_by_role("button", name="Submit", exact=True).click()
    dialog.locator(".field.wrong[data-name=memory]").wait_for()
    dialog.locator("[name=memory]").fill("1GB")
    dialog.get_by_role("button", name="Submit", exact=True).click()
    dialog.locator(".field.wrong[data-name=partition]").wait_for()
    assert dialog.locator(".field.wrong").count() == 1
    tab.troubles.expect("400")


def test_a_draft_outlives_a_restart_and_closing(site: Server, open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    dialog = open_dialog(tab, job_name="draft of mine", memory="2GB")
    tab.wait_for_function("() => sessionStorage.getItem('draft:submit')?.includes('2GB')")
    site.end()
    dialog.get_by_role("button", name="Submit", exact=True).click()
    dialog.get_by_text("The server gave no answer").wait_for()
    dialog.get_by_role("button", name="Close").click()
    site.start()
    tab.reload()
    tab.get_by_role("heading", name="Jobs").wait_for()
    tab.get_by_role("button", name="Submit a job").first.click()
    assert dialog.locator("[name=job_name]").input_value() == "draft of mine"
    assert dialog.get_by_label("Script", exact=True).input_value() == SCRIPT
    dialog.get_by_role("button", name="Submit", exact=True).click()
    tab.get_by_text("is submitted").wait_for()
    assert count_jobs(site, "draft of mine") == 1
    tab.get_by_role("button", name="Submit a job").first.click()
    assert dialog.locator("[name=job_name]").input_value() == ""
    for trouble in ("ERR_CONNECTION_REFUSED",):
        tab.troubles.expect(trouble)
    tab.troubles[:] = [trouble for trouble in tab.troubles if "ERR_" not in trouble]


def test_running_again_is_filled_and_marks_what_was_changed(site: Server, open_tab: Callable[..., Any]) -> None:
    job_id = submit(
        site, "again", SCRIPT, memory="1GB", time_limit="0:20:00", environment={"COLOUR": "red", "API_KEY": "x"}
    )
    tab = open_tab(f"#/jobs/{job_id}")
    tab.get_by_role("button", name="Submit like this…").click()
    dialog = tab.get_by_role("dialog", name=f"Run job {job_id} again")
    dialog.get_by_label("Script", exact=True).wait_for()
    assert dialog.get_by_label("Script", exact=True).input_value() == SCRIPT
    assert dialog.locator("[name=time_limit]").input_value() == "0:20:00"
    assert dialog.locator("[name=environment]").input_value() == "COLOUR=red"
    dialog.get_by_text("API_KEY is secret and left out").wait_for()
    dialog.locator("[name=time_limit]").fill("0:30:00")
    dialog.locator(".field.changed[data-name=time_limit]").get_by_text("was 0:20:00").wait_for()
    assert dialog.locator(".field.changed").count() == 1
    with tab.expect_request("**/api/v1/jobs") as sending:
        dialog.get_by_role("button", name="Submit", exact=True).click()
    body = sending.value.post_data_json
    assert (body["time_limit"], body["memory"], body["script"]) == ("0:30:00", "1GB", SCRIPT)
    assert body["environment"] == {"COLOUR": "red"}
    tab.get_by_text("is submitted").wait_for()


def test_an_address_fills_the_form(open_tab: Callable[..., Any]) -> None:
    given = quote("job_name=from a link&nodes=1&script=#!/bin/bash\ntrue\n".replace("#", "%23"), safe="")
    tab = open_tab(f"#/jobs?submit={given}")
    dialog = tab.get_by_role("dialog")
    assert dialog.locator("[name=job_name]").input_value() == "from a link"
    assert dialog.get_by_label("Script", exact=True).input_value() == "#!/bin/bash\ntrue\n"
    dialog.get_by_role("button", name="Close").click()
    assert "submit" not in tab.url


def test_a_template_becomes_the_script(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("#/jobs")
    dialog = open_dialog(tab)
    dialog.get_by_label("Template", exact=True).select_option("base")
    dialog.get_by_label("Command for the template").fill("python train.py --name 'two words'")
    dialog.get_by_role("button", name="Fill in").click()
    tab.wait_for_function("() => document.querySelector('dialog textarea').value.includes('train.py')")
    assert "'two words'" in dialog.get_by_label("Script", exact=True).input_value()


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (400, False)])
def test_looks(open_tab: Callable[..., Any], width: int, dark: bool) -> None:
    tab = open_tab("#/jobs", width=width, dark=dark)
    dialog = open_dialog(tab)
    dialog.get_by_label("Template", exact=True).wait_for()
    check_looks(tab, width)

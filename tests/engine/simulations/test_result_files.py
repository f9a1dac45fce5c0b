"""Answers are put together from the files of results, and are the JSON that they would be if these were parsed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.server import Server
from engine.simulations import result_files
from engine.simulations.folders import RESULTS, find_folder
from slurm_shim.simulators.pages import PagesWriter
from store.documents import EstimatorFacts, Simulation
from store.errors import NotFound
from tests.engine.servers import written
from tests.engine.servers.opened import open_server
from tests.pretended import asynchronous
from tests.slurm_shim.simulators.work_folders import build_page
from tests.store.rules.simulations.samples import ID, make_simulation

HEAD = '{"name": "a", "pages": [\n{"dimensions": 0,\n'


def make_estimator(name: str, count: int, values: int = 3) -> dict[str, Any]:
    """Make an estimator of so many pages, whose texts look like pages."""
    made = [build_page([number + at / 7 for at in range(values)], [0.5] * values) for number in range(count)]
    for number, page in enumerate(made):
        page["metadata"] = {"page_number": str(number), "note": '\n{"dimensions": 1,\n]}]}'}
    return {"name": name, "metadata": {"by": "us"}, "pages": made}


def put_results(server: Server, *estimators: dict[str, Any]) -> Simulation:
    """Put results in place; return the simulation that has them."""
    folder = find_folder(server, ID, RESULTS)
    folder.mkdir(parents=True)
    facts = []
    for estimator in estimators:
        file = f"{estimator['name']}.json"
        pages = written.write_estimator(folder / file, estimator)
        facts.append(EstimatorFacts(name=estimator["name"], file=file, pages=pages))
    return make_simulation(estimators=facts, results="there")


async def read(pieces: AsyncIterator[bytes]) -> Any:
    """Read a whole answer."""
    return json.loads(b"".join([piece async for piece in pieces]))


@pytest.mark.parametrize("piece_bytes", [7, 64, 1 << 20])
@asynchronous
async def test_answers_are_those_of_the_parsed_files(
    tmp_path: Path, piece_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_files, "PIECE_BYTES", piece_bytes)
    result_files.find_pages.cache_clear()
    dose, fluence = make_estimator("dose_", 12), make_estimator("fluence é", 1, 3000)
    async with open_server(tmp_path / "store") as server:
        found = put_results(server, dose, fluence)
        answer = await read(result_files.stream_results(server, found))
        assert answer == {"message": "Results", "estimators": [dose, fluence]}
        answer = await read(result_files.stream_estimator(server, found, "dose"))
        assert answer == {"message": "Estimator", **dose}
        for numbers in ([0], [11], [3, 1, 11], list(range(12))):
            answer = await read(result_files.stream_pages(server, found, "dose_", numbers))
            assert answer == {"message": "Pages", "pages": [dose["pages"][number] for number in numbers]}
        answer = await read(result_files.stream_pages(server, found, "fluence é", [0], is_one=True))
        assert answer == {"message": "Page", "page": fluence["pages"][0]}


@asynchronous
async def test_pages_are_found_by_the_numbers_that_they_say(tmp_path: Path) -> None:
    estimator = make_estimator("dose", 3)
    for page, number in zip(estimator["pages"], ("7", "x", "5"), strict=True):
        page["metadata"]["page_number"] = number
    async with open_server(tmp_path / "store") as server:
        found = put_results(server, estimator)
        assert [page.page_number for page in found.estimators[0].pages] == [7, 1, 5]
        answer = await read(result_files.stream_pages(server, found, "dose", [5, 1]))
        assert answer["pages"] == [estimator["pages"][2], estimator["pages"][1]]


@asynchronous
async def test_what_is_not_there_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async with open_server(tmp_path / "store") as server:
        found = put_results(server, make_estimator("dose", 2))
        for pieces, said in [
            (result_files.stream_estimator(server, found, "flux"), "Estimator not found"),
            (result_files.stream_pages(server, found, "dose", [2]), "Page not found"),
            (result_files.stream_pages(server, make_simulation(), "dose", [0]), "Results are unavailable"),
        ]:
            with pytest.raises(NotFound, match=said):
                await anext(pieces)
        (find_folder(server, ID, RESULTS) / "dose.json").write_text('{"name": "dose", "metadata": {}, "pages": []}')
        with pytest.raises(NotFound, match="changed by hand"):
            await anext(result_files.stream_pages(server, found, "dose", [0]))
        (find_folder(server, ID, RESULTS) / "dose.json").unlink()
        with pytest.raises(NotFound):
            await anext(result_files.stream_estimator(server, found, "dose"))


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("empty", ""),
        ("other JSON", "[]\n"),
        ("no lines", '{"name": "a", "metadata": {}, "pages": []}\n'),
        ("torn number", HEAD + '"metadata": {},\n"data": {"values": [\n1,2e\n]}}\n]}\n'),
        ("no metadata", HEAD + '"data": {"values": [\n1\n]}}\n]}\n'),
        ("odd metadata", HEAD + '"metadata": 1,\n"data": {"values": [\n1\n]}}\n]}\n'),
        ("deep", '{"name": "a", "metadata": ' + "[" * 100_000 + "\n"),
    ],
)  # fmt: skip
def test_what_has_not_the_form_is_refused(tmp_path: Path, why: str, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(result_files.UnreadableResults):
        result_files.check_estimator(tmp_path / "a.json")


def test_a_whole_file_is_checked(tmp_path: Path) -> None:
    with PagesWriter(tmp_path / "a.json", "a", {}) as writer:
        for page in make_estimator("a", 3, 5000)["pages"]:
            writer.write_page(page)
    assert [page.page_number for page in result_files.check_estimator(tmp_path / "a.json")] == [0, 1, 2]

"""Reports between requests: their numbers, their files, and their e-mails, each sent once."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from engine.exports import cluster_reports, made_files
from slurm_shim.errors import SlurmUnreachable
from store.errors import Conflict, Invalid, NotFound
from store.kinds import Key
from tests.engine.servers.pretended import CALLER, HERE, World, open_server
from tests.mail_server import MailServer
from tests.pretended import asynchronous, job

BASE = "http://here/v1"
NOW = int(time.time())
MAIL = "smtp: {{host: 127.0.0.1, port: {port}, tls: none, from: sluice@example.com}}\n"
TO_ADMIN = {"method": "email", "email": "admin@example.com"}


def used(job_id: str, ago_s: int, **more: Any) -> dict[str, Any]:
    """A job that ran for an hour on 4 CPUs, half of which it used."""
    row = {
        "job_id": job_id, "name": "n", "user": "ann", "partition": "main", "state": "COMPLETED", "gpus": 0,
        "submit_time": NOW - ago_s - 3660, "start_time": NOW - ago_s - 3600, "end_time": NOW - ago_s, "cpu_count": 4,
        "cpu_s": 7200.0, "cpu_efficiency": 0.5, "memory_efficiency": 0.25,
    }  # fmt: skip
    return row | more


async def begin(world: World, **more: Any) -> str:
    body = {"type": "user_activity", "format": "json", **more}
    return str((await cluster_reports.create_report(world.server, body, None, CALLER, BASE)).value["report_id"])


async def make(world: World, **more: Any) -> Any:
    """The document of a report that was made, and its file."""
    name = await begin(world, **more)
    await cluster_reports.carry_out_report(world.server, name)
    return world.store.reports.get(name), made_files.find_path(world.server, "cluster_report", name)


@asynchronous
async def test_a_report_has_the_numbers_of_accounting_and_of_what_runs(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.slurm.used = [used("1", 600), used("2", 60, user="bob", state="FAILED"), used("3", 99 * 86_400)]
        began = time.time() - 1800
        await world.show_queue(job("4", user="ann", start_time=int(began), cpu_count=2))
        made, path = await make(world)
        assert (made.status, made.error) == ("completed", None)
        users = {row["user"]: row for row in json.loads(path.read_text())["tables"]["users"]}
        assert (users["ann"]["jobs"], users["bob"]["failed"], users["bob"]["cpu_hours"]) == (1, 1, 4.0)
        most = 4 + 2 * (time.time() - began + 1) / 3600
        assert 5.0 <= users["ann"]["cpu_hours"] <= round(most + 0.005, 2), "4 CPUs for an hour, and 2 since it began"
        assert users["ann"]["cpu_efficiency"] == 0.5 and users["ann"]["average_wait"] == "0:01:00"


@asynchronous
async def test_every_type_is_made_without_accounting_too(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        world.slurm.accounting = False
        await world.show_queue(job("4"))
        for kind in ("utilization", "user_activity", "job_summary", "efficiency", "node_health"):
            made, path = await make(world, type=kind, parameters={"partitions": ["nowhere"]})
            assert made.status == "completed", made.error
            notes = json.loads(path.read_text())["notes"]
            assert "The cluster has no partition called nowhere." in notes
            assert any("no accounting" in note for note in notes) == (kind != "node_health")


@asynchronous
async def test_accounting_that_is_away_fails_a_report_and_makes_no_zeros(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("4"))
        name = await begin(world)
        world.slurm.failure = SlurmUnreachable("sacct", "Problem talking to the database")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(made_files, "PAUSE_S", 0)
            await cluster_reports.carry_out_report(world.server, name)
        made = world.store.reports.get(name)
        assert made.status == "failed" and "database" in made.error


@asynchronous
async def test_the_period_stays_the_same_when_it_is_made_anew(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        name = await begin(world, parameters={"period": "week"})
        made = world.store.reports.get(name)
        assert made.until - made.since == 7 * 86_400
    async with open_server(tmp_path) as world:
        assert world.server.open_documents.take([None], time.monotonic()) == [Key("cluster_report", name)]
        await cluster_reports.carry_out_report(world.server, name)
        again = world.store.reports.get(name)
        assert (again.status, again.since) == ("completed", made.since) and again.cluster == HERE


@asynchronous
async def test_a_report_is_sent_once_however_often_it_is_made(tmp_path: Path) -> None:
    with MailServer() as mail:
        async with open_server(tmp_path, {"store/config.yaml": MAIL.format(port=mail.port)}) as world:
            made, path = await make(world, delivery=TO_ADMIN)
            outbox = world.server.notifications.outbox
            await world.store.reports.put(made.id, made.model_copy(update={"status": "processing"}))
            await cluster_reports.carry_out_report(world.server, made.id)
            assert list(world.store.deliveries.list_names()) == ["1"]
            await outbox.send("1")
            row = json.loads(cluster_reports.get_report(world.server, made.id, CALLER, BASE).data)
            assert row["delivery"] == {
                "method": "email",
                "email": "admin@example.com",
                "status": "delivered",
                "delivery_id": 1,
            }
            (message,) = mail.got
            (attached,) = message.iter_attachments()
            assert message["To"] == "admin@example.com" and message["From"] == "sluice@example.com"
            assert attached.get_filename() == made.filename
            assert attached.get_content_type() == "application/json" and json.loads(path.read_text())["type"]


@asynchronous
async def test_without_a_server_for_mail_a_report_by_mail_is_refused(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        with pytest.raises(Invalid) as refused:
            await begin(world, delivery=TO_ADMIN)
        (problem,) = refused.value.problems
        assert problem["loc"] == ["body", "delivery", "method"] and "smtp" in problem["msg"]


@asynchronous
async def test_what_is_refused(tmp_path: Path) -> None:
    async with open_server(tmp_path, {"store/config.yaml": MAIL.format(port=9)}) as world:
        for address in ("", "a b@example.com", "a@example.com\r\nBcc: all@example.com", "a@b,c@d", "a@", "Ann <a@b.c>"):
            with pytest.raises(Invalid, match="one address"):
                await begin(world, delivery={"method": "email", "email": address})
        for parameters in (
            {"start_date": "yesterday"},
            {"start_date": "2026-02-01", "end_date": "2026-01-01"},
            {"start_date": "1990-01-01", "end_date": "2026-01-01"},
        ):
            with pytest.raises(Invalid):
                await begin(world, parameters=parameters)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("importlib.util.find_spec", lambda _name: None)
            with pytest.raises(Invalid, match="pip install matplotlib"):
                await begin(world, format="pdf")
        name = await begin(world)
        with pytest.raises(Conflict):
            await cluster_reports.download_report(world.server, name, CALLER)
        await cluster_reports.delete_report(world.server, name, CALLER)
        with pytest.raises(NotFound):
            cluster_reports.get_report(world.server, name, CALLER, BASE)

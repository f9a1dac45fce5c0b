"""What a filter can say: told by what reads the filters, and taken by it."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.queue import filter_fields
from engine.queue.filter_fields import MOST_VALUES
from slurm_shim.ids import expand_hosts
from store.errors import Invalid
from store.rules.queue.job_fields import FIELDS
from store.rules.queue.job_filter import parse_filter
from store.rules.queue.job_query import parse_query
from tests.engine.servers.pretended import World, open_server
from tests.pretended import asynchronous, job

EVERY_OPERATOR = ("=", "!=", ">", "<", ">=", "<=", "~", "!~", "=~", "in", "not in")


async def list_fields(world: World) -> dict[str, dict[str, Any]]:
    """The fields by name."""
    answer = await filter_fields.list_filter_fields(world.server)
    return {field["name"]: field for field in orjson.loads(answer.value.data)["fields"]}


@asynchronous
async def test_each_field_takes_its_operators_and_no_others(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        fields = await list_fields(world)
        assert list(fields) == list(FIELDS)
        for field, operator in itertools.product(fields.values(), EVERY_OPERATOR):
            value = "12345" if field["name"] == "job_id" else field["example"]
            if field["kind"] == "hosts" and operator in (">", "<", ">=", "<="):
                value = "4"  # the number of them
            for name in (field["name"], *field["aliases"]):
                text = f"{name} {operator} {value}"
                if operator in field["operators"]:
                    parse_filter(text, time.time(), expand_hosts)
                else:
                    with pytest.raises(Invalid):
                        parse_filter(text, time.time(), expand_hosts)


@asynchronous
async def test_which_fields_sort(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        for name, field in (await list_fields(world)).items():
            if field["can_sort"]:
                parse_query(expand_hosts, 0, sort=name)
            else:
                with pytest.raises(Invalid):
                    parse_query(expand_hosts, 0, sort=name)


@asynchronous
async def test_values_are_those_that_are_there(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("1", user="ann"), job("2", user="bob"), job("3", user="bob", account="physics"))
        fields = await list_fields(world)
        assert fields["user"]["values"] == ["bob", "ann"], "the most frequent first"
        assert "physics" in fields["account"]["values"]
        assert {row["name"] for row in world.server.cluster.snapshot.partitions} <= {*fields["partition"]["values"]}
        assert [node["name"] for node in world.server.cluster.snapshot.nodes] == fields["nodes"]["values"]
        assert {"RUNNING", "OUT_OF_MEMORY"} <= {*fields["state"]["values"]}
        assert fields["job_name"]["values"] == [], "as many as jobs"
        await world.show_queue(*(job(str(at), user=f"u{at}") for at in range(MOST_VALUES + 50)))
        assert len((await list_fields(world))["user"]["values"]) == MOST_VALUES


@asynchronous
async def test_they_are_kept_until_a_change(tmp_path: Path) -> None:
    async with open_server(tmp_path) as world:
        await world.show_queue(job("1"))
        first, second = [(await filter_fields.list_filter_fields(world.server)).value for _ in range(2)]
        assert first is second
        await world.show_queue(job("2", user="zoe"))
        assert "zoe" in (await list_fields(world))["user"]["values"]

"""What a report changes, row by row of what the Status API's document leaves open, and what SLURM adds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.documents import JobRecord, Report, to_json
from store.errors import NotFound, TooLarge
from store.indexes import jobs
from store.rules import reports

NOW = 1_737_887_500.0  # 2025-01-26T10:31:40Z
SENT = "2025-01-26T10:30:00Z"
POST: dict[str, Any] = {"job_id": "12345", "job_name": "benchmark-run", "submitted_at": SENT}


class Told:
    """A record that is told things, one after the other; each event would have the next number."""

    def __init__(self) -> None:
        self.record: JobRecord | None = None
        self.number = 0

    def post(self, **more: Any) -> Report:
        """The report after a submission like the usual one."""
        return self._after(reports.apply_submission(self.record, {**POST, **more}, self._next(), NOW, "me"))

    def put(self, status: str, now: float = NOW, **more: Any) -> Report:
        """The report after an update."""
        body = {"status": status, **more}
        return self._after(reports.apply_update(self.record, "12345", body, self._next(), now, "me"))

    def slurm(self, state: str, **more: Any) -> Report:
        """The report after SLURM has said how the job ended."""
        assert self.record is not None
        return self._after(reports.apply_end(self.record, row(state=state, **more), self._next(), NOW))

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _after(self, record: JobRecord) -> Report:
        self.record = JobRecord.model_validate_json(to_json(record))
        assert self.record.report is not None
        return self.record.report


def row(**more: Any) -> dict[str, Any]:
    """A row as SLURM gives it."""
    same = {"job_id": "12345", "name": "benchmark-run", "state": "RUNNING", "exit_code": None}
    return {**same, "submit_time": int(NOW) - 100, "end_time": None, **more}


def events(report: Report) -> list[tuple[str, str | None, str | None]]:
    """What the events say."""
    return [(event.status, event.stage, event.message) for event in report.events]


@pytest.fixture
def reporter() -> Told:
    """A job that nobody has heard of."""
    return Told()


# --- an update of an unknown job -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "body", "expected"),
    [
        (
            "nothing but a status",
            {},
            {"job_name": "job-12345", "cluster": None, "submitted_at": "2025-01-26T10:31:40Z"},
        ),
        ("a name in the metadata", {"metadata": {"job_name": "llama"}}, {"job_name": "llama"}),
        ("a name that is none", {"metadata": {"job_name": 3}}, {"job_name": "job-12345"}),
        ("a cluster in the metadata", {"metadata": {"cluster": "c1"}}, {"cluster": "c1"}),
        ("a cluster that is none", {"metadata": {"cluster": ["c1"]}}, {"cluster": None}),
        ("when it started", {"started_at": SENT, "updated_at": "2025-01-26T10:31:00Z"}, {"submitted_at": SENT}),
        ("when it wrote", {"updated_at": "2025-01-26T10:31:00Z"}, {"submitted_at": "2025-01-26T10:31:00Z"}),
    ],
)
def test_a_placeholder(reporter: Told, why: str, body: dict[str, Any], expected: dict[str, Any]) -> None:
    report = reporter.put("starting", **body)
    assert {key: getattr(report, key) for key in expected} == expected
    assert report.placeholder and report.status == "starting"
    assert events(report) == [("starting", None, None)]


def test_a_late_submission_completes_a_placeholder(reporter: Told) -> None:
    reporter.put("workers", stage="workers", updated_at="2025-01-26T10:31:00Z", metadata={"head_node": "n1"})
    report = reporter.post(cluster="c1", recipe="r.yaml", metadata={"tags": ["a:b"]})
    assert (report.status, report.stage) == ("workers", "workers"), "it never rewinds"
    assert (report.job_name, report.cluster, report.recipe) == ("benchmark-run", "c1", "r.yaml")
    assert report.submitted_at == SENT and not report.placeholder
    assert report.metadata == {"head_node": "n1", "tags": ["a:b"]}
    assert events(report) == [("workers", "workers", None)], "and is no event"


def test_a_placeholder_takes_its_name_when_it_hears_it(reporter: Told) -> None:
    reporter.put("starting")
    assert reporter.put("starting", metadata={"job_name": "llama"}).job_name == "llama"
    assert reporter.put("starting", metadata={"job_name": "other"}).job_name == "llama"


def test_a_late_submission_does_not_rename_a_job_that_said_its_name(reporter: Told) -> None:
    reporter.put("starting", metadata={"job_name": "llama"})
    report = reporter.post()
    assert (report.job_name, report.placeholder) == ("llama", False)


# --- a submission told twice -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "first", "second", "expected"),
    [
        ("the status stays", {}, {}, {"status": "benchmark", "stage": "benchmark"}),
        ("an empty cluster is filled", {}, {"cluster": "c2"}, {"cluster": "c2"}),
        ("a known cluster stays", {"cluster": "c1"}, {"cluster": "c2"}, {"cluster": "c1"}),
        ("a known recipe stays", {"recipe": "a"}, {"recipe": "b"}, {"recipe": "a"}),
        ("a name stays", {}, {"job_name": "other"}, {"job_name": "benchmark-run"}),
        ("also one as a placeholder has", {"job_name": "job-12345"}, {"job_name": "other"}, {"job_name": "job-12345"}),
        ("earlier counts", {}, {"submitted_at": "2025-01-26T10:29:00Z"}, {"submitted_at": "2025-01-26T10:29:00Z"}),
        ("earlier in another zone", {}, {"submitted_at": "2025-01-26T11:29:00+01:00"},
         {"submitted_at": "2025-01-26T11:29:00+01:00"}),
        ("later does not", {}, {"submitted_at": "2025-01-26T10:31:00Z"}, {"submitted_at": SENT}),
        ("metadata is merged", {"metadata": {"a": 1}}, {"metadata": {"b": 2}}, {"metadata": {"a": 1, "b": 2}}),
        ("nothing takes nothing away", {"metadata": {"a": 1}}, {"metadata": None}, {"metadata": {"a": 1}}),
    ],
)  # fmt: skip
def test_a_second_submission(
    reporter: Told, why: str, first: dict[str, Any], second: dict[str, Any], expected: dict[str, Any]
) -> None:
    reporter.post(**first)
    before = reporter.put("benchmark", stage="benchmark")
    report = reporter.post(**second)
    assert {key: getattr(report, key) for key in expected} == expected
    assert events(report) == events(before), "no event"


def test_a_submission_that_says_nothing_new_changes_nothing(reporter: Told) -> None:
    reporter.post(metadata={"a": {"b": None}})
    assert (
        reports.apply_submission(reporter.record, {**POST, "metadata": {"a": {}}}, 9, NOW + 60, "me") is reporter.record
    )


def test_an_exit_code_is_kept_as_an_integer(reporter: Told) -> None:
    assert repr(reporter.put("completed", exit_code=1.0).exit_code) == "1", "JSON has 1.0 for 1"


# --- what an update changes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "first", "second", "expected"),
    [
        ("results are replaced", {"benchmark_results": {"a": 1}}, {"benchmark_results": {"b": 2}},
         {"benchmark_results": {"b": 2}}),
        ("absent is kept", {"logs_url": "s3://x", "exit_code": 1}, {}, {"logs_url": "s3://x", "exit_code": 1}),
        ("null is kept", {"logs_url": "s3://x"}, {"logs_url": None, "exit_code": None}, {"logs_url": "s3://x"}),
        ("zero is a value", {"exit_code": 1}, {"exit_code": 0}, {"exit_code": 0}),
        ("the message is kept", {"message": "m"}, {}, {"message": "m"}),
        ("the stage is kept", {"stage": "workers"}, {}, {"stage": "workers"}),
        ("an empty message is one", {"message": "m"}, {"message": ""}, {"message": ""}),
        ("the job's own clock", {}, {"updated_at": SENT}, {"updated_at": SENT}),
        ("else ours", {}, {}, {"updated_at": "2025-01-26T10:31:40Z"}),
        ("artifacts are merged", {"artifacts": {"a": {"x": 1}}}, {"artifacts": {"a": {"y": 2}}},
         {"artifacts": {"a": {"x": 1, "y": 2}}}),
        ("metadata is merged deeply", {"metadata": {"model": {"path": "p", "container": "c"}, "isl": None}},
         {"metadata": {"model": {"path": "q"}, "isl": 1024}},
         {"metadata": {"model": {"path": "q", "container": "c"}, "isl": 1024}}),
        ("a nested null deletes nothing", {"metadata": {"isl": 1024}}, {"metadata": {"isl": None, "osl": None}},
         {"metadata": {"isl": 1024, "osl": None}}),
        ("a list is replaced", {"metadata": {"tags": ["a", "b"]}}, {"metadata": {"tags": ["c"]}},
         {"metadata": {"tags": ["c"]}}),
        ("an end is not the end", {"status": "failed"}, {"status": "benchmark"}, {"status": "benchmark"}),
    ],
)  # fmt: skip
def test_an_update(
    reporter: Told, why: str, first: dict[str, Any], second: dict[str, Any], expected: dict[str, Any]
) -> None:
    reporter.post()
    reporter.put(**{"status": "starting", **first})
    report = reporter.put(**{"status": "workers", **second})
    assert {key: getattr(report, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("why", "puts", "expected"),
    [
        ("a first word", [{"status": "submitted"}], 1),
        ("the same once more", [{"status": "failed"}, {"status": "failed"}], 2),
        ("another message", [{"status": "benchmark", "message": "a"}, {"status": "benchmark", "message": "b"}], 3),
        ("another stage", [{"status": "starting"}, {"status": "starting", "stage": "head_infrastructure"}], 3),
        ("back again", [{"status": "failed"}, {"status": "benchmark"}, {"status": "failed"}], 4),
        ("only results", [{"status": "completed"}, {"status": "completed", "exit_code": 0}], 2),
    ],
)
def test_an_event_is_a_change(reporter: Told, why: str, puts: list[dict[str, Any]], expected: int) -> None:
    report = reporter.post()
    for body in puts:
        report = reporter.put(**body)
    assert len(report.events) == expected
    numbers = [event.id for event in report.events]
    assert numbers == sorted(set(numbers))


def test_the_first_event_is_the_submission_and_absent_is_null_in_events(reporter: Told) -> None:
    reporter.post()
    reporter.put("workers", stage="workers", message="Starting workers")
    report = reporter.put("frontend")
    assert events(report) == [
        ("submitted", None, None), ("workers", "workers", "Starting workers"), ("frontend", None, None),
    ]  # fmt: skip
    assert (report.stage, report.message) == ("workers", "Starting workers"), "the job keeps the last ones"


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_a_long_last_word_is_cut_and_not_lost(reporter: Told) -> None:
    report = reporter.put("failed", message="x" * 100_000)
    assert report.status == "failed" and report.message is not None
    assert len(report.message) == reports.MESSAGE_CHARS and report.message.endswith("x…")


def test_the_first_and_the_last_events_stay(reporter: Told) -> None:
    reporter.post()
    record = reporter.record
    for number in range(2, reports.EVENTS + 50):
        record = reports.apply_update(
            record, "12345", {"status": "benchmark", "message": f"step {number}"}, number, NOW, "me"
        )
    assert record is not None and record.report is not None
    numbers = [event.id for event in record.report.events]
    assert len(numbers) == reports.EVENTS and numbers[0] == 1 and numbers[-1] == reports.EVENTS + 49
    assert numbers[1:] == list(range(numbers[1], numbers[-1] + 1)), "without a gap"


def test_a_record_cannot_grow_without_end(reporter: Told) -> None:
    reporter.post()
    with pytest.raises(TooLarge):
        for number in range(10):
            reporter.put("benchmark", metadata={f"part-{number}": "x" * 500_000})


# --- what SLURM adds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("CANCELLED", "failed"), ("TIMEOUT", "timeout"), ("DEADLINE", "timeout"), ("NODE_FAIL", "failed"),
        ("OUT_OF_MEMORY", "failed"), ("FAILED", "failed"), ("PREEMPTED", "failed"), ("BOOT_FAIL", "failed"),
        ("COMPLETED", "completed"),
    ],
)  # fmt: skip
def test_a_job_that_died(reporter: Told, state: str, status: str) -> None:
    reporter.post()
    reporter.put("benchmark", stage="benchmark", message="Running benchmark")
    report = reporter.slurm(state, end_time=int(NOW), exit_code=15)
    assert (report.status, report.stage, report.slurm_state) == (status, "benchmark", state)
    assert (report.completed_at, report.exit_code) == ("2025-01-26T10:31:40Z", 15)
    assert report.events[-1].source == "slurm" and f"SLURM says {state}" in (report.events[-1].message or "")
    assert {event.source for event in report.events[:-1]} == {"report"}


def test_a_later_report_wins(reporter: Told) -> None:
    reporter.post()
    reporter.put("benchmark")
    reporter.slurm("NODE_FAIL", exit_code=1)
    report = reporter.put("completed", exit_code=0, message="Benchmark completed successfully")
    assert (report.status, report.exit_code) == ("completed", 0)
    assert report.slurm_state == "NODE_FAIL", "beside it, what SLURM said"
    assert reporter.slurm("CANCELLED").status == "completed"
    assert reporter.put("starting").slurm_state is None, "it lives again"


def test_what_a_job_told_of_its_end_stands_beside_what_slurm_says(reporter: Told) -> None:
    reporter.post()
    before = reporter.put("completed", exit_code=0)
    report = reporter.slurm("TIMEOUT", exit_code=1)
    assert (report.status, report.exit_code, report.slurm_state) == ("completed", 0, "TIMEOUT")
    assert events(report) == events(before)


@pytest.mark.parametrize(
    ("why", "job", "label", "same"),
    [
        ("its own", {}, None, True),
        ("on our cluster", {}, "ours", True),
        ("an empty name", {}, "", True),
        ("reported before it was submitted: ids are counted anew", {"submit_time": int(NOW) + 3600}, None, False),
        ("clocks differ", {"submit_time": int(NOW) + 30}, None, True),
        ("over long before it reported", {"state": "FAILED", "end_time": int(NOW) - 3600}, None, False),
        ("its last word came late", {"state": "FAILED", "end_time": int(NOW) - 60}, None, True),
        ("another cluster's", {"name": "x"}, "theirs", False),
        ("another word for ours", {}, "gpu-cluster-01", True),
        ("when it was submitted is not known", {"submit_time": None}, None, True),
    ],
)
def test_whose_report_it_is(reporter: Told, why: str, job: dict[str, Any], label: str | None, same: bool) -> None:
    report = reporter.post(cluster=label)
    assert reports.is_same_job(reports.summarize_report(report, "{}"), row(**job), "ours") is same
    summary = reports.summarize_report(report, "{}")
    ahead = {key: value + 300 for key, value in job.items() if isinstance(value, int)}
    assert reports.is_same_job(summary, row(**job | ahead), "ours", 300) is same, "also by a clock that is ahead"
    assert not reports.is_job_over(
        reports.summarize_report(report, "{}"), row(**{"state": "RUNNING", **job, **RUNNING}), "ours"
    )


RUNNING = {"state": "RUNNING", "end_time": None}


@pytest.mark.parametrize(
    ("why", "job_id", "status", "slurm_state", "age_s", "awaited"),
    [
        ("it runs", "12345", "benchmark", None, 0, True),
        ("an array task", "123_4", "benchmark", None, 0, True),
        ("a component", "123+0", "benchmark", None, 0, True),
        ("no id of SLURM's", "local-1", "benchmark", None, 0, False),
        ("one that could be an option", "-1", "benchmark", None, 0, False),
        ("silent for a week", "12345", "benchmark", None, 604_800, True),
        ("it ended a moment ago", "12345", "completed", None, 5, True),
        ("it ended yesterday", "12345", "completed", None, 86_400, False),
        ("SLURM has said it", "12345", "failed", "CANCELLED", 5, False),
    ],
)
def test_what_slurm_may_have_to_say(
    why: str, job_id: str, status: str, slurm_state: str | None, age_s: float, awaited: bool
) -> None:
    record = reports.apply_update(None, job_id, {"status": status}, 1, NOW, "me")
    assert record.report is not None
    summary = reports.summarize_report(record.report.model_copy(update={"slurm_state": slurm_state}), "{}")
    assert reports.is_awaited(summary, NOW + age_s) is awaited


# --- names and facts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job_id", ["12345", "123_4", "123+0", "local-1", "a.b@c"])
def test_an_id_is_its_records_name(job_id: str) -> None:
    assert reports.to_record_name(job_id) == job_id


@pytest.mark.parametrize(
    "job_id", ["a1b2c3d4-e5f6-7890-abcd-ef1234567890", "_a", "a:b", "é", "x" * 101, "-1", "@", "~"]
)
def test_an_id_that_is_no_name_of_its_own_gets_one(job_id: str) -> None:
    assert reports.to_record_name(job_id) != job_id
    assert reports.to_record_name(job_id) == reports.to_record_name(job_id)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=2, max_size=2, unique=True))
def test_no_two_ids_share_a_record(job_ids: list[str]) -> None:
    assert len({reports.to_record_name(job_id) for job_id in job_ids}) == 2


def test_a_record_under_another_ids_name_is_not_its(reporter: Told) -> None:
    reporter.post()
    with pytest.raises(NotFound):
        reports.get_report(reporter.record, "54321")


def test_a_report_is_no_job_of_ours_and_its_facts_survive_json(reporter: Told) -> None:
    import orjson

    reporter.post(metadata={"tags": ["a:b", 3]})
    assert reporter.record is not None
    facts = jobs.build_facts(reporter.record)
    assert not facts.open and facts.jobs == () and facts.report is not None
    assert facts.report.tags == ("a:b",) and facts.report.events == (1,)
    assert jobs.restore_facts(orjson.loads(orjson.dumps(facts, default=tuple))) == facts


LEAVES = st.none() | st.integers(0, 3)
INNER = st.dictionaries(st.sampled_from("xy"), LEAVES, max_size=2)
OBJECTS = st.dictionaries(st.sampled_from("abc"), LEAVES | INNER, max_size=3)


@given(OBJECTS, OBJECTS)
def test_a_merge_loses_no_key_and_is_settled_at_once(old: dict[str, Any], new: dict[str, Any]) -> None:
    both = reports.merge_values(old, new)
    assert set(both) == set(old) | set(new)
    assert all(both[key] is not None for key in old if old[key] is not None)
    assert all(both[key] == new[key] for key in new if not isinstance(new[key], dict | None))
    assert reports.merge_values(both, new) == both

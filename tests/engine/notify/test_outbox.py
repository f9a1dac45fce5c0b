"""What there is to tell, to whom, and what becomes of it: tables, a model that crashes anywhere, and a real outbox that
dies at every write."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.notify.webhooks import Answer, NotSent
from engine.tasks import Supervisor
from store.documents import Attempt, Run, RunJob, Sweep
from store.errors import Conflict, Exists, Invalid
from store.rules import deliveries, messages, watches
from store.rules.deliveries import Delivery
from store.times import to_rfc3339
from tests.engine.notify.mortal_outbox import (
    AT,
    ENDPOINTS,
    NOW,
    REF,
    Life,
    Receivers,
    begin,
    documents,
    live,
    watch,
)  # fmt: skip


def job(state: str, **more: Any) -> dict[str, Any]:
    return {"name": "n", "state": state, "submitted_at": AT, **more}


# --- what there is to tell -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "job", "statuses"),
    [
        ("it waits", job("PENDING"), ["PENDING"]),
        ("it runs", job("RUNNING", started_at=AT), ["PENDING", "RUNNING"]),
        ("it is suspended, which is a kind of running", job("SUSPENDED"), ["PENDING", "RUNNING"]),
        ("it ran", job("COMPLETED", started_at=AT, ended_at=AT), ["PENDING", "RUNNING", "COMPLETED"]),
        ("it never ran", job("CANCELLED", ended_at=AT), ["PENDING", "CANCELLED"]),
        ("its node died", job("NODE_FAIL", started_at=AT), ["PENDING", "RUNNING", "FAILED"]),
        ("SLURM has forgotten it", job("LOST"), ["PENDING", "UNKNOWN"]),
        ("SLURM has forgotten it, and so have we", {"state": "LOST"}, ["UNKNOWN"]),
        ("a state of a SLURM to come", job("DREAMING"), ["PENDING"]),
        ("nothing is known of it yet", {"state": None}, []),
    ],
)
def test_the_events_of_a_job(why: str, job: dict[str, Any], statuses: list[str]) -> None:
    events = watches.list_job_events(REF, job)
    assert [event.status for event in events] == statuses, why
    assert [event.over for event in events] == [status not in ("PENDING", "RUNNING") for status in statuses]
    assert len({watches.make_idempotency_key(event) for event in events}) == len(events)
    for event in events:
        assert event.over or not event.more.get("ended_at"), "what is to come is not told before it came"


def run_of(status: str, job_id: str | None = "1", before: int = 0, completed: str | None = None) -> Run:
    tried = [Attempt(number=1, tag="t", job_id="0")] * before + [Attempt(number=2, tag="u", job_id=job_id)]
    job = RunJob(name="a", attempts=tried, attempts_before=before)
    return Run(id="r", workflow_name="w", status=status, started_at=AT, completed_at=completed, jobs=[job])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("why", "run", "statuses"),
    [
        ("not started", run_of("submitting", None), []),
        ("running", run_of("running"), ["running"]),
        ("over", run_of("completed", completed=AT), ["running", "completed"]),
        ("over before anything ran", run_of("failed", None, completed=AT), ["failed"]),
        ("waiting to run again", run_of("pending", before=1), []),
    ],
)
def test_the_events_of_a_run(why: str, run: Run, statuses: list[str]) -> None:
    assert [event.status for event in watches.list_run_events(run)] == statuses, why


def test_a_run_that_runs_again_has_news_again() -> None:
    first, second = run_of("completed", completed=AT), run_of("completed", before=1, completed=AT)
    assert not {event.key for event in watches.list_run_events(first)} & {
        event.key for event in watches.list_run_events(second)
    }


def sweep_of(status: str, **more: Any) -> Sweep:
    given = {"name": "s", "workflow_name": "s", "workflow_text": "", "matrix": {}, "cell_count": 3, "started_at": AT}
    return Sweep(id="7", uid="u", status=status, **{**given, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("why", "sweep", "counts", "statuses"),
    [
        ("nothing runs yet", sweep_of("pending"), {"pending": 3}, []),
        ("running", sweep_of("running"), {"running": 1}, ["running"]),
        ("told to end", sweep_of("draining", cancel_requested_at=AT), {"running": 1}, ["draining"]),
        ("over", sweep_of("failed", completed_at=AT), {"completed": 2, "failed": 1}, ["running", "failed"]),
        ("over before anything ran", sweep_of("cancelled", completed_at=AT), {"cancelled": 3}, ["cancelled"]),
    ],
)
def test_the_events_of_a_sweep(why: str, sweep: Sweep, counts: dict[str, int], statuses: list[str]) -> None:
    events = watches.list_sweep_events(sweep, counts, "it broke")
    assert [event.status for event in events] == statuses, why
    assert all((event.more["representative_error"] == "it broke") for event in events)


@pytest.mark.parametrize(
    ("preset", "heard"),
    [
        ("terminal", ["COMPLETED"]),
        ("running_and_terminal", ["RUNNING", "COMPLETED"]),
        ("all", ["PENDING", "RUNNING", "COMPLETED"]),
        ("digest", []),
    ],
)
def test_what_a_preset_hears(preset: str, heard: list[str]) -> None:
    events = watches.list_job_events(REF, job("COMPLETED", started_at=AT))
    assert [event.status for event in events if watches.is_wanted(preset, event)] == heard


def test_a_watch_tells_once_and_closes() -> None:
    job_watch = watch((1, "all"), (2, "terminal"), (3, "all"))
    events = watches.list_job_events(REF, job("RUNNING", started_at=AT))
    job_watch, wanted = watches.advance_watch(job_watch, events, False, lambda number: number != 3, NOW)
    assert [(each.event.status, each.subscription.endpoint_id) for each in wanted] == [("PENDING", 1), ("RUNNING", 1)]
    assert watches.advance_watch(job_watch, events, False, lambda _: True, NOW) == (job_watch, [])
    events = watches.list_job_events(REF, job("FAILED", started_at=AT, ended_at=AT))
    job_watch, wanted = watches.advance_watch(job_watch, events, False, lambda _: True, NOW)
    assert [(each.event.status, each.subscription.endpoint_id) for each in wanted] == [
        ("FAILED", 1),
        ("FAILED", 2),
        ("FAILED", 3),
    ]
    assert job_watch.closed_at
    assert watches.advance_watch(job_watch, events, False, lambda _: True, NOW) == (job_watch, [])
    with pytest.raises(Conflict):
        watches.add_subscription(job_watch, 9, 9, "all", NOW)


def test_a_watch_of_what_is_gone_closes_silently() -> None:
    job_watch, wanted = watches.advance_watch(watch((1, "all")), [], True, lambda _: True, NOW)
    assert job_watch.closed_at and wanted == []


def test_an_endpoint_subscribes_once() -> None:
    with pytest.raises(Exists):
        watches.add_subscription(watch((1, "all")), 2, 1, "terminal", NOW)
    with pytest.raises(Invalid):
        watches.refuse_if_over(watches.list_job_events(REF, job("COMPLETED")))


# --- what becomes of a delivery --------------------------------------------------------------------------------------


def delivery(**more: Any) -> Delivery:
    event = watches.list_job_events(REF, job("COMPLETED"))[-1]
    job_watch = watch((1, "terminal"))
    return deliveries.build_delivery(
        job_watch, watches.MatchedEvent(event, job_watch.subscriptions[0]), NOW
    ).model_copy(update={"id": "1", **more})


@pytest.mark.parametrize(
    ("attempt", "wait_s", "status", "pause_s"),
    [
        (1, 0, "pending", 10),
        (2, 0, "pending", 20),
        (3, 0, "pending", 40),
        (4, 0, "pending", 80),
        (5, 0, "abandoned", None),
        (1, 120, "pending", 120),
        (1, 999_999, "pending", 3600),
        (4, 1, "pending", 80),
    ],
)
def test_the_pauses_between_attempts(attempt: int, wait_s: float, status: str, pause_s: int | None) -> None:
    document = deliveries.claim_delivery(delivery(attempt_count=attempt - 1), "w", NOW)
    assert document.attempt_count == attempt and document.leased_until == to_rfc3339(NOW + 300)
    after = deliveries.retry_or_abandon(document, "x" * 1000, NOW, wait_s)
    assert after.status == status and after.leased_until is after.worker_id is None
    assert len(after.last_error or "") == 300
    if pause_s is not None:
        assert after.next_attempt_at == to_rfc3339(NOW + pause_s)
        assert not deliveries.is_due(after, NOW + pause_s - 1) and deliveries.is_due(after, NOW + pause_s)


@pytest.mark.parametrize(
    ("why", "kind", "handed", "status", "attempts"),
    [
        ("nothing had left", "webhook", False, "pending", 0),
        ("nothing had left", "slack_webhook", False, "pending", 0),
        ("the receiver can tell that it is the same", "webhook", True, "pending", 1),
        ("Slack cannot", "slack_webhook", True, "abandoned", 1),
    ],
)
def test_what_becomes_of_an_attempt_that_was_cut_off(
    why: str, kind: str, handed: bool, status: str, attempts: int
) -> None:
    document = deliveries.claim_delivery(delivery(), "gone", NOW)
    document = deliveries.mark_handed(document, NOW) if handed else document
    after = deliveries.recover_delivery(document, kind, NOW)
    assert (after.status, after.attempt_count) == (status, attempts), why
    assert (after.last_error is None) == (not handed)
    assert deliveries.recover_delivery(delivery(), kind, NOW) == delivery()


@pytest.mark.parametrize(
    ("why", "more", "stuck"),
    [
        ("due long ago", {"next_attempt_at": to_rfc3339(NOW - 300)}, True),
        ("due a moment ago", {"next_attempt_at": to_rfc3339(NOW - 299)}, False),
        ("being sent", {"status": "sending", "leased_until": to_rfc3339(NOW + 1)}, False),
        ("its lease ran out long ago", {"status": "sending", "leased_until": to_rfc3339(NOW - 301)}, True),
        ("delivered", {"status": "delivered", "next_attempt_at": to_rfc3339(NOW - 9000)}, False),
        ("abandoned", {"status": "abandoned", "next_attempt_at": to_rfc3339(NOW - 9000)}, False),
    ],
)
def test_what_is_stuck(why: str, more: dict[str, Any], stuck: bool) -> None:
    assert deliveries.is_stuck(delivery(**more), 300, NOW) is stuck, why


def test_what_is_kept() -> None:
    known = [
        delivery(id=str(number), status=status, created_at=to_rfc3339(NOW - days * 86_400))
        for number, (status, days) in enumerate(
            [
                ("delivered", 40),
                ("pending", 40),
                ("abandoned", 31),
                ("delivered", 2),
                ("delivered", 1),
                ("sending", 50),
            ],
            1,
        )
    ]
    assert set(deliveries.list_expired(known, 30, 100, NOW)) == {"1", "2", "3"}
    assert set(deliveries.list_expired(known, 30, 1, NOW)) == {"1", "2", "3", "4"}
    assert set(deliveries.list_expired(known, 1000, 0, NOW)) == {"1", "3", "4", "5"}


# --- what a message says ---------------------------------------------------------------------------------------------


@given(st.text(max_size=400), st.text(max_size=3000), st.text(max_size=100))
def test_no_name_becomes_markup_or_a_line_of_its_own(name: str, error: str, workflow: str) -> None:
    said = {"target_ref": "workflow_run:x", "status": "failed", "name": name, "error": error, "run_id": "r"}
    text = messages.format_text({**said, "workflow_name": workflow})
    assert "<" not in text and ">" not in text
    assert len(text) <= messages.TEXT_CHARACTERS and len(text.splitlines()) <= 3
    plain = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
    assert "&" not in plain


def test_the_body_for_a_webhook_names_the_event() -> None:
    import json

    document = delivery()
    body = json.loads(messages.build_body("webhook", document))
    assert (body["id"], body["status"], body["target_ref"]) == (document.idempotency_key, "COMPLETED", REF)
    slack = json.loads(messages.build_body("slack_webhook", document))
    assert slack["text"].startswith("✅ Job 42 (n): COMPLETED") and slack["link_names"] is False


def test_an_alert_is_told_in_two_lines() -> None:
    said = {"target_ref": "alert:alert_1f", "status": "critical", "name": "Nodes unavailable"}
    said["message"] = "3 of 4 nodes"
    assert messages.format_text(said) == "🚨 Alert alert_1f (Nodes unavailable): critical\n3 of 4 nodes"
    assert messages.format_text({**said, "status": "resolved"}) == "✅ Alert alert_1f (Nodes unavailable): resolved"


# --- a model that crashes anywhere -----------------------------------------------------------------------------------

KINDS = {1: "webhook", 2: "slack_webhook"}
LIFE = ["PENDING", "RUNNING", "COMPLETED"]
# How a receiver may behave: whether it has the message then, and whether anybody hears of it.
BEHAVIOURS = {
    "takes": (True, 200),
    "refuses": (False, 500),
    "takes and is silent": (True, None),
    "is silent": (False, None),
}


class Crashing(RuleBasedStateMachine):
    """One job, two endpoints; every step of the effect is a write to `disk`, and after any of them all may be over."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.state = 0
        self.watch = watch((1, "all"), (2, "all"))
        self.disk: dict[int, Delivery] = {}
        self.taken: Counter[tuple[int, str]] = Counter()

    def events(self) -> list[watches.Event]:
        state = LIFE[self.state]
        times = {"started_at": AT if self.state else None, "ended_at": AT if self.state == 2 else None}
        return watches.list_job_events(REF, job(state, **times))

    @precondition(lambda self: self.state < 2)
    @rule(far=st.integers(1, 2))
    def the_job_goes_on(self, far: int) -> None:
        self.state = min(2, self.state + far)

    @rule(writes=st.integers(0, 7))
    def tell(self, writes: int) -> None:
        """As far as so many writes get."""
        advanced, wanted = watches.advance_watch(self.watch, self.events(), False, lambda _: True, self.now)
        keys = {(document.endpoint_id, document.idempotency_key) for document in self.disk.values()}
        for match in wanted:
            made = deliveries.build_delivery(self.watch, match, self.now)
            if (made.endpoint_id, made.idempotency_key) in keys:
                continue
            if not writes:
                return
            writes -= 1
            number = len(self.disk) + 1
            self.disk[number] = made.model_copy(update={"id": str(number)})
        if writes:
            self.watch = advanced

    @precondition(lambda self: any(deliveries.is_due(document, self.now) for document in self.disk.values()))
    @rule(data=st.data(), behaviour=st.sampled_from([*BEHAVIOURS, "is away"]), cut=st.sampled_from([None, 0, 1, 2]))
    def attempt(self, data: st.DataObject, behaviour: str, cut: int | None) -> None:
        """Cut off after the claim (0), when it was handed over (1), or when the receiver has done what it does (2)."""
        due = [number for number, document in self.disk.items() if deliveries.is_due(document, self.now)]
        self.send(data.draw(st.sampled_from(due)), behaviour, cut)

    def send(self, number: int, behaviour: str, cut: int | None = None) -> None:
        document = self.disk[number] = deliveries.claim_delivery(self.disk[number], "w", self.now)
        if cut == 0:
            return
        if behaviour == "is away":
            self.disk[number] = deliveries.retry_or_abandon(document, "away", self.now)
            return
        self.disk[number] = deliveries.mark_handed(document, self.now)
        if cut == 1:
            return
        has, status = BEHAVIOURS[behaviour]
        self.taken[document.endpoint_id, document.idempotency_key] += has
        if cut == 2:
            return
        if status is None:
            self.disk[number] = deliveries.mark_unanswered(document, KINDS[document.endpoint_id], "silence", self.now)
        elif status == 200:
            self.disk[number] = deliveries.mark_delivered(document, self.now)
        else:
            self.disk[number] = deliveries.retry_or_abandon(document, "500", self.now)

    @rule()
    def restart(self) -> None:
        self.disk = {
            number: deliveries.recover_delivery(document, KINDS[document.endpoint_id], self.now)
            for number, document in self.disk.items()
        }

    @rule(seconds=st.integers(1, 4000))
    def time_goes_by(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def each_event_is_written_once_for_each_endpoint(self) -> None:
        keys = [(document.endpoint_id, document.idempotency_key) for document in self.disk.values()]
        assert len(keys) == len(set(keys))

    @invariant()
    def what_is_said_to_be_delivered_was_taken(self) -> None:
        for document in self.disk.values():
            if document.status == "delivered":
                assert self.taken[document.endpoint_id, document.idempotency_key]

    @invariant()
    def slack_never_gets_anything_twice(self) -> None:
        assert all(count <= 1 for (number, _), count in self.taken.items() if number == 2)

    @invariant()
    def five_attempts_are_the_most(self) -> None:
        assert all(document.attempt_count <= deliveries.ATTEMPTS for document in self.disk.values())

    def teardown(self) -> None:
        """In the end nothing is lost: everything was told, and is delivered or says why not."""
        self.state = 2
        self.tell(99)
        assert self.watch.closed_at and len(self.disk) == 6
        for _ in range(10):
            self.now += 4000
            self.restart()
            for number in [number for number, document in self.disk.items() if deliveries.is_due(document, self.now)]:
                self.send(number, "takes")
        for document in self.disk.values():
            assert document.status == "delivered" or (document.status == "abandoned" and document.last_error), document


TestCrashing = Crashing.TestCase


# --- a real outbox that dies at every write --------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [0, 2])
def test_dying_at_any_write_loses_and_doubles_nothing(tmp_path: Path, soon: None, silent: int) -> None:
    begin(tmp_path / "whole")
    many = 10_000
    writes = many - asyncio.run(live(tmp_path / "whole", Receivers(silent), many))
    assert writes > 20
    for lives in range(writes):
        root, receivers = tmp_path / str(lives), Receivers(silent)
        begin(root)
        assert asyncio.run(live(root, receivers, lives)) == -1
        assert asyncio.run(live(root, receivers)) > 0
        found = documents(root)
        assert len({(document.endpoint_id, document.idempotency_key) for document in found}) == len(found) == 6, lives
        for document in found:
            where = "example.org" if document.endpoint_id == 1 else "hooks.slack.com"
            count = receivers.got[where, document.idempotency_key]
            if document.endpoint_id == 1:
                assert document.status == "delivered" and count >= 1, (lives, document)
            else:
                assert count <= 1 and (document.status == "delivered") <= (count == 1), (lives, document)
                assert document.status == "delivered" or (document.status == "abandoned" and document.last_error), (
                    lives,
                    document,
                )
        assert watches.parse_watch((root / "watches" / "1.json").read_bytes(), "1").closed_at


def test_an_endpoint_whose_file_is_broken_at_a_start_is_waited_for(tmp_path: Path, soon: None) -> None:
    begin(tmp_path / "s")
    file = tmp_path / "s" / "endpoints" / "1.yaml"
    receivers = Receivers()

    async def first() -> None:
        life = Life(tmp_path / "s", receivers)
        life.store.open()
        try:
            await life.put_job("COMPLETED")
            await life.notifications.catch_up()
        finally:
            await life.store.close()

    async def second() -> list[str]:
        life = Life(tmp_path / "s", receivers)
        life.store.open()
        try:
            await life.notifications.outbox.send("1")
            return sorted(document.status for document in documents(tmp_path / "s"))
        finally:
            await life.store.close()

    asyncio.run(first())
    file.write_text("kind: [")
    assert set(asyncio.run(second())) == {"pending"}
    file.write_text(ENDPOINTS[1])
    assert asyncio.run(live(tmp_path / "s", receivers)) > 0
    assert {document.status for document in documents(tmp_path / "s")} == {"delivered"}


def test_what_cannot_be_sent_says_why(tmp_path: Path, soon: None) -> None:
    begin(tmp_path / "s")

    class Nowhere(Receivers):
        async def post(self, *_: Any) -> Answer:
            raise NotSent("example.org is not in the public Internet")

    assert asyncio.run(live(tmp_path / "s", Nowhere())) > 0
    for document in documents(tmp_path / "s"):
        assert (document.status, document.attempt_count) == ("abandoned", 5) and "public Internet" in (
            document.last_error or ""
        )


def test_a_delivery_that_fails_unexpectedly_is_a_problem_until_it_is_begun_again(tmp_path: Path) -> None:
    begin(tmp_path / "s")
    down: list[dict[str, str]] = []

    class Defective(Receivers):
        async def post(self, url: str, *rest: Any) -> Answer:
            if "example.org" in url and not down:
                raise RuntimeError("oh")
            return await super().post(url, *rest)

    async def pause(_seconds: float) -> None:
        down.append(dict(supervisor.problems))

    supervisor = Supervisor(pause=pause)

    async def go() -> None:
        life = Life(tmp_path / "s", Defective(), supervisor.start)
        life.store.open()
        try:
            await life.put_job("COMPLETED")
            await life.quiet()
        finally:
            await life.store.close()

    asyncio.run(go())
    assert [list(problems.values()) for problems in down] == [["RuntimeError: oh"]]
    assert {name.split()[0] for name in down[0]} == {"delivery"} and supervisor.problems == {}
    assert {document.status for document in documents(tmp_path / "s")} == {"delivered"}

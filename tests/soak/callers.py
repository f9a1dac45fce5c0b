"""Those who use the server during a soak: each a thread with a client and chances of its own."""

from __future__ import annotations

import json
import random
import threading
import traceback
from typing import Any

import httpx

from tests.soak.keeper import Keeper
from tests.soak.works import CELLS, EDITED, OVER, SCRIPT, Book, Work

TIMEOUT_S = 120.0
# So many works may be under way; the machine is to be busy, not buried.
MOST_OPEN = 24


class Caller(threading.Thread):
    """Acts again and again while the keeper lets the flow go on."""

    pause_s = 0.5

    def __init__(self, keeper: Keeper, book: Book, place: int) -> None:
        super().__init__(name=f"{type(self).__name__.lower()}{place}", daemon=True)
        self.keeper, self.book, self.findings = keeper, book, keeper.findings
        self.chance = random.Random(keeper.chance.random())
        self.idle = threading.Event()
        self.http = self.open()

    def open(self) -> httpx.Client:
        """Open a client of its own."""
        return httpx.Client(base_url=self.keeper.server.url, timeout=TIMEOUT_S)

    def run(self) -> None:
        """Act until it is over; between acts, hold while the flow is held."""
        while not self.keeper.over.is_set():
            if not self.keeper.flow.is_set():
                self.http.close()
                self.http = self.open()
                self.idle.set()
                self.keeper.flow.wait()
                self.idle.clear()
                continue
            try:
                self.act()
            except Exception:
                self.findings.add("wrong", f"{self.name}: {traceback.format_exc(limit=-3)}")
            self.keeper.over.wait(self.chance.uniform(0, 2 * self.pause_s))
        self.http.close()

    def act(self) -> None:
        """Do what this caller does, once."""
        raise NotImplementedError

    def check(self) -> None:
        """Find what is not as it must be once all are idle."""

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """Return the answer; None where the server was away, and where it refused for reasons of its own."""
        # Most wait for the server as people would, some knock while it is away or only just there.
        if self.chance.random() < 0.9:
            self.keeper.up.wait()
        life, was_up = self.keeper.life, self.keeper.up.is_set()
        try:
            answer = self.http.request(method, path, **more)
        except httpx.TransportError as error:
            self.fail(life, was_up, f"{method} {path}: {error!r}")
            return None
        if answer.status_code < 500:
            self.findings.count(f"{answer.status_code // 100}xx")
            return answer
        if answer.status_code == 503 and not (was_up and life == self.keeper.life):
            self.findings.count("503 while it starts or ends")
        else:
            self.findings.add("5xx", f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return None

    def fail(self, life: int, was_up: bool, what: str) -> None:
        """Count an answer that did not come, and find fault where the server was there all the time."""
        if was_up and life == self.keeper.life:
            self.findings.add("cut off", what)
        else:
            self.findings.count("none while it is away")

    def expect(self, answer: httpx.Response, *statuses: int) -> bool:
        """Whether the answer has one of these; find fault where not."""
        if answer.status_code in statuses:
            return True
        request = answer.request
        self.findings.add("wrong", f"{request.method} {request.url.path}: {answer.status_code} {answer.text[:300]}")
        return False


class Submitter(Caller):
    """Asks for jobs, runs and sweeps under keys of their own, again until each is answered."""

    pause_s = 0.7
    number = 0

    def act(self) -> None:
        if len(self.book.list_open()) < MOST_OPEN:
            self.submit(self.book.add(self.make_work()))

    def make_work(self) -> Work:
        self.number += 1
        key = f"{self.name}-{self.number}"
        cancel = self.chance.random() < 0.2
        code = self.chance.choice([0, 0, 3])
        args = {"sleep_s": 600 if cancel else self.chance.choice([0, 0, 0.3, 2]), "code": code}
        kind = self.chance.choices(["job", "run", "sweep"], [6, 3, 1])[0]
        if kind == "job":
            script = SCRIPT.format(key=key, ledger=self.book.ledgers / key, **args)
            return Work("job", key, "/api/jobs", {"name": key, "script_content": script}, code, cancel=cancel)
        body: dict[str, Any] = {"args_override": {"ledger": str(self.book.ledgers), **args}}
        if kind == "run":
            body["args_override"]["key"] = key
        else:
            body["sweep"] = {"matrix": {"key": [f"{key}.{cell}" for cell in CELLS]}, "max_parallel": 2}
        return Work(kind, key, "/api/workflows/two/run", body, code, cancel=cancel)

    def submit(self, work: Work) -> None:
        """Ask until there is an answer, and now and then once more."""
        given: dict[str, Any] = {"json": work.body, "headers": {"Idempotency-Key": work.key}}
        while (answer := self.ask("POST", work.path, **given)) is None:
            if self.keeper.over.wait(0.1):
                return
        if not self.expect(answer, 201 if work.kind == "job" else 202):
            work.over = True
            return
        work.id = answer.json()[{"job": "job_id", "run": "id", "sweep": "sweep_run_id"}[work.kind]]
        if self.chance.random() < 0.1:
            again = self.ask("POST", work.path, **given)
            if again is not None and str(work.id) not in again.text:
                self.findings.add("doubled", f"{work.key} is {work.id}, and then: {again.text[:300]}")


class Dropper(Submitter):
    """Drops requests into the inbox."""

    pause_s = 4.0

    def act(self) -> None:
        if len(self.book.list_open()) >= MOST_OPEN:
            return
        self.number += 1
        work = Work("inbox", f"drop-{self.number}", "", {})
        made = self.book.ledgers / f"{work.key}.yaml"
        made.write_text(f"workflow: two\nargs: {{key: {work.key}, ledger: {self.book.ledgers}}}\n")
        made.rename(self.keeper.server.store / "inbox" / made.name)
        self.book.add(work)


class Viewer(Caller):
    """Looks at lists, with their ETags, and at what is known: what was answered is there, what has ended stays so."""

    pause_s = 0.3
    LISTS = (
        "/api/jobs", "/api/workflows/runs", "/api/sweep_runs", "/api/history", "/api/workflows", "/api/resources",
        "/api/store/problems", "/srtslurm/api/jobs", "/health",
    )  # fmt: skip

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.etags: dict[str, str] = {}

    def act(self) -> None:
        path = self.chance.choice(self.LISTS)
        answer = self.ask("GET", path, headers={"If-None-Match": self.etags.get(path, '"none"')})
        if answer is not None and self.expect(answer, 200, 304):
            self.etags[path] = answer.headers.get("etag", '"none"')
        known = self.book.list_open()
        if known:
            self.look_at(self.chance.choice(known))

    def look_at(self, work: Work) -> None:
        """Note how a work is; cancel what sleeps."""
        if work.kind == "inbox" and work.id is None:
            self.find_dropped(work)
        if work.id is None:
            return
        answer = self.ask("GET", get_path(work))
        if answer is None or not self.expect(answer, 200):
            return
        status = answer.json()["status"]
        if status in OVER:
            work.status, work.over = status, True
        elif work.cancel and not work.cancelled:
            # Some are still waiting, some run.
            method, end = ("DELETE", "") if work.kind == "job" else ("POST", "/cancel")
            cancelled = self.ask(method, get_path(work) + end)
            # 422: it is cancelled already, by another viewer.
            work.cancelled = cancelled is not None and self.expect(cancelled, 200, 202, 204, 422)

    def find_dropped(self, work: Work) -> None:
        """Note which run a file in the inbox has become."""
        inbox = self.keeper.server.store / "inbox"
        done = inbox / "done" / f"{work.key}.yaml"
        if done.exists():
            work.id = done.read_text().splitlines()[0].split()[-1]
        elif (inbox / "failed" / done.name).exists():
            work.over = True
            self.findings.add("lost", f"{done.name} is in inbox/failed")


class LogReader(Caller):
    """Reads logs: what a job has written is there once it has ended."""

    def act(self) -> None:
        known = [work for work in self.book.works if work.kind == "job" and work.status in ("COMPLETED", "FAILED")]
        if not known:
            return
        work = self.chance.choice(known)
        answer = self.ask("GET", f"/api/jobs/{work.id}/logs")
        if answer is not None and self.expect(answer, 200) and f"of {work.key}" not in answer.json()["stdout"]:
            self.findings.add("lost", f"the log of {work.key}, job {work.id}: {answer.text[:300]}")


class Reader(Caller):
    """Follows the event stream, and goes on where it was cut."""

    last = ""

    def act(self) -> None:
        self.keeper.up.wait()
        life, was_up = self.keeper.life, self.keeper.up.is_set()
        headers = {"Last-Event-ID": self.last} if self.last else {}
        try:
            with self.http.stream("GET", "/api/events", params={"timeout_s": 20}, headers=headers) as answer:
                if answer.status_code != 200:
                    answer.read()
                    if was_up and life == self.keeper.life:
                        self.expect(answer, 200)
                    return
                for line in answer.iter_lines():
                    if line.startswith("id: "):
                        self.move_on(line[4:])
                    if not self.keeper.flow.is_set():
                        return
        except httpx.TransportError as error:
            self.fail(life, was_up, f"event stream: {error!r}")

    def move_on(self, place: str) -> None:
        """Note the place of an event, which no earlier one may follow."""
        self.findings.count("event")
        feed, _, number = place.rpartition("-")
        before, _, newest = self.last.rpartition("-")
        if feed == before and int(number) < int(newest):
            self.findings.add("wrong", f"event {place} after {self.last}")
        self.last = place


class Editor(Caller):
    """Counts up a number in a template by PUT with If-Match, beside another that does the same."""

    PATH = "/api/templates/counted"

    def act(self) -> None:
        found = self.ask("GET", self.PATH)
        if found is None or not self.expect(found, 200):
            return
        text = f"echo {int(found.json()['content'].split()[1]) + 1}\n"
        with self.book.lock:
            self.book.counted_perhaps += 1
        answer = self.ask("PUT", self.PATH, json={"content": text}, headers={"If-Match": found.headers["etag"]})
        if answer is not None and self.expect(answer, 200, 412):
            with self.book.lock:
                self.book.counted_perhaps -= 1
                self.book.counted += answer.status_code == 200

    def check(self) -> None:
        answer = self.ask("GET", self.PATH)
        if answer is not None and self.expect(answer, 200):
            number, known = int(answer.json()["content"].split()[1]), self.book.counted
            if not known <= number <= known + self.book.counted_perhaps:
                kind = "lost" if number < known else "doubled"
                self.findings.add(kind, f"{number} edits of {self.PATH} are there, and {known} were answered")


class Typist(Caller):
    """Edits a workflow's file in place and by renaming, as editors and rsync do."""

    number = 0

    def act(self) -> None:
        self.number += 1
        path = self.keeper.server.store / "workflows" / "edited.yaml"
        if self.chance.random() < 0.5:
            path.write_text(EDITED.format(number=self.number))
        else:
            made = path.with_name(".edited.new")
            made.write_text(EDITED.format(number=self.number))
            made.rename(path)
        answer = self.ask("GET", "/api/workflows/edited")
        # 409: there is no good version yet, since the server was started over half a file.
        if answer is not None and self.expect(answer, 200, 409) and answer.status_code == 200:
            number = answer.json()["args"]["number"]
            if number > self.number:
                self.findings.add("wrong", f"edited.yaml says {self.number}, and the API {number}")

    def check(self) -> None:
        answer = self.ask("GET", "/api/workflows/edited")
        if answer is not None and self.expect(answer, 200) and answer.json()["args"]["number"] != self.number:
            self.findings.add("lost", f"edit {self.number} of edited.yaml: {answer.text}")


class Reporter(Caller):
    """Reports the steps of pretended jobs; what was answered is kept."""

    pause_s = 0.3
    id, number, done = "", 0, 0
    STATUSES = ("starting", "workers", "frontend", "benchmark")

    def act(self) -> None:
        if self.number % 20 == 0:
            self.id = f"report-{self.name}-{self.number}"
            self.done = self.number
        self.number += 1
        status = self.STATUSES[self.number % 4]
        body = {"status": status, "message": f"step {self.number}", "metadata": {"step": self.number}}
        answer = self.ask("PUT", f"/srtslurm/api/jobs/{self.id}", json=body)
        if answer is not None and self.expect(answer, 200):
            self.done = self.number
        self.check()

    def check(self) -> None:
        answer = self.ask("GET", f"/srtslurm/api/jobs/{self.id}")
        if answer is None or (answer.status_code == 404 and self.done == self.number - 1 and self.done % 20 == 0):
            return
        if self.expect(answer, 200):
            kept = json.loads(answer.text)["metadata"]["step"]
            if not self.done <= kept <= self.number:
                self.findings.add("lost", f"report {self.id}: step {kept} is kept, {self.done} was answered")


def get_path(work: Work) -> str:
    """Return where a work is shown."""
    folder = {"job": "/api/jobs", "sweep": "/api/sweep_runs"}.get(work.kind, "/api/workflows/runs")
    return f"{folder}/{work.id}"


# How many there are of each.
EVERYBODY = {Submitter: 3, Dropper: 1, Viewer: 4, LogReader: 1, Reader: 2, Editor: 2, Typist: 1, Reporter: 2}

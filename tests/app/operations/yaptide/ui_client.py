"""What the YAPTIDE client does, as a page in a browser does it: cookies, preflights, polls.

Written down from its behaviour: a prefix before all paths, cookies of its own, JSON with every call, and a refresh at a
third of what is left of the access token.
"""

from __future__ import annotations

from typing import Any

import httpx

from tests.app_client import Client
from tests.contract_judge import judge

# States that the client knows; it ignores any other.
STATES = ("PENDING", "RUNNING", "MERGING_QUEUED", "MERGING_RUNNING", "COMPLETED", "FAILED", "CANCELED")
ENDED = STATES[-3:]


class UiClient:
    """A page of `origin` that speaks to the server below a prefix; without an origin, one of the server's own."""

    def __init__(self, client: Client, prefix: str = "", origin: str | None = None) -> None:
        self.client, self.prefix, self.origin = client, prefix, origin
        transport = httpx.ASGITransport(app=client.serve)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost:8000", timeout=300)
        self.access_exp_ms = self.refresh_exp_ms = 0

    def close(self) -> None:
        """Close the page; its cookies go with it."""
        self.client.run(self.http.aclose())

    def call(self, method: str, path: str, json: Any = None, **query: Any) -> httpx.Response:
        """The answer, which the browser lets the page read."""
        url = f"{self.prefix}/{path}"
        headers = {} if self.origin is None else {"origin": self.origin, "sec-fetch-site": "cross-site"}
        if self.origin is not None and (method not in ("GET", "HEAD") or json is not None):
            self.ask_beforehand(method, url, headers)
        answer = self.client.run(self.http.request(method, url, json=json, params=query, headers=headers))
        assert isinstance(answer, httpx.Response)
        if self.origin is not None:
            self.check_readable(answer)
        judge(method, f"/{path}", answer)
        return answer

    def ask_beforehand(self, method: str, url: str, headers: dict[str, str]) -> None:
        """The preflight of a browser."""
        asked = {"access-control-request-method": method, "access-control-request-headers": "content-type"}
        answer = self.client.run(self.http.options(url, headers={**headers, **asked}))
        assert answer.status_code == 204, answer.text
        self.check_readable(answer)
        assert method in answer.headers["access-control-allow-methods"].split(", ")
        assert "content-type" in answer.headers["access-control-allow-headers"].split(", ")

    def check_readable(self, answer: httpx.Response) -> None:
        """A browser shows the answer to a page of another origin only so."""
        assert answer.headers.get("access-control-allow-origin") == self.origin, answer.text
        assert answer.headers.get("access-control-allow-credentials") == "true"

    # --- what the client does

    def log_in(self, username: str, password: str) -> httpx.Response:
        """Log in, and remember when to refresh."""
        answer = self.call("POST", "auth/login", {"username": username, "password": password})
        if answer.status_code == 202:
            self.access_exp_ms, self.refresh_exp_ms = answer.json()["access_exp"], answer.json()["refresh_exp"]
        return answer

    def find_refresh_s(self, now_s: float) -> float:
        """When the client refreshes: at a third of what is left, at least a second from now."""
        return now_s + max(1.0, (self.access_exp_ms / 1000 - now_s) / 3)

    def refresh(self) -> httpx.Response:
        """Get another access token."""
        answer = self.call("GET", "auth/refresh")
        if answer.status_code == 200:
            self.access_exp_ms = answer.json()["access_exp"]
        return answer

    def submit(self, platform: str, input_type: str, given: dict[str, Any], **more: Any) -> str:
        """Submit as the editor's form does; return the id."""
        options: dict[str, Any] = {"cluster_name": "default"}
        options |= {"array_header": "", "array_options": {}, "collect_header": "", "collect_options": {}}
        body = {
            "input_type": input_type, f"input_{'json' if input_type == 'editor' else 'files'}": given, "ntasks": 2,
            "sim_type": "dummy", "title": "", "batch_options": options, **more,
        }  # fmt: skip
        answer = self.call("POST", f"jobs/{platform}", body)
        assert answer.status_code == 202, answer.text
        assert str(answer.json()["job_id"]).endswith(platform.upper())
        return str(answer.json()["job_id"])

    def poll(self, job_id: str) -> dict[str, Any]:
        """The state, as the client asks every 1.5 s."""
        answer = self.call("GET", "jobs/batch" if job_id.endswith("BATCH") else "jobs/direct", job_id=job_id)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert found["job_state"] in STATES
        return found

    def list_simulations(self, **query: Any) -> dict[str, Any]:
        """A page of the list, in any of the states that the client knows."""
        usual = {"page_size": 10, "page_idx": 1, "order_by": "start_time", "order_type": "descend"}
        answer = self.call("GET", "user/simulations", **{**usual, "job_state": ",".join(STATES), **query})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def fetch_results(self, job_id: str) -> dict[str, list[Any]]:
        """The pages of each estimator: what there is first, then all pages of one dimension at once."""
        inputs = self.call("GET", "inputs", job_id=job_id)
        assert inputs.status_code == 200 and inputs.json()["input"]["input_files"]
        found: dict[str, list[Any]] = {}
        for row in self.call("GET", "estimators", job_id=job_id).json()["estimators_metadata"]:
            pages: list[Any] = []
            for dimension in sorted({page["page_dimension"] for page in row["pages_metadata"]}):
                numbers = [page["page_number"] for page in row["pages_metadata"] if page["page_dimension"] == dimension]
                # It leaves out an underscore at the end of a name.
                query = {"estimator_name": row["name"].removesuffix("_"), "page_numbers": to_ranges(numbers)}
                answer = self.call("GET", "results", job_id=job_id, **query)
                assert answer.status_code == 200, answer.text
                pages += answer.json()["pages"]
            found[row["name"]] = sorted(pages, key=lambda page: int(page["metadata"]["page_number"]))
        return found


def to_ranges(numbers: list[int]) -> str:
    """Write numbers as ranges.

    >>> to_ranges([0, 1, 2, 5])
    '0-2,5'
    """
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][-1] == number - 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in ranges)

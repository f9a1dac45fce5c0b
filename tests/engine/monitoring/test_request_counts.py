"""Requests counted by operation and status."""

from __future__ import annotations

from engine.monitoring.prometheus import write_counts
from engine.monitoring.request_counts import RequestCounts


def test_requests_are_counted_with_their_time() -> None:
    counts = RequestCounts()
    for status, seconds in ((200, 0.002), (200, 0.2), (404, 0.0001)):
        counts.observe_request("srunx_list_jobs", status, seconds)
    counts.observe_request("s9s_open_socket", 101, None)
    text = write_counts(counts).decode()
    assert 'sluice_requests_total{operation="srunx_list_jobs",status="200"} 2.0' in text
    assert 'sluice_requests_total{operation="srunx_list_jobs",status="404"} 1.0' in text
    assert 'sluice_request_seconds_bucket{le="0.0025",operation="srunx_list_jobs"} 2.0' in text
    assert 'sluice_request_seconds_count{operation="srunx_list_jobs"} 3.0' in text
    assert 'sluice_requests_total{operation="s9s_open_socket",status="101"} 1.0' in text
    assert 'sluice_request_seconds_count{operation="s9s_open_socket"' not in text
    assert "process_resident_memory_bytes" in text

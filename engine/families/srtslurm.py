"""The Status API: its operations that functions answer as they are.

In the order of the contract; app.py registers them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine import reports
from engine.logs import downloads, searches, windows

OPERATIONS: dict[str, Callable[..., Any]] = {
    "srtslurm_list_jobs": reports.list_reports,
    "srtslurm_create_job": reports.record_submission,
    "srtslurm_get_job": reports.get_report,
    "srtslurm_update_job": reports.record_update,
    "srtslurm_delete_job": reports.delete_report,
    "srtslurm_list_job_events": reports.list_events,
    "srtslurm_list_logs": reports.read_logs,
    "srtslurm_add_log": reports.add_log,
    "srtslurm_get_log_lines": windows.get_reported_lines,
    "srtslurm_search_log": searches.search_reported_log,
    "srtslurm_download_log": downloads.download_reported_log,
    "srtslurm_list_captures": reports.read_captures,
    "srtslurm_add_capture": reports.add_capture,
    "srtslurm_list_events": reports.list_all_events,
}

"""The S9S API: its operations that functions answer as they are.

In the order of the contract; app.py registers them. What concerns the HTTP side itself is written out there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.accounts import qos, users
from engine.callers import oauth
from engine.exports import cluster_reports, exports
from engine.live import sockets, tickets, update_socket
from engine.monitoring import alerts, cluster_status, efficiency, metrics
from engine.nodes import node_changes, node_list, reservations
from engine.queue import (
    bulk_actions,
    filter_fields,
    job_actions,
    job_details,
    job_ids,
    job_list,
    output,
    submission,
)
from engine.search import global_search

OPERATIONS: dict[str, Callable[..., Any]] = {
    "s9s_create_token": oauth.create_token,
    "s9s_list_jobs": job_list.list_jobs,
    "s9s_submit_job": submission.submit_job,
    "s9s_list_job_ids": job_ids.list_ids,
    "s9s_list_filter_fields": filter_fields.list_filter_fields,
    "s9s_change_jobs": bulk_actions.change_jobs,
    "s9s_get_job": job_details.get_job,
    "s9s_cancel_job": job_actions.cancel_job,
    "s9s_read_script": job_details.read_script,
    "s9s_hold_job": job_actions.hold_job,
    "s9s_release_job": job_actions.release_job,
    "s9s_requeue_job": job_actions.requeue_job,
    "s9s_suspend_job": job_actions.suspend_job,
    "s9s_resume_job": job_actions.resume_job,
    "s9s_set_priority": job_actions.set_priority,
    "s9s_get_job_output": output.read_output,
    "s9s_send_job_output": output.send_output,
    "s9s_get_job_error": output.read_error_output,
    "s9s_send_job_error": output.send_error_output,
    "s9s_list_nodes": node_list.list_nodes,
    "s9s_get_node": node_list.get_node,
    "s9s_drain_node": node_changes.drain_node,
    "s9s_resume_node": node_changes.resume_node,
    "s9s_set_node_state": node_changes.update_state,
    "s9s_list_users": users.list_users,
    "s9s_get_user": users.get_user,
    "s9s_list_partitions": node_list.list_partitions,
    "s9s_get_partition": node_list.get_partition,
    "s9s_list_reservations": reservations.list_reservations,
    "s9s_get_reservation": reservations.get_reservation,
    "s9s_list_qos": qos.list_qos,
    "s9s_get_qos": qos.get_qos,
    "s9s_get_cluster_metrics": metrics.get_cluster_metrics,
    "s9s_get_performance_metrics": metrics.get_performance_metrics,
    "s9s_get_efficiency": efficiency.get_efficiency,
    "s9s_list_alerts": alerts.list_alerts,
    "s9s_acknowledge_alert": alerts.acknowledge_alert,
    "s9s_resolve_alert": alerts.resolve_alert,
    "s9s_search_everything": global_search.search_everything,
    "s9s_create_export": exports.create_export,
    "s9s_list_exports": exports.list_exports,
    "s9s_get_export": exports.get_export,
    "s9s_delete_export": exports.delete_export,
    "s9s_download_export": exports.download_export,
    "s9s_list_reports": cluster_reports.list_reports,
    "s9s_create_report": cluster_reports.create_report,
    "s9s_get_report": cluster_reports.get_report,
    "s9s_delete_report": cluster_reports.delete_report,
    "s9s_download_report": cluster_reports.download_report,
    "s9s_get_health": cluster_status.check_health,
    "s9s_open_socket": sockets.require_socket,
    "s9s_serve_updates": update_socket.serve_updates,
    "s9s_make_ticket": tickets.make_ticket,
}

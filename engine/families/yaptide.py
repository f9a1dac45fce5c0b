"""The YAPTIDE API: its operations that functions answer as they are.

In the order of the contract; app.py registers them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.callers.yaptide import keycloak, login
from engine.simulations import actions, lists, results, submission, workers

OPERATIONS: dict[str, Callable[..., Any]] = {
    "yaptide_get_direct": actions.get_direct,
    "yaptide_submit_direct": submission.submit_direct,
    "yaptide_cancel_direct": actions.cancel_direct,
    "yaptide_get_batch": actions.get_batch,
    "yaptide_submit_batch": submission.submit_batch,
    "yaptide_cancel_batch": actions.cancel_batch,
    "yaptide_get_job": actions.get_job,
    "yaptide_update_job": workers.update_job,
    "yaptide_update_task": workers.update_task,
    "yaptide_get_results": results.get_results,
    "yaptide_save_results": workers.save_results,
    "yaptide_list_estimators": results.list_estimators,
    "yaptide_get_inputs": results.get_inputs,
    "yaptide_get_logfiles": results.get_logfiles,
    "yaptide_save_logfiles": workers.save_logfiles,
    "yaptide_list_simulations": lists.list_simulations,
    "yaptide_delete_simulation": actions.delete_simulation,
    "yaptide_list_clusters": lists.list_clusters,
    "yaptide_register_user": login.register_user,
    "yaptide_log_in": login.log_in,
    "yaptide_refresh_login": login.refresh_login,
    "yaptide_get_status": login.get_status,
    "yaptide_log_out": login.log_out,
    "yaptide_log_in_keycloak": keycloak.log_in,
    "yaptide_log_out_keycloak": login.log_out,
    "yaptide_update_user": login.update_user,
}

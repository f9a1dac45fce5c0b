"""A user's program over the client that openapi-python-client has made."""

from __future__ import annotations

import os

from sluice_client import AuthenticatedClient
from sluice_client.api.srunx import srunx_cancel_job, srunx_get_job, srunx_list_jobs, srunx_submit_job
from sluice_client.models import Error, Job, SrunxSubmitJobBody, SubmittedJob

client = AuthenticatedClient(os.environ["URL"], os.environ["TOKEN"])
body = SrunxSubmitJobBody(name="made-by-python", script_content="#!/bin/sh\nsleep 600\n")
made = srunx_submit_job.sync(client=client, body=body)
assert isinstance(made, SubmittedJob), made
print("submitted")
job = srunx_get_job.sync(str(made.job_id), client=client)
assert isinstance(job, Job) and job.name == "made-by-python", job
print("got")
rows = srunx_list_jobs.sync(client=client)
assert isinstance(rows, list) and made.job_id in [row.job_id for row in rows], rows
print("listed")
assert srunx_cancel_job.sync_detailed(str(made.job_id), client=client).status_code == 204
print("cancelled")
refused = srunx_submit_job.sync_detailed(client=client, body=SrunxSubmitJobBody(name=""))
assert isinstance(refused.parsed, Error) and not isinstance(refused.parsed.detail, str), refused
assert refused.parsed.detail[0].loc == ["body", "name"] and refused.parsed.detail[0].input_ == "", refused
print("refused:", refused.status_code.value)
unknown = srunx_get_job.sync_detailed("999999", client=client)
assert isinstance(unknown.parsed, Error) and isinstance(unknown.parsed.detail, str), unknown
print("unknown:", unknown.status_code.value)

"""The workflow that this server was built to run first."""

from __future__ import annotations

PIPELINE = b"""\
name: ml-pipeline
args: {n: 1000, out: "work-{{ n }}"}
jobs:
  - name: preprocess
    command: [bash, -c, "mkdir -p {{ out }} && seq {{ n }} > {{ out }}/data"]
    exports: {DATA: "{{ out }}/data"}
    resources: {nodes: 1, time_limit: 0:05:00}
  - name: total
    command: [cat, "{{ deps.preprocess.DATA }}"]
    depends_on: [preprocess]
    retry: 2
  - name: report
    command: "echo done > {{ out }}/report"
    depends_on: ["afterany:total"]
  - name: cleanup
    command: rm -r {{ out }}
    depends_on: ["afternotok:total"]
"""
# The same where Python adds up the numbers, and says the total as its result.
TOTAL = b"""\
import json, os, sys; t = sum(map(int, open(sys.argv[1]))); print(t); \
json.dump({'total': t}, open(os.environ['SLUICE_RESULT'], 'w'))"""
SUMMING_PIPELINE = PIPELINE.replace(b"[cat, ", b'[python3, -c, "' + TOTAL + b'", ')

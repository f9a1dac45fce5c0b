"""The workflow that this server was built to run first."""

from __future__ import annotations

# The workflow that this server was built to run first.
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

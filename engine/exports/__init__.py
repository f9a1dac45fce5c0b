"""Files that callers ask for: exports of lists, reports of the cluster."""

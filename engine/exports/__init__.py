"""Files that callers ask for: exports of lists, and reports of the cluster."""

"""Who may use the cluster, and how: users and QOS."""

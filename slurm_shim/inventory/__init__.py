"""What the cluster is made of, and who may use it."""

"""The views of the cluster and of settings, driven in a real browser."""

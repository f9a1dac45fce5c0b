"""Workflow files: examined and edited."""

"""Workflow files beyond their rules: how they are examined and edited."""

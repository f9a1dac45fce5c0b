"""What clients are told while it happens."""

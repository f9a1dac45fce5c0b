"""Pure rules of the queue: which jobs are listed, and why they wait."""

"""What follows from samples and counts of a cluster: pure rules."""

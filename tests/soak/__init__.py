"""A steady mix of work while the server is killed at random: what is lost, doubled, wrong, and what grows."""

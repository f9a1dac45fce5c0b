"""Files of simulations: what tasks write, and results."""

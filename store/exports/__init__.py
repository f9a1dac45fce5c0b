"""Files that are made in child processes with bounds: tables, reports, the input of simulations."""

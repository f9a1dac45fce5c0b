"""Documents and rows as each API family shows them."""

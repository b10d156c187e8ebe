"""A law on rows: objective, exact derivatives, true optima."""

"""Tables of runs: files, columns, units, filters, checks."""

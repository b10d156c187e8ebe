"""A referee: tests of a table of runs and of its law, each with a verdict, a number and what to do."""

"""A study as one HTML page that needs no network: words, verdicts, figures linked to a table of all runs."""

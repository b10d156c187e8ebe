"""From a request to a fit: rows, optimum, intervals, verdicts, predictions."""

"""From a table to compute-optimal sizes, without a law of the loss."""

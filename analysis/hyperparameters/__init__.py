"""Optima of learning rate and batch, and critical batches."""

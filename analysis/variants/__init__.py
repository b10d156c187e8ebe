"""Variants of a study compared: paired differences, shared or own laws, what each is worth in compute."""

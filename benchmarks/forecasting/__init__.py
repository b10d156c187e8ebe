"""Sets, splits, references and scores of ``benchmarks/forecasts.py``."""

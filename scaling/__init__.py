"""What is run: specs, counts, data, plans, models, training, sweeps. See README.md for the map."""

__version__ = "0.1.0"

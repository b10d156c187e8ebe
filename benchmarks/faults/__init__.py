"""Faults that benchmarks/chaos.py puts a study through; each module has one section."""

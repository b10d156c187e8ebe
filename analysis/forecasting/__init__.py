"""Forecasts frozen before their runs, back-tests, and the ledger of both."""

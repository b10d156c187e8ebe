"""Curves and results, sent to trackers by processes of their own that follow the files of runs."""

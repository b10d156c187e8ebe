"""Trainers of one's own: a command under a lease, and the files it is checked by."""

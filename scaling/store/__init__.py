"""Results on disk: runs' records and curves, leases, processes and files."""

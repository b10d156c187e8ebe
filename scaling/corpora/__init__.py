"""What a corpus is, as a spec writes it, and how its documents are read."""

"""Which runs a study trains: cells, and designs that make them."""

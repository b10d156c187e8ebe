"""How a run is trained: optimizers and schedules, as a spec writes them and as a run holds them."""

"""A study on a Slurm cluster: what is submitted, and what became of it."""

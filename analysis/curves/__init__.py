"""Laws of whole training curves, and schedules of learning rates."""

"""ScaleBench's instances, and methods that buy runs there."""

"""What the adversaries can find, on known leaks and nulls."""

"""Freezing what a bench publishes, so that others can attack the same releases."""

"""Releases that keep everything, nothing, or the label alone."""

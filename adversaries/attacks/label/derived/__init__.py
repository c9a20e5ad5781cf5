"""Readers of features derived from releases."""

"""Matching releases."""

"""Judging a report."""

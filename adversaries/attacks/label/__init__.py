"""Attacks on a label."""

"""Attacks that know the mask, or infer it."""

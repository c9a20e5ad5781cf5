"""Membership inference: which images a defense was fitted on."""

"""Attacks that train on no release."""

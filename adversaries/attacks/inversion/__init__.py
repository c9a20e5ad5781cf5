"""Attacks that rebuild images."""

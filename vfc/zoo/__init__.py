"""Classifier architectures for small images, one family per file."""

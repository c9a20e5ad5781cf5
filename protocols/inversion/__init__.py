"""Rebuilding images."""

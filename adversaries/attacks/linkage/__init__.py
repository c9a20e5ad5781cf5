"""Attacks that match releases with images or with releases."""

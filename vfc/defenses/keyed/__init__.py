"""Defenses with a key."""

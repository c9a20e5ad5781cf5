"""Defenses that add noise or drop precision."""

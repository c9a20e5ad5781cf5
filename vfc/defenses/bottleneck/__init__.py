"""Defenses that compress."""

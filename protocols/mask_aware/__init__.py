"""Attackers who know the mask."""

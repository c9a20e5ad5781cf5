"""Defenses, one per file, found by name in `vfc.defense.DEFENSES`."""

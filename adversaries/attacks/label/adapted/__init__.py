"""Models of clean images, adapted to releases."""

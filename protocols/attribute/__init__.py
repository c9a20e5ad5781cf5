"""Private attributes."""

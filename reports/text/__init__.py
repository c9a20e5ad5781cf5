"""A report in words."""

"""Breaks of releases with a key: what the key does not hide, and how the key itself is found."""

"""Readers trained from nothing on labelled releases."""

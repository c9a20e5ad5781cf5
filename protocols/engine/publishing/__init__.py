"""Asking a defense for releases and predictions, and watching what it does."""

"""Attacks that change an image a little so that the deployed pipeline errs, and the guard around the libraries used."""

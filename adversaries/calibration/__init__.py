"""Results of `vfc calibrate` as package data, and looking them up. Imports no torch."""

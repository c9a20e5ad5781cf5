"""Encoders that are trained against an adversary of the defender's own."""

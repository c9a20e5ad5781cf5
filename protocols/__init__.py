"""The protocols: which adversaries attack for which goal; running them; the command line."""

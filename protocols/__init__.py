"""Who attacks what, with which budget; running it; the command line."""

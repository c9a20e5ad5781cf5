"""One protocol per file."""

"""Published tables made again, beside what was published. Imports no torch."""

"""`vfc init`, and the files that it writes, as plain text."""

"""The verbs of the command line, by what they do; each imports what it needs when it runs."""

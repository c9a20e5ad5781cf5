"""One adversary per file, named as in the literature."""

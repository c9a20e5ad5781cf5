"""Attack-free measures of what a release or a layer lets through, one per file."""

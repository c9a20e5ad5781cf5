"""A network over its training."""

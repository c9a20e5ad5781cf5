"""Layers of a network over its training: what they let through, and what they show of its training images."""

"""Models that somebody else trained: files of weights, and factories."""

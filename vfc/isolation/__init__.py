"""Running code of others: limits, exits, blame, and a guardian of the exit code."""

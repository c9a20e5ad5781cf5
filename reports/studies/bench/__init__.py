"""Every defense under the same adversaries, in one table."""

"""Every defense under the same adversaries: which rows, each graded as `vfc attack` grades it, and what is kept."""

"""What is claimed of defenses, what was measured, and who attacked them: one page."""

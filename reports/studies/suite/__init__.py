"""A frozen bench that outsiders attack, and the grading of their guesses."""

"""The ladder of knowledge on the task label."""

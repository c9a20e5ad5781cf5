"""Whether two revisions give the same numbers."""

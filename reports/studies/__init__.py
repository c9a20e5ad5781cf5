"""Studies beside the report."""

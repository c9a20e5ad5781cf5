"""What is checked once all protocols of a run have their evidence."""

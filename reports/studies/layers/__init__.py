"""What the layers of a module let through, without any attack."""

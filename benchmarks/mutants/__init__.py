"""Small faults that are planted in the code, and the tests that see them."""

"""Attack-free numbers of a release."""

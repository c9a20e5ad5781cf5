"""What a user brings: models that somebody else trained, and a first look at a release."""

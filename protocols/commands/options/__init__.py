"""The options of the verbs."""

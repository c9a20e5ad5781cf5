"""A package of a third party, with one of each that can be added."""

"""Evidence as data, the gate, and one renderer per format. Imports no torch."""

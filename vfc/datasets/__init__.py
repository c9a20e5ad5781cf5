"""Data sets, one per file; `vfc.data.load_dataset` finds them by name."""

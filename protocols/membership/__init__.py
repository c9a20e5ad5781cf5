"""Who was trained on."""

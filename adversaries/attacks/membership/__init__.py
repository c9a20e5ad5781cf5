"""Attacks that tell who was trained on."""

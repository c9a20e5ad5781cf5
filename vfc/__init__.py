"""The defender: data, models, the VFC core, every other defense."""

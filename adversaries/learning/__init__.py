"""What learned adversaries share."""

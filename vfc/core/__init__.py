"""The core defense: encoder, mask, decoder, objective and trainer."""

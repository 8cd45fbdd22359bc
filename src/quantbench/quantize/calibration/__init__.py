"""Ranges and statistics of activations, from samples."""

"""Pruning after training: which neurons are taken, and how what stays makes up for them."""

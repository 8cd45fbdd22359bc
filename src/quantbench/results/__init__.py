"""Output folders."""

"""Benchmarks of quantbench itself: ``make bench``. Ratios are of figures measured side by side in one call."""

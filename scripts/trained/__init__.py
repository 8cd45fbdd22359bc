"""Models and data sets of the examples, one module per task."""

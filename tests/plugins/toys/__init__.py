"""A package outside of quantbench: a runtime, a quantizer and a task, known by its entry points only."""

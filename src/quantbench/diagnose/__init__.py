"""What breaks an int8 model with fixed ranges: the tensors at fault, what sets their ranges, and what mends it."""

"""Training without labels: weights of a float graph learn to give, rounded as they will be, what the original gives."""

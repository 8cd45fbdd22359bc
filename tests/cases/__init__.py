"""What people give to quantbench, each with the answer that is right; see ``case``."""

"""Placement of int8 product by product."""

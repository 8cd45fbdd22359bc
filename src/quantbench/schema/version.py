"""The version of this package; it stands at the bottom, because results of every kind record it."""

__version__ = "0.1.0"

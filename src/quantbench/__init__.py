"""quantbench: which int8 version of a transformer encoder to deploy on this CPU, measured."""

__version__ = "0.1.0"

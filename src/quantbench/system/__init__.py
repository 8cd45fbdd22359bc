"""The machine: what it is, its files, its cache and its terminal."""

"""One file per node-exclusion group. See ``registry.Exclusion`` for what a file here provides."""

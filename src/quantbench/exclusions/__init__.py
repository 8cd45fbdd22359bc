"""One file per node-exclusion group. See ``protocols.Exclusion`` for what a file here provides."""

"""One file per runtime. See ``registry.Runtime`` for what a file here provides."""

"""One file per runtime. See ``protocols.Runtime`` for what a file here provides."""

"""One file per task. See ``protocols.Task`` for what a file here provides."""

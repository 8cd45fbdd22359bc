"""One file per task. See ``registry.Task`` for what a file here provides."""

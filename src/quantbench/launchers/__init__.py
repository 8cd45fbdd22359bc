"""One file per launcher. See ``registry.Launcher`` for what a file here provides."""

"""One file per launcher. See ``protocols.Launcher`` for what a file here provides."""

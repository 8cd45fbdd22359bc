"""One file per report. See ``registry.Report`` for what a file here provides."""

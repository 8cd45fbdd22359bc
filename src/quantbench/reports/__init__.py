"""One file per report. See ``protocols.Report`` for what a file here provides."""

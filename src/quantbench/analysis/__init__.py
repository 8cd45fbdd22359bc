"""Numbers from raw samples and outcomes; no text."""

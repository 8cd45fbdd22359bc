"""One file per way to make a run's model. See ``protocols.Quantizer`` for what a file here provides."""

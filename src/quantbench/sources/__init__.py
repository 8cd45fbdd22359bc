"""Where models and data sets come from: the hub, its cache, a folder, a file, or the embedded default."""

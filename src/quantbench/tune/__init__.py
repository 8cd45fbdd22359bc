"""The search for the version to deploy."""

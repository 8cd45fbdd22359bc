"""The whole jobs behind the commands."""

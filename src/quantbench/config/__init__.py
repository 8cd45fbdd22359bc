"""From YAML to a plan of runs."""

"""Tasks: one object for each, with all that depends on what a model answers."""

"""The model file: its YAML with lines, its form, units, and the files beside it."""

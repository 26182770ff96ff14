"""The rows of a window: which weeks, in which form, at which place, and in which split."""

"""The rows of a window: which weeks, in which form, where they lie, which of them train and test."""

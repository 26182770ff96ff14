"""Observe a model, decide the next act, do it, observe again."""

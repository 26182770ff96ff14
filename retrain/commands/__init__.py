"""What each command of `retrain` does: one module a command."""

"""What the promotion service answers over HTTP."""

"""What the gate needs to know: both models score the same rows."""

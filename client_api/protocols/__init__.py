"""How callers write rows and read answers."""

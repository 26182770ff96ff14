"""How much better one model is than another on the same rows. Pure; published."""

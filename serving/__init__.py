"""Serving: the BentoML server that verifies one model folder and answers blocks of rows."""

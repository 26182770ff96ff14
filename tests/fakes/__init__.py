"""One class in memory for each outside part. It passes the conformance suite of the real part."""

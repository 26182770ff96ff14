"""One in-memory class per outside part. Each passes the conformance suite that its real part passes."""

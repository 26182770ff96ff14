"""What runs: a port and its implementation on Kubernetes."""

"""A real Kubernetes and a real FluxCD on this machine, built from Go modules.

They run in namespaces of their own and leave nothing behind.

Programs call `start_cluster` (cluster.py), people `python -m infra.local.kubernetes --help`.
"""

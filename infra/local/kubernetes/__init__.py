"""A real Kubernetes and a real FluxCD on this machine: built from Go modules, run in namespaces of their own, gone without a trace.

`start_cluster` in cluster.py is for programs, `python -m infra.local.kubernetes build|up|down|status` for people.
"""

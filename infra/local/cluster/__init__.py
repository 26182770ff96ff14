"""The laptop's Kubernetes and Flux: follows main, reads gitops/ as data, runs server processes.

`python -m infra.local.cluster --help`. The services meet only its URL and the endpoints file.
"""

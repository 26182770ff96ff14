"""The laptop's Kubernetes and Flux: follows main, reads gitops/ as data, runs one server process for each replica.

`python -m infra.local.cluster --help`. The services meet only its URL and the endpoints file.
"""

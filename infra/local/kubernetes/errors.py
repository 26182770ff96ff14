"""What can go wrong with the local cluster.

ClusterError
├── MachineLacks       a program, a right or disk is missing; said before anything starts
├── BuildFailed        Go refused
├── CouldNotStart      a component ended or did not answer in time
└── ClusterUnusable    the cluster that KUBECONFIG names is dead, refuses us or has no Flux
"""

from __future__ import annotations


class ClusterError(Exception):
    """The root; its message is for a person."""


class MachineLacks(ClusterError):
    """Something that is needed is not there; the message says how to get it, one line each."""


class BuildFailed(ClusterError):
    """Go did not build a program."""


class CouldNotStart(ClusterError):
    """A component ended, or did not answer in time; the message carries the end of its log."""


class ClusterUnusable(ClusterError):
    """A cluster that exists already cannot serve."""

"""What can go wrong in promote.

Below `Unavailable` the same act may work later. Everything else waits for a person.

PromoteError
├── Unavailable                 an outside part did not answer; transient, retried with a bound
│   ├── ModelRegistryUnavailable
│   ├── RowsUnavailable         the store of snapshots did not answer
│   ├── ImageRegistryUnavailable
│   │   └── ImageRegistryBusy   it asked for a longer wait than one pass allows
│   ├── ForgeUnavailable
│   ├── ClusterUnavailable
│   └── PromoteServiceUnavailable   `promote status` asked it by PROMOTE_URL
├── NotFound                    an outside part answered that it has no such thing
│   ├── VersionNotFound
│   ├── ArtifactNotFound
│   ├── UnknownModel            the promotion service has not looked at the model
│   ├── CommitNotFound          main and ratchet/* do not lead to the commit
│   └── RowsNotFound            a snapshot names rows that are not in the store
├── Refused                     an outside part said no: credentials, rights, a conflict
│   ├── ModelRegistryRefused
│   ├── RowsRefused             the store of snapshots refused
│   ├── ImageRegistryRefused
│   │   └── ImageRegistryLoginRefused
│   ├── ForgeRefused
│   └── ClusterRefused
├── Malformed                   bytes that are not what they should be
│   ├── InvalidName
│   ├── InvalidArtifact
│   ├── InvalidImage
│   └── InvalidRelease
├── ImageFolderUnwritable       the laptop's image registry cannot be written
│   └── ImageFolderFull
├── UnsupportedRegistry         an image registry's URL that promote cannot use
├── NoPolicy                    main has no readable YAML of the model: nothing to judge by
├── NothingToReturnTo           a rollback has no earlier release that served
└── ActNotSeen                  an act was done, and the next look does not show it
"""

from __future__ import annotations


class PromoteError(Exception):
    """Root of this service's errors. A message says what was asked, what was found, what to do."""


class Unavailable(PromoteError):
    """An outside part did not answer. The same act may work later."""


class ModelRegistryUnavailable(Unavailable):
    """MLflow did not answer, or answered with a fault of its own."""


class RowsUnavailable(Unavailable):
    """The store of snapshots did not answer."""


class ImageRegistryUnavailable(Unavailable):
    """The image registry did not answer, or could not be read."""


class ImageRegistryBusy(ImageRegistryUnavailable):
    """The image registry asked to come back later than this pass may wait."""


class ForgeUnavailable(Unavailable):
    """The forge did not answer, answered with a fault of its own, or asked to wait."""


class ClusterUnavailable(Unavailable):
    """The cluster did not answer."""


class PromoteServiceUnavailable(Unavailable):
    """The promotion service at PROMOTE_URL did not answer."""


class NotFound(PromoteError):
    """An outside part answered that it has no such thing."""


class VersionNotFound(NotFound):
    """The model registry has no such model or version."""


class ArtifactNotFound(NotFound):
    """A run lacks a file that every run has."""


class UnknownModel(NotFound):
    """The promotion service has not looked at such a model."""


class CommitNotFound(NotFound):
    """The forge's branches do not lead to such a commit."""


class RowsNotFound(NotFound):
    """A snapshot names rows that are not in the store. A new run of its window reads them again."""


class Refused(PromoteError):
    """An outside part refused the request. The same request will be refused again."""


class ModelRegistryRefused(Refused):
    """MLflow refused the request."""


class RowsRefused(Refused):
    """The store of snapshots refused the credentials, the rights or the bucket."""


class ImageRegistryRefused(Refused):
    """The image registry refused the request."""


class ImageRegistryLoginRefused(ImageRegistryRefused):
    """The image registry or AWS refused our credentials: absent, wrong or expired."""


class ForgeRefused(Refused):
    """The forge refused the token, the rights, or the request."""


class ClusterRefused(Refused):
    """The cluster refused the credentials or the request."""


class Malformed(PromoteError):
    """Bytes or names that are not what they should be."""


class InvalidName(Malformed):
    """A name that a file system, a URL or a registry could read as something else."""


class InvalidArtifact(Malformed):
    """A file of a run whose content does not fit its name."""


class InvalidImage(Malformed):
    """An image whose bytes do not fit their digests or the OCI layout."""


class InvalidRelease(Malformed):
    """A release.yaml that is no release."""


class ImageFolderUnwritable(PromoteError):
    """The folder of images cannot be written by this user."""


class ImageFolderFull(ImageFolderUnwritable):
    """The disk below the folder of images is full."""


class UnsupportedRegistry(PromoteError):
    """A URL of an image registry that promote cannot use."""


class NoPolicy(PromoteError):
    """Main has no YAML of the model, or a YAML with mistakes: there is no policy to judge by."""


class NothingToReturnTo(PromoteError):
    """A rollback was asked for, and no earlier release that served fits."""


class ActNotSeen(PromoteError):
    """An act was done, and the next look does not show it. The next pass tries again."""

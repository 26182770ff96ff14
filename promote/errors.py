"""What can go wrong in promote. Only what is below `Unavailable` is worth another try as it is; the rest waits for a person.

PromoteError
├── Unavailable                 an outside part did not answer; transient, retried with a bound
│   ├── ModelRegistryUnavailable
│   ├── RowsUnavailable         the store of snapshots did not answer
│   ├── ImageRegistryUnavailable
│   │   └── ImageRegistryBusy   it asked for more patience than one pass has
│   ├── ForgeUnavailable
│   └── ClusterUnavailable
├── NotFound                    an outside part answered that it has no such thing
│   ├── VersionNotFound
│   ├── ArtifactNotFound
│   ├── CommitNotFound          main and ratchet/* do not lead to the commit
│   └── RowsNotFound            a snapshot names rows that are not in the store
├── Refused                     an outside part understood, and said no (credentials, rights, a conflict)
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
└── ActNotSeen                  an act was done and the next look does not show it
"""

from __future__ import annotations


class PromoteError(Exception):
    """Root of all errors of this service; the message says what was asked, what was found and what to do."""


class Unavailable(PromoteError):
    """An outside part did not answer, so nothing was observed; the same act may work later."""


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


class NotFound(PromoteError):
    """An outside part answered, and has no such thing."""


class VersionNotFound(NotFound):
    """The model registry has no such model or version."""


class ArtifactNotFound(NotFound):
    """A run lacks a file that every run has."""


class CommitNotFound(NotFound):
    """The forge's branches do not lead to such a commit."""


class RowsNotFound(NotFound):
    """A snapshot names rows that are not in the store; running its window again reads them anew."""


class Refused(PromoteError):
    """An outside part understood the request and said no; asking again as it is will not help."""


class ModelRegistryRefused(Refused):
    """MLflow refused the request."""


class RowsRefused(Refused):
    """The store of snapshots refused: credentials, rights, a bucket."""


class ImageRegistryRefused(Refused):
    """The image registry refused the request."""


class ImageRegistryLoginRefused(ImageRegistryRefused):
    """The image registry or AWS does not know our credentials: absent, wrong or expired."""


class ForgeRefused(Refused):
    """The forge refused the token, the rights, or the request."""


class ClusterRefused(Refused):
    """The cluster refused the credentials or the request."""


class Malformed(PromoteError):
    """Bytes or names that are not what they should be."""


class InvalidName(Malformed):
    """A name that could mean something else to a file system, a URL or a registry."""


class InvalidArtifact(Malformed):
    """A run's file that is not what its name says."""


class InvalidImage(Malformed):
    """An image whose bytes do not fit their digests or the OCI layout."""


class InvalidRelease(Malformed):
    """A release file that is not one."""


class ImageFolderUnwritable(PromoteError):
    """The folder of images cannot be written by this user."""


class ImageFolderFull(ImageFolderUnwritable):
    """The disk below the folder of images is full."""


class UnsupportedRegistry(PromoteError):
    """A URL that names no image registry which promote can use."""


class NoPolicy(PromoteError):
    """Main has no YAML of the model, or one with mistakes: there is no policy to judge by."""


class NothingToReturnTo(PromoteError):
    """A rollback was asked for, and no earlier release that served fits."""


class ActNotSeen(PromoteError):
    """An act was done, and the next look does not show it; the next pass tries again."""

"""What keeps a server from serving. A row or block that cannot be answered is a `BlockError`, not an error.

ServingError
└── ModelRefused          the server never becomes ready
    ├── ModelMissing      a file that should be in the model folder is not
    ├── ModelAltered      a file's digest is not the one that was released
    └── ModelUnusable     the bytes are the released ones, and this server cannot serve them
"""

from __future__ import annotations


class ServingError(Exception):
    """The root of all errors of this service."""


class ModelRefused(ServingError):
    """The model folder is not served."""


class ModelMissing(ModelRefused):
    """A file that should be in the model folder is not a readable regular file."""


class ModelAltered(ModelRefused):
    """A file's digest is not the one that was released."""


class ModelUnusable(ModelRefused):
    """The bytes are the released ones, and this server cannot serve them."""

"""What an event loop reads from and writes to inside TLS: OpenSSL's own functions, without one of Python's around each of them."""

import ssl
from typing import Any


class DirectObject(ssl.SSLObject):
    """To be a context's `sslobject_class`: `read`, `write` and `pending` are the functions that the base's would call.

    A Python that makes its objects in another way than by `_create` and `_sslobj` gets the base's.
    """

    @classmethod
    def _create(cls, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        made: ssl.SSLObject = super()._create(*args, **kwargs)  # type: ignore[misc]
        inner = getattr(made, "_sslobj", None)
        if inner is not None:
            made.read, made.write, made.pending = inner.read, inner.write, inner.pending  # type: ignore[method-assign]
        return made

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled twin of `framing`: its hot loop."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from gateway.wire.scan cimport rows_end


def skip_rows(bytes data not None, Py_ssize_t position, Py_ssize_t end):
    """As `framing.skip_rows`; an `end` behind the data is its end."""
    if position < 0:
        raise ValueError("negative position")
    return rows_end(<const unsigned char*>PyBytes_AS_STRING(data), position, min(end, PyBytes_GET_SIZE(data)))

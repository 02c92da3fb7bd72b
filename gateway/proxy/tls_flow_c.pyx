# cython: language_level=3
"""The compiled twin of `tls_flow`: the same steps, and text is read into a buffer that stays warm."""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE

cdef enum:
    RECORD = 16 * 1024
    LARGE = 8 * 1024

#: Whoever reads takes it, so that a thread that reads at the same time makes its own.
cdef bytearray spare = None


cdef class Flow:
    cdef public object _tls, _protocol
    cdef public bytearray _backlog
    cdef public bint _closing, _unheard

    def __init__(self, tls, protocol):
        self._tls = tls
        self._protocol = protocol

    def _readable(self, _kept=None):
        global spare
        cdef bytes data
        cdef Py_ssize_t size
        cdef bytearray buffer = spare
        spare = None
        if buffer is None:
            buffer = bytearray(RECORD)
        try:
            size = self._tls.read(RECORD, buffer)
            if not 0 <= size <= RECORD:
                raise ValueError(size)
            data = PyBytes_FromStringAndSize(PyByteArray_AS_STRING(buffer), size)
        except OSError as error:
            data = self._not_read(error)
        spare = buffer
        if data is None:
            return
        if PyBytes_GET_SIZE(data) >= LARGE:
            data = self._with_more(data)
        try:
            if data:
                self._protocol.data_received(data)
            else:
                self._at_the_end()
        except Exception as error:
            self._raised(error)

    def write(self, data not None):
        cdef Py_ssize_t size = len(data), sent = 0
        if self._closing or self._unheard or size == 0:
            return
        if self._backlog is None:
            try:
                sent = self._tls.write(data)
            except OSError as error:
                sent = self._not_sent(error, data, 0)
            if sent == size:
                return
        self._write_later(data, sent)

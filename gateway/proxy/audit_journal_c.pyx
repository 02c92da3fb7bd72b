# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled twin of `audit_journal.Journal`: the same mapping, also for writers that need no bytes object."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

cdef enum:
    HEADER_SIZE = 64


cdef class Journal:
    """`mapping` begins as `audit_journal` says: magic, committed length, room. It stays mapped until `close`."""

    def __cinit__(self, mapping):
        PyObject_GetBuffer(mapping, &self.view, PyBUF_WRITABLE)
        self.memory = <unsigned char*>self.view.buf
        self.size = self.view.len
        cdef unsigned long long committed
        memcpy(&committed, self.memory + 8, 8)
        self.end = HEADER_SIZE if committed < <unsigned long long>HEADER_SIZE else min(<Py_ssize_t>committed, self.size)
        self.drained = True

    cdef unsigned char* room(self, Py_ssize_t size) noexcept:
        """Where so many bytes may be written; NULL: there is no room."""
        if self.memory == NULL or size > self.size - self.end:
            return NULL
        return self.memory + self.end

    cdef void took(self, Py_ssize_t size) noexcept:
        """So many of them were, as whole lines. From here on they count: one aligned store."""
        self.end += size
        (<volatile unsigned long long*>(self.memory + 8))[0] = <unsigned long long>self.end

    def put(self, bytes lines not None):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(lines)
        cdef unsigned char* out = self.room(size)
        if out == NULL:
            return False
        memcpy(out, PyBytes_AS_STRING(lines), size)
        self.took(size)
        return True

    def pending(self):
        if self.memory == NULL:
            return b""
        return PyBytes_FromStringAndSize(<const char*>self.memory + HEADER_SIZE, self.end - HEADER_SIZE)

    def clear(self):
        self.drained = True
        self.end = HEADER_SIZE
        self.took(0)

    def close(self):
        if self.memory != NULL:
            self.memory = NULL
            PyBuffer_Release(&self.view)

    def __dealloc__(self):
        self.close()


cdef class Outlet:
    """As `audit_journal.Outlet`, which explains it."""

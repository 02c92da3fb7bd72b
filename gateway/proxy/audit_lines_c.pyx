# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled twin of `audit_lines`: records become lines."""

import time

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from gateway.wire.scan cimport put_number, put_six

cdef enum:
    SECOND = 1_000_000  # microseconds
    NUMBERS = 128  # bytes that are enough for what stands between the second's text and a body


cdef class Stamp:
    """As `audit_lines.Stamp`, which explains it; `put` writes into memory what stands before a body."""

    def __init__(self, long long worker, long long seq):
        self.seq = seq
        self.turn = -1
        self.mono = b""
        self.tail = b',"worker":%d,"seq":' % worker
        self.second = 0
        self.second_began = -SECOND
        self.head = b""

    cdef Py_ssize_t room(self):
        """How many bytes a line has besides its body, at most."""
        return PyBytes_GET_SIZE(self.head) + NUMBERS

    cdef Py_ssize_t put(self, unsigned char* out, long long now) except -1:
        """All up to the body of the next record; returns its size. `now`: monotonic microseconds, of `new_second`'s second."""
        cdef Py_ssize_t at = PyBytes_GET_SIZE(self.head)
        memcpy(out, PyBytes_AS_STRING(self.head), at)
        at += put_six(out + at, <unsigned int>(now - self.second_began))
        if now // SECOND != self.turn:  # the other clock's seconds begin at other instants
            self.turn = now // SECOND
            self.mono = b'Z","mono":%d.' % self.turn
        memcpy(out + at, PyBytes_AS_STRING(self.mono), PyBytes_GET_SIZE(self.mono))
        at += PyBytes_GET_SIZE(self.mono)
        at += put_six(out + at, <unsigned int>(now % SECOND))
        memcpy(out + at, PyBytes_AS_STRING(self.tail), PyBytes_GET_SIZE(self.tail))
        at += PyBytes_GET_SIZE(self.tail)
        self.seq += 1
        at += put_number(out + at, <unsigned long long>self.seq)
        out[at] = b","
        return at + 1

    cdef int new_second(self, long long now) except -1:
        """To be called before `put`: the second's text is that of `now`."""
        if 0 <= now - self.second_began < SECOND:
            return 0
        cdef long long wall = time.time_ns() // 1000
        self.second = wall // SECOND
        self.second_began = now - wall % SECOND
        self.head = time.strftime('{"at":"%Y-%m-%dT%H:%M:%S.', time.gmtime(self.second)).encode()
        return 0

    def lines(self, list bodies not None):
        cdef long long now = time.monotonic_ns() // 1000
        cdef Py_ssize_t total = 0, at = 0, size
        cdef bytes body
        self.new_second(now)
        for body in bodies:
            total += PyBytes_GET_SIZE(body) + self.room() + 2
        cdef bytes lines = PyBytes_FromStringAndSize(NULL, total)
        cdef unsigned char* out = <unsigned char*>PyBytes_AS_STRING(lines)
        for body in bodies:
            at += self.put(out + at, now)
            size = PyBytes_GET_SIZE(body)
            memcpy(out + at, PyBytes_AS_STRING(body), size)
            at += size
            memcpy(out + at, b"}\n", 2)
            at += 2
        return lines[:at]

    def look_at_the_clock(self):
        cdef long long wall = time.time_ns() // 1000
        if wall // SECOND == self.second:
            self.second_began = time.monotonic_ns() // 1000 - wall % SECOND
        else:
            self.second_began = -SECOND

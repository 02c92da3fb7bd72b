# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled twin of `shape`: the key under which a verdict may be remembered for texts that differ in small integers."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

cdef enum:
    MAX_BYTES = 4096

#: 0: a text with such a byte has no shape; 1: it may; 2: as a neighbour of a number it makes it part of something else.
cdef unsigned char MEANING[256]


cdef void _learn():
    cdef int byte
    for byte in range(256):
        MEANING[byte] = 0
    for byte in b" ,*=<>()+-/%;:[]!":
        MEANING[byte] = 1
    for byte in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.":
        MEANING[byte] = 2


_learn()


cdef bytes shape_in(const unsigned char* text, Py_ssize_t size):
    cdef unsigned char key[MAX_BYTES]
    cdef Py_ssize_t place = 0, length = 0, stop
    cdef unsigned char byte, before = 0
    if size > MAX_BYTES:
        return None
    while place < size:
        byte = text[place]
        if MEANING[byte] == 0 or (byte == b"-" and before == b"-") or (byte == b"*" and before == b"/"):
            return None
        if b"0" <= byte <= b"9" and MEANING[before] != 2:
            stop = place + 1
            while stop < size and b"0" <= text[stop] <= b"9":
                stop += 1
            if stop - place <= 9 and (stop == size or MEANING[text[stop]] != 2):
                key[length] = b"0"
                length += 1
            else:
                memcpy(key + length, text + place, stop - place)
                length += stop - place
            before = text[stop - 1]
            place = stop
            continue
        key[length] = byte
        length += 1
        before = byte
        place += 1
    return PyBytes_FromStringAndSize(<const char*>key, length)


def shape_of(bytes sql not None):
    """As `shape.shape_of`."""
    return shape_in(<const unsigned char*>PyBytes_AS_STRING(sql), PyBytes_GET_SIZE(sql))

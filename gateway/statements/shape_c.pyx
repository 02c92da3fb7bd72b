# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled twin of `shape`: the key under which a verdict may be remembered for texts that differ in their literals."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcpy

cdef enum:
    MAX_BYTES = 4096

#: 0: a text with such a byte has no shape; 1: it may; 2: beside a number it makes it part of something else.
cdef unsigned char MEANING[256]


cdef void _learn():
    cdef int byte
    for byte in range(256):
        MEANING[byte] = 0
    for byte in b" .,*=<>()+-/%;:[]!|'\t\n#$&?@^`{}~":
        MEANING[byte] = 1
    for byte in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_":
        MEANING[byte] = 2


_learn()


cdef bint is_plain(const unsigned char* text, Py_ssize_t size):
    cdef Py_ssize_t place
    for place in range(size):
        if MEANING[text[place]] == 0:
            return False
    return True


cdef Py_ssize_t put_digits(unsigned char* key, const unsigned char* digits, Py_ssize_t count):
    """0 for what surely is an integer of 32 bits, 9999999999 for what surely is none, else the digits. Its size."""
    if count <= 9 or (count == 10 and digits[0] == b"1"):
        key[0] = b"0"
        return 1
    if digits[0] > b"2" or (count > 10 and digits[0] > b"0"):
        memcpy(key, b"9999999999", 10)
        return 10
    memcpy(key, digits, count)
    return count


cdef bytes shape_in(const unsigned char* text, Py_ssize_t size):
    cdef unsigned char key[MAX_BYTES]
    cdef Py_ssize_t place = 0, length = 0, stop
    cdef unsigned char byte, before = 0
    cdef const unsigned char* quote
    if size > MAX_BYTES:
        return None
    while place < size:
        byte = text[place]
        if MEANING[byte] == 0:
            return None
        if b"0" <= byte <= b"9" and MEANING[before] != 2:
            stop = place + 1
            while stop < size and b"0" <= text[stop] <= b"9":
                stop += 1
            if stop == size or MEANING[text[stop]] != 2:
                length += put_digits(key + length, text + place, stop - place)
            else:
                memcpy(key + length, text + place, stop - place)
                length += stop - place
            before = b"0"
            place = stop
            continue
        key[length] = byte
        length += 1
        before = byte
        place += 1
        if byte == b"'":
            quote = <const unsigned char*>memchr(text + place, b"'", size - place)
            if quote != NULL:
                if not is_plain(text + place, quote - text - place):
                    return None
                key[length] = byte
                length += 1
                place = quote - text + 1
    return PyBytes_FromStringAndSize(<const char*>key, length)


def shape_of(bytes sql not None):
    """As `shape.shape_of`."""
    return shape_in(<const unsigned char*>PyBytes_AS_STRING(sql), PyBytes_GET_SIZE(sql))

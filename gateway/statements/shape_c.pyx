# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled twin of `shape`: the key under which a verdict may be remembered for texts that differ in their literals."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcpy

cdef enum Kind:
    NOT_PLAIN = 0  # a text with such a byte has no shape
    OTHER
    WORD  # beside a number it makes it part of something else
    DIGIT  # the same
    QUOTE

cdef unsigned char KIND[256]


cdef void _learn():
    cdef int byte
    for byte in range(256):
        KIND[byte] = NOT_PLAIN
    for byte in b" .,*=<>()+-/%;:[]!|\t\n#$&?@^`{}~":
        KIND[byte] = OTHER
    for byte in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_":
        KIND[byte] = WORD
    for byte in b"0123456789":
        KIND[byte] = DIGIT
    KIND[b"'"] = QUOTE


_learn()


cdef bint is_plain(const unsigned char* text, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t place
    for place in range(size):
        if KIND[text[place]] == NOT_PLAIN:
            return False
    return True


cdef Py_ssize_t put_digits(unsigned char* key, const unsigned char* digits, Py_ssize_t count) noexcept nogil:
    """0 for what surely is an integer of 32 bits, 9999999999 for what surely is none, else the digits. Its size."""
    if count <= 9 or (count == 10 and digits[0] == b"1"):
        key[0] = b"0"
        return 1
    if digits[0] > b"2" or (count > 10 and digits[0] > b"0"):
        memcpy(key, b"9999999999", 10)
        return 10
    memcpy(key, digits, count)
    return count


cdef Py_ssize_t put_shape(unsigned char* key, const unsigned char* text, Py_ssize_t size) noexcept nogil:
    cdef const unsigned char* end = text + size
    cdef const unsigned char* stop
    cdef unsigned char* out = key
    cdef unsigned char kind, before = OTHER
    if size > MAX_BYTES:
        return -1
    while text < end:
        kind = KIND[text[0]]
        if kind == OTHER or kind == WORD or (kind == DIGIT and before == WORD):
            out[0] = text[0]
            out += 1
            text += 1
            if kind != DIGIT:
                before = kind
        elif kind == DIGIT:
            stop = text + 1
            while stop < end and KIND[stop[0]] == DIGIT:
                stop += 1
            if stop == end or KIND[stop[0]] != WORD:
                out += put_digits(out, text, stop - text)
            else:
                memcpy(out, text, stop - text)
                out += stop - text
            before = WORD
            text = stop
        elif kind == QUOTE:
            out[0] = b"'"
            out += 1
            text += 1
            before = OTHER
            stop = <const unsigned char*>memchr(text, b"'", end - text)
            if stop != NULL:
                if not is_plain(text, stop - text):
                    return -1
                out[0] = b"'"
                out += 1
                text = stop + 1
        else:
            return -1
    return out - key


def shape_of(bytes sql not None):
    """As `shape.shape_of`."""
    cdef unsigned char key[MAX_BYTES]
    cdef Py_ssize_t length = put_shape(key, <const unsigned char*>PyBytes_AS_STRING(sql), PyBytes_GET_SIZE(sql))
    return PyBytes_FromStringAndSize(<const char*>key, length) if length >= 0 else None

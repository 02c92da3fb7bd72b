cdef enum:
    MAX_BYTES = 4096

#: Puts the text's shape where at least MAX_BYTES are; its size, or -1: it has none.
cdef Py_ssize_t put_shape(unsigned char* key, const unsigned char* text, Py_ssize_t size) noexcept nogil

# What the compiled twins share: numbers in and out of bytes, and the steps from message to message. All of it is in C.

cdef inline unsigned int be16(const unsigned char* at) noexcept nogil:
    return (<unsigned int>at[0] << 8) | at[1]


cdef inline unsigned int be32(const unsigned char* at) noexcept nogil:
    return (<unsigned int>at[0] << 24) | (<unsigned int>at[1] << 16) | (<unsigned int>at[2] << 8) | at[3]


cdef inline Py_ssize_t rows_end(const unsigned char* data, Py_ssize_t position, Py_ssize_t end) noexcept nogil:
    """As `framing.skip_rows`."""
    while position + 5 <= end:
        if data[position] != b"D" and data[position] != b"d":
            return position
        position += 1 + <Py_ssize_t>be32(data + position + 1)
    return position


cdef inline Py_ssize_t put_number(unsigned char* out, unsigned long long value) noexcept nogil:
    """In decimal; returns how many digits (at most 20)."""
    cdef unsigned char digits[20]
    cdef Py_ssize_t count = 0, place
    while True:
        digits[count] = <unsigned char>(48 + value % 10)
        count += 1
        value //= 10
        if value == 0:
            break
    for place in range(count):
        out[place] = digits[count - 1 - place]
    return count


cdef inline Py_ssize_t put_six(unsigned char* out, unsigned int value) noexcept nogil:
    """Six digits, with zeros in front."""
    cdef int place
    for place in range(5, -1, -1):
        out[place] = <unsigned char>(48 + value % 10)
        value //= 10
    return 6
